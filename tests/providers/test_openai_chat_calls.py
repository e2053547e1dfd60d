"""Chat Completions: the tool calls, as OpenAI and as other servers send them."""

import pytest

from streaming.messages import ToolCallPart
from streaming.providers.base import (
    Delta,
    ResponseEnd,
)
from streaming.testing.provider import StandInProvider
from tests.providers.openai_streams import (
    DONE,
    Payload,
    chunk,
    chunks,
    deltas_of,
    fragment,
)

ROME = '{"city":"Rome"}'
OSLO = '{"city":"Oslo"}'


async def chat(
    upstream: StandInProvider, *payloads: Payload, tail: bytes = DONE
) -> list[Delta]:
    return await deltas_of(upstream, "chat", chunks(*payloads) + tail)


def calls(deltas: list[Delta]) -> list[tuple[str, str]]:
    """The name and arguments of each tool call."""
    parts = [d for d in deltas if isinstance(d, ToolCallPart)]
    return [(part.name, part.arguments) for part in parts]


async def test_a_tool_call_is_joined_from_its_fragments(
    upstream: StandInProvider,
) -> None:
    deltas = await chat(
        upstream,
        fragment(index=0, id="call_1", name="weather"),
        fragment('{"city"', index=0),
        fragment(':"Rome"}', index=0),
        chunk("tool_calls"),
    )
    assert deltas == [ToolCallPart("call_1", "weather", ROME), ResponseEnd("tool_use")]


async def test_parallel_calls_are_distinguished_by_their_index(
    upstream: StandInProvider,
) -> None:
    deltas = await chat(
        upstream,
        fragment(index=0, id="call_1", name="weather"),
        fragment(index=1, id="call_2", name="weather"),
        fragment('{"city":', index=0),
        fragment(OSLO, index=1),
        fragment('"Rome"}', index=0),
        chunk("tool_calls"),
    )
    assert deltas == [
        ToolCallPart("call_1", "weather", ROME),
        ToolCallPart("call_2", "weather", OSLO),
        ResponseEnd("tool_use"),
    ]


TWO_CALLS: dict[str, list[Payload]] = {
    "indexes that begin at 1": [
        fragment(index=1, id="a", name="weather"),
        fragment(ROME, index=1),
        fragment(index=2, id="b", name="time"),
        fragment(OSLO, index=2),
    ],
    "no indexes": [
        fragment('{"city"', id="a", name="weather"),
        fragment(':"Rome"}'),
        fragment(OSLO, id="b", name="time"),
    ],
    "indexes that are all 0": [
        fragment('{"city"', index=0, id="a", name="weather"),
        fragment(':"Rome"}', index=0),
        fragment(OSLO, index=0, id="b", name="time"),
    ],
    "indexes that are all 0, no ids": [
        fragment(ROME, index=0, name="weather"),
        fragment(OSLO, index=0, name="time"),
    ],
    "an index in the first fragment only": [
        fragment(index=0, id="a", name="weather"),
        fragment(ROME),
        fragment(index=1, id="b", name="time"),
        fragment(OSLO),
    ],
    "an index in later fragments only": [
        fragment('{"city"', id="a", name="weather"),
        fragment(':"Rome"}', index=0),
        fragment(OSLO, id="b", name="time"),
    ],
    "ids and names in every fragment": [
        fragment('{"city"', index=0, id="a", name="weather"),
        fragment(':"Rome"}', index=0, id="a", name="weather"),
        fragment("", index=0, id="a", name="weather"),
        fragment(OSLO, index=1, id="b", name="time"),
    ],
    "names in every fragment, no ids": [
        fragment('{"city"', index=0, name="weather"),
        fragment(':"Rome"}', index=0, name="weather"),
        fragment(OSLO, index=1, name="time"),
    ],
    "arguments as objects": [
        fragment({"city": "Rome"}, index=0, id="a", name="weather"),
        fragment({"city": "Oslo"}, index=1, id="b", name="time"),
    ],
    "ids that come late, empty ids and names": [
        fragment(index=0, name="weather"),
        fragment(ROME, index=0, id="a", name=""),
        fragment(OSLO, index=1, id="", name="time"),
        fragment("", index=1, id="b", name=None),
    ],
    "all in one chunk": [
        chunk(
            tool_calls=[
                {"index": 0, "function": {"name": "weather", "arguments": ROME}},
                {"index": 1, "function": {"name": "time", "arguments": OSLO}},
            ]
        )
    ],
}


@pytest.mark.parametrize("oddity", TWO_CALLS)
async def test_two_calls_are_found_in_spite_of(
    upstream: StandInProvider, oddity: str
) -> None:
    deltas = await chat(upstream, *TWO_CALLS[oddity], chunk("tool_calls"))
    assert calls(deltas) == [("weather", ROME), ("time", OSLO)]
    assert deltas[-1] == ResponseEnd("tool_use")


@pytest.mark.parametrize("id", [None, "", "same"])
async def test_every_call_has_an_id_of_its_own(
    upstream: StandInProvider, id: str | None
) -> None:
    deltas = await chat(
        upstream,
        fragment(ROME, index=0, id=id, name="weather"),
        fragment(OSLO, index=1, id=id, name="weather"),
        chunk("tool_calls"),
    )
    ids = {d.id for d in deltas if isinstance(d, ToolCallPart)}
    assert len(ids) == 2
    assert all(ids)


async def test_a_second_call_of_the_same_tool_needs_neither_id_nor_index(
    upstream: StandInProvider,
) -> None:
    deltas = await chat(
        upstream, fragment(ROME, name="weather"), fragment(OSLO, name="weather")
    )
    assert calls(deltas) == [("weather", ROME), ("weather", OSLO)]


async def test_the_old_form_of_a_call_is_one(upstream: StandInProvider) -> None:
    deltas = await chat(
        upstream,
        chunk(function_call={"name": "weather", "arguments": '{"city"'}),
        chunk(function_call={"arguments": ':"Rome"}'}),
        chunk("function_call"),
    )
    assert calls(deltas) == [("weather", ROME)]
    assert deltas[-1] == ResponseEnd("tool_use")


async def test_a_call_without_arguments_gets_an_empty_object(
    upstream: StandInProvider,
) -> None:
    deltas = await chat(upstream, fragment(id="a", name="now"), chunk("tool_calls"))
    assert calls(deltas) == [("now", "{}")]


async def test_a_call_without_a_name_is_ignored(upstream: StandInProvider) -> None:
    deltas = await chat(upstream, fragment(ROME, id="a"), chunk("tool_calls"))
    assert deltas == [ResponseEnd("end_turn")]


@pytest.mark.parametrize("finish", ["stop", None])
async def test_calls_count_regardless_of_the_finish_reason(
    upstream: StandInProvider, finish: str | None
) -> None:
    deltas = await chat(upstream, fragment(ROME, id="a", name="w"), chunk(finish))
    assert deltas == [ToolCallPart("a", "w", ROME), ResponseEnd("tool_use")]


@pytest.mark.parametrize("arguments", ['{"city": "Ro', ""])
async def test_a_call_cut_off_by_the_token_limit_is_omitted(
    upstream: StandInProvider, arguments: str
) -> None:
    deltas = await chat(
        upstream,
        fragment(ROME, index=0, id="a", name="weather"),
        fragment(arguments, index=1, id="b", name="weather"),
        chunk("length"),
    )
    assert deltas == [ToolCallPart("a", "weather", ROME), ResponseEnd("max_tokens")]
