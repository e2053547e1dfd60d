"""Chat Completions: the deltas of each chunk, of OpenAI and of other servers."""

import pytest

from streaming.exceptions import (
    ProviderError,
    ProviderIncomplete,
    ProviderRateLimited,
)
from streaming.messages import ThinkingPart, ToolCallPart
from streaming.providers.base import (
    Delta,
    ResponseEnd,
    TextDelta,
    ThinkingDelta,
    ThinkingEnd,
    TokenUsage,
)
from streaming.testing.provider import StandInProvider
from tests.providers.openai_streams import (
    DONE,
    Payload,
    chunk,
    chunks,
    deltas_of,
    fragment,
    joined,
    text,
    thinking,
)

USAGE = {
    "prompt_tokens": 100,
    "prompt_tokens_details": {"cached_tokens": 60},
    "completion_tokens": 50,
    "completion_tokens_details": {"reasoning_tokens": 20},
    "total_tokens": 150,
}


ROME = '{"city":"Rome"}'


async def chat(
    upstream: StandInProvider, *payloads: Payload, tail: bytes = DONE
) -> list[Delta]:
    return await deltas_of(upstream, "chat", chunks(*payloads) + tail)


async def test_text_arrives_as_it_is_written_and_usage_in_its_own_chunk(
    upstream: StandInProvider,
) -> None:
    deltas = await chat(
        upstream,
        chunk(role="assistant", content="", refusal=None),
        chunk(content="Hel"),
        chunk(content="lo"),
        chunk("stop"),
        {"choices": [], "usage": USAGE},
    )
    assert deltas == [
        TextDelta("Hel"),
        TextDelta("lo"),
        TokenUsage(100, 50, 20, 60, 0),
        ResponseEnd("end_turn"),
    ]


async def test_usage_may_be_counted_up_in_every_chunk(
    upstream: StandInProvider,
) -> None:
    deltas = await chat(
        upstream,
        chunk(content="a") | {"usage": {"prompt_tokens": 9, "completion_tokens": 1.0}},
        chunk("stop") | {"usage": {"prompt_tokens": 9, "completion_tokens": 2}},
    )
    assert joined(deltas).usage == TokenUsage(9, 2)


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
async def test_reasoning_of_other_servers_is_thinking_and_remembers_its_field(
    upstream: StandInProvider, field: str
) -> None:
    deltas = await chat(
        upstream,
        chunk(content=None, **{field: "Let me "}),
        chunk(content="", **{field: "think."}),
        chunk(content="Hi"),
        chunk("stop"),
    )
    assert deltas == [
        ThinkingDelta("Let me "),
        ThinkingDelta("think."),
        ThinkingEnd("openai", {"field": field}),
        TextDelta("Hi"),
        ResponseEnd("end_turn"),
    ]


async def test_reasoning_in_two_fields_is_emitted_once(
    upstream: StandInProvider,
) -> None:
    deltas = await chat(
        upstream, chunk(reasoning="Hm.", reasoning_content="Hm."), chunk("stop")
    )
    assert thinking(deltas) == "Hm."


async def test_reasoning_right_before_a_call_is_a_part_of_its_own(
    upstream: StandInProvider,
) -> None:
    deltas = await chat(
        upstream, chunk(reasoning="Hm."), fragment(ROME, id="a", name="weather")
    )
    assert joined(deltas).message.parts == [
        ThinkingPart("Hm.", "openai", {"field": "reasoning"}),
        ToolCallPart("a", "weather", ROME),
    ]


async def test_a_refusal_is_reported_as_such(upstream: StandInProvider) -> None:
    deltas = await chat(upstream, chunk(refusal="I ca"), chunk(refusal="n't."))
    assert text(deltas) == "I can't."
    assert deltas[-1] == ResponseEnd("refusal")


@pytest.mark.parametrize(
    ("finish", "stop_reason"),
    [
        ("stop", "end_turn"),
        ("length", "max_tokens"),
        ("content_filter", "refusal"),
        ("eos", "end_turn"),
    ],
)
async def test_finish_reasons(
    upstream: StandInProvider, finish: str, stop_reason: str
) -> None:
    deltas = await chat(upstream, chunk(content="a"), chunk(finish))
    assert deltas[-1].stop_reason == stop_reason  # type: ignore[union-attr]


