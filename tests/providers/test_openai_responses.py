"""OpenAI's Responses API: what each of its events becomes."""

import json

import pytest

from streaming.exceptions import (
    ProviderError,
    ProviderIncomplete,
    ProviderRateLimited,
)
from streaming.messages import OpaquePart, ThinkingPart, ToolCallPart
from streaming.providers.base import (
    Delta,
    TextDelta,
    ThinkingDelta,
    ThinkingEnd,
    TokenUsage,
    TurnEnd,
)
from tests.providers.openai_streams import (
    HELLO,
    Payload,
    answer,
    call_item,
    ended,
    event,
    events,
    item_done,
    joined,
    openai_at,
    reasoning_item,
    said,
    text,
    thinking,
    thought,
)
from tests.upstream import Reply, Upstream

USAGE = {
    "input_tokens": 100,
    "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 30},
    "output_tokens": 50,
    "output_tokens_details": {"reasoning_tokens": 20},
    "total_tokens": 150,
}


async def responses(upstream: Upstream, *payloads: Payload) -> list[Delta]:
    return await answer(upstream, "responses", events(*payloads))


async def test_text_comes_as_it_is_written_and_usage_before_the_end(
    upstream: Upstream,
) -> None:
    deltas = await responses(
        upstream,
        {"type": "response.created", "response": {"status": "in_progress"}},
        *said("Hel", "", "lo 🌍"),
        event("output_text.done", text="Hello 🌍"),
        item_done({"type": "message", "content": [{"text": "Hello 🌍"}]}),
        ended(usage=USAGE),
    )
    assert deltas == [
        TextDelta("Hel"),
        TextDelta("lo 🌍"),
        TokenUsage(100, 50, 20, 60, 30),
        TurnEnd("end_turn"),
    ]


async def test_a_reasoning_item_is_kept_whole_behind_its_summary(
    upstream: Upstream,
) -> None:
    item = reasoning_item(summary=[{"type": "summary_text", "text": "Think."}])
    deltas = await responses(
        upstream,
        event("output_item.added", item=reasoning_item(encrypted="not yet whole")),
        *thought("Thi", "nk."),
        item_done(item),
        *said("Hi", index=1),
        ended(),
    )
    assert deltas[:3] == [
        ThinkingDelta("Thi"),
        ThinkingDelta("nk."),
        ThinkingEnd("openai", item),
    ]
    assert joined(deltas).message.parts[0] == ThinkingPart("Think.", "openai", item)


async def test_reasoning_that_is_not_shown_is_kept_too(upstream: Upstream) -> None:
    item = reasoning_item()
    deltas = await responses(upstream, item_done(item), ended())
    assert deltas == [ThinkingEnd("openai", item), TurnEnd("end_turn")]


async def test_open_reasoning_of_other_servers_is_thinking(upstream: Upstream) -> None:
    deltas = await responses(
        upstream, event("reasoning_text.delta", delta="Hmm."), ended()
    )
    assert thinking(deltas) == "Hmm."


async def test_parallel_tool_calls_come_whole_and_in_order(upstream: Upstream) -> None:
    deltas = await responses(
        upstream,
        event("output_item.added", 0, item=call_item("", status="in_progress")),
        event("output_item.added", 1, item=call_item("", "call_2")),
        event("function_call_arguments.delta", 0, delta='{"city":'),
        event("function_call_arguments.delta", 1, delta='{"city":"Oslo"}'),
        event("function_call_arguments.delta", 0, delta='"Rome"}'),
        item_done(call_item('{"city":"Rome"}'), 0),
        item_done(call_item('{"city":"Oslo"}', "call_2"), 1),
        ended(),
    )
    assert deltas == [
        ToolCallPart("call_1", "weather", '{"city":"Rome"}'),
        ToolCallPart("call_2", "weather", '{"city":"Oslo"}'),
        TurnEnd("tool_use"),
    ]


