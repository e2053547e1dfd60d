"""Every feature of the Messages API's stream, composed and served over HTTP."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.exceptions import ProviderError, ProviderIncomplete
from streaming.messages import OpaquePart, Part, TextPart, ThinkingPart, ToolCallPart
from streaming.providers.base import (
    Delta,
    ResponseEnd,
    ResponseStopReason,
    TextDelta,
    ThinkingEnd,
    TokenUsage,
)
from streaming.testing.provider import Reply, StandInProvider
from tests import campaign
from tests.providers.anthropic_streams import (
    PING,
    STOP,
    Event,
    block,
    deltas_of,
    error,
    joined,
    message,
    message_delta,
    redacted_block,
    sse,
    start,
    text,
    text_block,
    thinking_block,
    tool_block,
)

EVERYTHING = message(
    [PING],
    thinking_block(0, "The user ", "says héllo 👋.", signature="sig-0"),
    thinking_block(1, signature="sig-1"),
    redacted_block(2, "cmVkYWN0ZWQ="),
    [PING],
    text_block(3, "Hé", "llo\u2028 👋🏽", " there."),
    tool_block(4, "toolu_1", "weather", '{"ci', 'ty": "Köln"}'),
    tool_block(5, "toolu_2", "clock"),
    stop="tool_use",
)
EVERYTHING_JOINED: list[Part] = [
    ThinkingPart("The user says héllo 👋.", "anthropic", {"signature": "sig-0"}),
    ThinkingPart("", "anthropic", {"signature": "sig-1"}),
    OpaquePart("anthropic", {"type": "redacted_thinking", "data": "cmVkYWN0ZWQ="}),
    TextPart("Héllo\u2028 👋🏽 there."),
    ToolCallPart("toolu_1", "weather", '{"city": "Köln"}'),
    ToolCallPart("toolu_2", "clock", "{}"),
]


def parts(deltas: list[Delta]) -> list[Part]:
    return joined(deltas).message.parts


async def test_blocks_become_parts_in_their_order(upstream: StandInProvider) -> None:
    deltas = await deltas_of(upstream, Reply(EVERYTHING))
    assert parts(deltas) == EVERYTHING_JOINED
    assert deltas[-1] == ResponseEnd("tool_use")


@settings(max_examples=campaign.examples(15))
@given(cuts=st.sets(st.integers(1, len(EVERYTHING) - 1), max_size=40))
async def test_any_chunking_yields_the_same_deltas(cuts: set[int]) -> None:
    async with StandInProvider() as upstream:
        whole = await deltas_of(upstream, Reply(EVERYTHING))
        cut = Reply(EVERYTHING, cuts=sorted(cuts), delay=1e-6)
        assert await deltas_of(upstream, cut) == whole


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("end_turn", "end_turn"),
        ("stop_sequence", "end_turn"),
        ("max_tokens", "max_tokens"),
        ("model_context_window_exceeded", "max_tokens"),
        ("refusal", "refusal"),
        ("pause_turn", "pause_turn"),
        ("a reason of the future", "end_turn"),
        (None, "end_turn"),
    ],
)
async def test_stop_reasons_are_mapped(
    upstream: StandInProvider, sent: str | None, expected: ResponseStopReason
) -> None:
    body = message(text_block(0, "Hi"), stop=sent)
    assert (await deltas_of(upstream, Reply(body)))[-1] == ResponseEnd(expected)


async def test_tool_calls_are_run_regardless_of_the_stop_reason(
    upstream: StandInProvider,
) -> None:
    body = message(tool_block(0, "toolu_1", "clock"), stop="end_turn")
    deltas = await deltas_of(upstream, Reply(body))
    assert parts(deltas) == [ToolCallPart("toolu_1", "clock", "{}")]
    assert deltas[-1] == ResponseEnd("tool_use")


async def test_a_tool_call_that_the_token_limit_cut_off_is_omitted(
    upstream: StandInProvider,
) -> None:
    body = message(
        tool_block(0, "toolu_1", "weather", '{"city": "Bonn"}'),
        tool_block(1, "toolu_2", "weather", '{"city": "K', stopped=False),
        stop="max_tokens",
    )
    deltas = await deltas_of(upstream, Reply(body))
    assert parts(deltas) == [ToolCallPart("toolu_1", "weather", '{"city": "Bonn"}')]
    assert deltas[-1] == ResponseEnd("max_tokens")


@pytest.mark.parametrize("pieces", [(), ('{"city": "K',)])
async def test_a_tool_call_that_was_cut_off_and_closed_is_omitted(
    upstream: StandInProvider, pieces: tuple[str, ...]
) -> None:
    body = message(tool_block(0, "toolu_1", "weather", *pieces), stop="max_tokens")
    assert parts(await deltas_of(upstream, Reply(body))) == []


async def test_invalid_arguments_of_a_complete_call_stay_unchanged(
    upstream: StandInProvider,
) -> None:
    body = message(tool_block(0, "toolu_1", "weather", "{city}"), stop="tool_use")
    deltas = await deltas_of(upstream, Reply(body))
    assert parts(deltas) == [ToolCallPart("toolu_1", "weather", "{city}")]


async def test_content_may_stand_in_the_block_itself(upstream: StandInProvider) -> None:
    call = {"type": "tool_use", "id": "t", "name": "weather", "input": {"city": "Bonn"}}
    body = message(
        block(0, {"type": "thinking", "thinking": "Hm.", "signature": "s"}),
        block(1, {"type": "text", "text": "Well."}),
        block(2, call),
        stop="tool_use",
    )
    assert parts(await deltas_of(upstream, Reply(body))) == [
        ThinkingPart("Hm.", "anthropic", {"signature": "s"}),
        TextPart("Well."),
        ToolCallPart("t", "weather", '{"city":"Bonn"}'),
    ]


async def test_a_pause_keeps_the_blocks_of_server_tools(
    upstream: StandInProvider,
) -> None:
    search = {"type": "server_tool_use", "id": "srv_1", "name": "web_search"}
    query = [
        {"type": "input_json_delta", "partial_json": piece}
        for piece in ("", '{"query": ', '"asyncio"}')
    ]
    found = {
        "type": "web_search_tool_result",
        "tool_use_id": "srv_1",
        "content": [{"type": "web_search_result", "encrypted_content": "b64"}],
    }
    body = message(
        block(0, search | {"input": {}}, *query), block(1, found), stop="pause_turn"
    )
    deltas = await deltas_of(upstream, Reply(body))
    assert parts(deltas) == [
        OpaquePart("anthropic", search | {"input": {"query": "asyncio"}}),
        OpaquePart("anthropic", found),
    ]
    assert deltas[-1] == ResponseEnd("pause_turn")


async def test_unknown_events_and_blocks_are_ignored(upstream: StandInProvider) -> None:
    body = sse(
        start(),
        {"type": "an_event_of_the_future", "beam": {"strength": 9000}},
        *block(0, {"type": "hologram", "beam": 1}, {"type": "beam_delta", "beam": 2}),
        *block(
            1,
            {"type": "text", "text": ""},
            {"type": "citations_delta", "citation": {"title": "A book"}},
            {"type": "text_delta", "text": "Hi", "tone": "warm"},
        ),
        message_delta(),
        STOP,
    )
    assert parts(await deltas_of(upstream, Reply(body))) == [TextPart("Hi")]


async def test_padding_and_null_fields_do_no_harm(upstream: StandInProvider) -> None:
    null = {"type": "text_delta", "text": None}
    nulls = block(0, {"type": "text", "text": None}, null)
    body = message(nulls, text_block(1, "Hi")).replace(b"}\n\n", b"}     \n\n")
    assert text(await deltas_of(upstream, Reply(body))) == "Hi"


# Refusals


async def test_a_refusal_without_text_has_its_explanation_as_text(
    upstream: StandInProvider,
) -> None:
    why = {"type": "refusal", "category": "cyber", "explanation": "Not that."}
    body = message(stop="refusal", stop_details=why)
    deltas = await deltas_of(upstream, Reply(body))
    assert deltas[-2:] == [TextDelta("Not that."), ResponseEnd("refusal")]


async def test_a_refusal_with_text_keeps_it(upstream: StandInProvider) -> None:
    why = {"type": "refusal", "explanation": "Not that."}
    body = message(text_block(0, "I will not."), stop="refusal", stop_details=why)
    assert text(await deltas_of(upstream, Reply(body))) == "I will not."


async def test_a_refusal_drops_the_call_before_it(
    upstream: StandInProvider,
) -> None:
    body = message(tool_block(0, "toolu_1", "clock"), stop="refusal")
    assert parts(await deltas_of(upstream, Reply(body))) == []


# Usage


async def test_usage_arrives_early_and_is_replaced_at_the_end(
    upstream: StandInProvider,
) -> None:
    begin = start(
        input_tokens=10,
        cache_creation_input_tokens=200,
        cache_read_input_tokens=3000,
        output_tokens=1,
    )
    end = {
        "input_tokens": 12,
        "output_tokens": 50,
        "output_tokens_details": {"thinking_tokens": 30},
    }
    body = sse(begin, *text_block(0, "Hi"), message_delta(usage=end), STOP)
    deltas = await deltas_of(upstream, Reply(body))
    assert deltas[0] == TokenUsage(
        input_tokens=3210,
        output_tokens=1,
        cache_read_tokens=3000,
        cache_write_tokens=200,
    )
    assert [d for d in deltas if isinstance(d, TokenUsage)][-1] == TokenUsage(
        input_tokens=3212,
        output_tokens=50,
        reasoning_tokens=30,
        cache_read_tokens=3000,
        cache_write_tokens=200,
    )


@pytest.mark.parametrize("usage", [None, {}, {"input_tokens": None}])
async def test_usage_that_is_not_sent_keeps_its_value(
    upstream: StandInProvider, usage: dict[str, None] | None
) -> None:
    end = message_delta() | {"usage": usage}
    body = sse(start(), *text_block(0, "Hi"), end, STOP)
    counted = joined(await deltas_of(upstream, Reply(body))).usage
    assert counted == TokenUsage(input_tokens=10, output_tokens=1)


# Thinking


async def test_each_thinking_block_ends_with_its_signature(
    upstream: StandInProvider,
) -> None:
    body = message(
        thinking_block(0, "One.", signature="a"),
        thinking_block(1, signature="b"),
        text_block(2, "Hi"),
    )
    ends = [
        d for d in await deltas_of(upstream, Reply(body)) if isinstance(d, ThinkingEnd)
    ]
    assert ends == [
        ThinkingEnd("anthropic", {"signature": "a"}),
        ThinkingEnd("anthropic", {"signature": "b"}),
    ]


async def test_thinking_that_was_cut_off_has_no_end(upstream: StandInProvider) -> None:
    opening = thinking_block(0, "Let me", signature="a")[:2]
    deltas: list[Delta] = []
    with pytest.raises(ProviderIncomplete):
        await deltas_of(upstream, Reply(sse(start(), *opening)), into=deltas)
    assert parts(deltas) == [ThinkingPart("Let me")]


# Text that could not be stored


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (r"a\u0000b", "a\ufffdb"),
        (r"a\ud83d", "a\ufffd"),
        (r"\ude00b", "\ufffdb"),
        (r"\ud83d\ude00", "😀"),
        (r"a\\u0000b", r"a\u0000b"),
    ],
)
async def test_nul_and_lone_surrogates_are_replaced(
    upstream: StandInProvider, written: str, expected: str
) -> None:
    body = message(text_block(0, "TEXT")).replace(b"TEXT", written.encode())
    assert text(await deltas_of(upstream, Reply(body))) == expected


# Streams without a regular end


@pytest.mark.parametrize("missing", [1, 2, 3, 4])
async def test_a_stream_without_its_last_event_is_incomplete(
    upstream: StandInProvider, missing: int
) -> None:
    events: list[Event] = [start(), *text_block(0, "Hi"), message_delta(), STOP]
    deltas: list[Delta] = []
    with pytest.raises(ProviderIncomplete):
        await deltas_of(upstream, Reply(sse(*events[:-missing])), into=deltas)
    assert not any(isinstance(delta, ResponseEnd) for delta in deltas)


async def test_an_event_cut_in_two_at_the_end_is_incomplete(
    upstream: StandInProvider,
) -> None:
    body = message(text_block(0, "Hi"))
    with pytest.raises(ProviderIncomplete):
        await deltas_of(upstream, Reply(body[: body.rindex(b"_stop")]))


async def test_a_last_event_without_its_blank_line_counts(
    upstream: StandInProvider,
) -> None:
    body = message(text_block(0, "Hi")).rstrip(b"\n")
    assert (await deltas_of(upstream, Reply(body)))[-1] == ResponseEnd("end_turn")


async def test_events_after_the_end_are_not_read(upstream: StandInProvider) -> None:
    body = message(text_block(0, "Hi")) + sse(
        *text_block(1, "more"), error("api_error")
    )
    deltas = await deltas_of(upstream, Reply(body))
    assert text(deltas) == "Hi"
    assert deltas[-1] == ResponseEnd("end_turn")


async def test_an_event_that_is_not_json_fails_after_earlier_text(
    upstream: StandInProvider,
) -> None:
    body = sse(start(), *text_block(0, "Hi")) + b'data: {"type": oops}\n\n'
    deltas: list[Delta] = []
    with pytest.raises(ProviderError) as failure:
        await deltas_of(upstream, Reply(body), into=deltas)
    assert text(deltas) == "Hi"
    assert failure.value.code == "provider_error"
    assert failure.value.retryable