async def test_content_may_be_a_list_of_parts(upstream: StandInProvider) -> None:
    parts = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}, "?"]
    assert text(await chat(upstream, chunk(content=parts))) == "Hello"


async def test_only_the_first_choice_counts(upstream: StandInProvider) -> None:
    second = {"index": 1, "delta": {"content": "no"}, "finish_reason": "length"}
    first = {"delta": {"content": "yes"}, "finish_reason": "stop"}
    deltas = await chat(upstream, {"choices": [second, first]})
    assert deltas == [TextDelta("yes"), ResponseEnd("end_turn")]


@pytest.mark.parametrize(
    "nothing",
    [{}, {"choices": []}, {"choices": None}, {"choices": [{"delta": None}]}],
)
async def test_chunks_without_content_are_ignored(
    upstream: StandInProvider, nothing: Payload
) -> None:
    deltas = await chat(upstream, nothing, chunk(content="Hi"), nothing, chunk("stop"))
    assert text(deltas) == "Hi"


async def test_a_finish_reason_without_done_is_an_end(
    upstream: StandInProvider,
) -> None:
    deltas = await chat(upstream, chunk(content="Hi"), chunk("stop"), tail=b"")
    assert deltas[-1] == ResponseEnd("end_turn")


async def test_done_without_a_finish_reason_is_an_end(
    upstream: StandInProvider,
) -> None:
    deltas = await chat(upstream, chunk(content="Hi"), tail=b"data:[DONE]\n\n")
    assert deltas[-1] == ResponseEnd("end_turn")


async def test_done_may_lack_its_blank_line(upstream: StandInProvider) -> None:
    deltas = await chat(upstream, chunk(content="Hi"), tail=b"data: [DONE]\n")
    assert deltas[-1] == ResponseEnd("end_turn")


async def test_without_finish_reason_and_done_a_stream_is_incomplete(
    upstream: StandInProvider,
) -> None:
    call = fragment(ROME, id="a", name="weather")
    with pytest.raises(ProviderIncomplete):
        await chat(upstream, chunk(content="Hi"), call, tail=b"")


async def test_blank_data_is_a_sign_of_life(upstream: StandInProvider) -> None:
    body = b": ping\n\ndata: \n\n" + chunks(chunk("stop", content="Hi")) + DONE
    assert text(await deltas_of(upstream, "chat", body)) == "Hi"


@pytest.mark.parametrize(
    ("error", "kind", "retryable"),
    [
        ({"code": 429, "message": "m"}, ProviderRateLimited, True),
        ({"type": "insufficient_quota", "message": "m"}, ProviderRateLimited, False),
        ({"message": "secret", "code": 400}, ProviderError, False),
        ("secret internals", ProviderError, True),
    ],
)
async def test_an_error_in_a_chunk_is_mapped(
    upstream: StandInProvider, error: object, kind: type[ProviderError], retryable: bool
) -> None:
    with pytest.raises(kind) as caught:
        await chat(upstream, chunk(content="Hi"), {"error": error})
    assert caught.value.retryable is retryable
    assert "secret" not in caught.value.message


@pytest.mark.parametrize("finish", ["error", "insufficient_system_resource"])
async def test_a_finish_reason_of_a_failure_is_mapped(
    upstream: StandInProvider, finish: str
) -> None:
    with pytest.raises(ProviderError) as caught:
        await chat(upstream, chunk(content="Hi"), chunk(finish))
    assert caught.value.retryable


async def test_an_error_among_groqs_own_fields_is_mapped(
    upstream: StandInProvider,
) -> None:
    begun = chunk(content="Goo") | {"x_groq": {"id": "req_1"}}
    failed = chunk("stop") | {"x_groq": {"id": "req_1", "error": "over capacity"}}
    with pytest.raises(ProviderError):
        await chat(upstream, begun, failed)