@pytest.mark.parametrize(
    "told",
    [
        [
            event("function_call_arguments.delta", delta='{"city":'),
            event("function_call_arguments.delta", delta='"Rome"}'),
        ],
        [event("function_call_arguments.done", arguments='{"city":"Rome"}')],
    ],
)
async def test_arguments_that_the_finished_item_lacks_are_those_told_before(
    upstream: Upstream, told: list[Payload]
) -> None:
    deltas = await responses(upstream, *told, item_done(call_item("")), ended())
    assert deltas[0] == ToolCallPart("call_1", "weather", '{"city":"Rome"}')


async def test_a_call_without_arguments_gets_an_empty_object(
    upstream: Upstream,
) -> None:
    deltas = await responses(upstream, item_done(call_item("")), ended())
    assert deltas == [ToolCallPart("call_1", "weather", "{}"), TurnEnd("tool_use")]


@pytest.mark.parametrize("status", ["incomplete", "in_progress", None])
async def test_a_call_cut_by_the_token_limit_never_comes(
    upstream: Upstream, status: str | None
) -> None:
    deltas = await responses(
        upstream,
        *said("Let me look."),
        event("function_call_arguments.delta", 1, delta='{"city": "Ro'),
        item_done(call_item('{"city": "Ro', status=status), 1),
        ended("incomplete", incomplete_details={"reason": "max_output_tokens"}),
    )
    assert deltas == [TextDelta("Let me look."), TurnEnd("max_tokens")]


async def test_a_refusal_is_told_as_such(upstream: Upstream) -> None:
    deltas = await responses(
        upstream, event("refusal.delta", delta="I can't help with that."), ended()
    )
    assert deltas == [TextDelta("I can't help with that."), TurnEnd("refusal")]


async def test_a_content_filter_is_a_refusal(upstream: Upstream) -> None:
    details = {"reason": "content_filter"}
    deltas = await responses(upstream, ended("incomplete", incomplete_details=details))
    assert deltas == [TurnEnd("refusal")]


async def test_a_policy_that_stops_the_answer_is_a_refusal(upstream: Upstream) -> None:
    error = {"code": "bio_policy", "message": "…"}
    deltas = await responses(upstream, *said("So"), ended("failed", error=error))
    assert deltas == [TextDelta("So"), TurnEnd("refusal")]


async def test_an_answer_cut_short_ends_so_whatever_the_event_is_called(
    upstream: Upstream,
) -> None:
    details = {"reason": "max_output_tokens"}
    deltas = await responses(upstream, *said("So"), ended(incomplete_details=details))
    assert deltas[-1] == TurnEnd("max_tokens")


async def test_finished_items_are_told_where_a_server_sends_no_deltas(
    upstream: Upstream,
) -> None:
    deltas = await responses(
        upstream,
        item_done(reasoning_item(content=[{"text": "Hmm."}]), 0),
        item_done({"type": "message", "content": [{"text": "Hi"}]}, 1),
        ended(),
    )
    assert (thinking(deltas), text(deltas)) == ("Hmm.", "Hi")


async def test_a_refusal_without_deltas_is_told_too(upstream: Upstream) -> None:
    refusal = {"type": "refusal", "refusal": "No."}
    deltas = await responses(
        upstream, item_done({"type": "message", "content": [refusal]}), ended()
    )
    assert deltas == [TextDelta("No."), TurnEnd("refusal")]


async def test_the_output_of_the_last_event_is_told_when_nothing_else_was(
    upstream: Upstream,
) -> None:
    message = {"type": "message", "content": [{"type": "output_text", "text": "Hi"}]}
    deltas = await responses(upstream, ended(output=[message, call_item()]))
    assert deltas == [
        TextDelta("Hi"),
        ToolCallPart("call_1", "weather", "{}"),
        TurnEnd("tool_use"),
    ]


async def test_the_deltas_count_where_the_finished_item_says_more(
    upstream: Upstream,
) -> None:
    message = {"type": "message", "content": [{"text": "Hello and more"}]}
    deltas = await responses(
        upstream, *said("Hello"), item_done(message), ended(output=[message])
    )
    assert text(deltas) == "Hello"


async def test_messages_keep_the_label_of_their_phase(upstream: Upstream) -> None:
    def begun(phase: str, index: int) -> Payload:
        item = {"type": "message", "phase": phase, "content": []}
        return event("output_item.added", index, item=item)

    deltas = await responses(
        upstream,
        begun("commentary", 0),
        *said("Looking.", index=0),
        begun("final_answer", 1),
        *said("Found.", index=1),
        ended(),
    )
    assert deltas == [
        OpaquePart("openai", {"phase": "commentary"}),
        TextDelta("Looking."),
        OpaquePart("openai", {"phase": "final_answer"}),
        TextDelta("Found."),
        TurnEnd("end_turn"),
    ]


async def test_events_and_items_that_are_not_known_are_passed_over(
    upstream: Upstream,
) -> None:
    deltas = await responses(
        upstream,
        {"type": "response.shell_call.output.delta", "delta": {"stdout": "x"}},
        {"type": "keepalive", "sequence_number": 3},
        {},
        item_done({"type": "web_search_call", "status": "completed"}),
        *said("Hi", index=1),
        ended(),
    )
    assert deltas == [TextDelta("Hi"), TurnEnd("end_turn")]


@pytest.mark.parametrize(
    "error",
    [
        {"type": "error", "error": {"code": "insufficient_quota", "message": "m"}},
        {"type": "error", "code": "insufficient_quota", "message": "m"},
        {"error": {"type": "insufficient_quota", "message": "m"}},
        ended("failed", error={"code": "insufficient_quota", "message": "m"}),
    ],
)
async def test_exhausted_quota_is_not_worth_a_retry_in_whatever_form_it_is_told(
    upstream: Upstream, error: Payload
) -> None:
    with pytest.raises(ProviderRateLimited) as caught:
        await responses(upstream, error)
    assert not caught.value.retryable


@pytest.mark.parametrize(
    ("code", "retryable"),
    [("server_error", True), ("rate_limit_exceeded", True), ("invalid_prompt", False)],
)
async def test_a_failed_response_is_our_error_and_never_its_raw_words(
    upstream: Upstream, code: str, retryable: bool
) -> None:
    error = {"code": code, "message": "secret internals at sk-123"}
    with pytest.raises(ProviderError) as caught:
        await responses(upstream, ended("failed", error=error))
    assert caught.value.retryable is retryable
    assert "secret" not in caught.value.message


async def test_what_came_before_a_failure_in_the_same_read_is_told(
    upstream: Upstream,
) -> None:
    upstream.reply(Reply(events(*said("So far"), ended("failed", usage=USAGE))))
    told: list[Delta] = []
    async with openai_at(upstream, "responses") as provider:
        with pytest.raises(ProviderError):
            async for batch in provider.stream(HELLO):
                told.extend(batch)
    assert told == [TextDelta("So far"), TokenUsage(100, 50, 20, 60, 30)]


@pytest.mark.parametrize("tail", [b"", b"data: [DONE]\n\n"])
async def test_a_stream_without_its_terminal_event_is_incomplete(
    upstream: Upstream, tail: bytes
) -> None:
    with pytest.raises(ProviderIncomplete):
        await answer(upstream, "responses", events(*said("Half")) + tail)


async def test_nothing_after_the_terminal_event_matters(upstream: Upstream) -> None:
    body = events(*said("Hi"), ended()) + b"data: [DONE]\n\ndata: garbage\n\n"
    assert (await answer(upstream, "responses", body))[-1] == TurnEnd("end_turn")


async def test_an_event_that_is_no_json_is_an_error(upstream: Upstream) -> None:
    with pytest.raises(ProviderError, match="cannot be read"):
        await answer(upstream, "responses", b"data: <html>\n\n")


async def test_odd_characters_arrive_as_ones_that_can_be_stored(
    upstream: Upstream,
) -> None:
    delta = json.dumps(event("output_text.delta", delta="a\0b\ud83dc"))
    body = f"data: {delta}\n\n".encode() + events(ended())
    raw = b'data: {"type":"response.output_text.delta","delta":"\xff"}\n\n'
    deltas = await answer(upstream, "responses", raw + body)
    assert text(deltas) == "\ufffda\ufffdb\ufffdc"
