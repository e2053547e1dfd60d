"""OpenAI's Responses API: the deltas of each event."""

import pytest

from streaming.messages import OpaquePart, ThinkingPart, ToolCallPart
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
    Payload,
    call_item,
    deltas_of,
    ended,
    event,
    events,
    item_done,
    joined,
    reasoning_item,
    text,
    text_deltas,
    thinking,
    thinking_deltas,
)

USAGE = {
    "input_tokens": 100,
    "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 30},
    "output_tokens": 50,
    "output_tokens_details": {"reasoning_tokens": 20},
    "total_tokens": 150,
}


async def responses(upstream: StandInProvider, *payloads: Payload) -> list[Delta]:
    return await deltas_of(upstream, "responses", events(*payloads))


async def test_text_arrives_as_it_is_written_and_usage_before_the_end(
    upstream: StandInProvider,
) -> None:
    deltas = await responses(
        upstream,
        {"type": "response.created", "response": {"status": "in_progress"}},
        *text_deltas("Hel", "", "lo 🌍"),
        event("output_text.done", text="Hello 🌍"),
        item_done({"type": "message", "content": [{"text": "Hello 🌍"}]}),
        ended(usage=USAGE),
    )
    assert deltas == [
        TextDelta("Hel"),
        TextDelta("lo 🌍"),
        TokenUsage(100, 50, 20, 60, 30),
        ResponseEnd("end_turn"),
    ]


async def test_a_reasoning_item_is_kept_whole_behind_its_summary(
    upstream: StandInProvider,
) -> None:
    item = reasoning_item(summary=[{"type": "summary_text", "text": "Think."}])
    deltas = await responses(
        upstream,
        event("output_item.added", item=reasoning_item(encrypted="not yet whole")),
        *thinking_deltas("Thi", "nk."),
        item_done(item),
        *text_deltas("Hi", index=1),
        ended(),
    )
    assert deltas[:3] == [
        ThinkingDelta("Thi"),
        ThinkingDelta("nk."),
        ThinkingEnd("openai", item),
    ]
    assert joined(deltas).message.parts[0] == ThinkingPart("Think.", "openai", item)


async def test_reasoning_that_is_not_shown_is_kept_too(
    upstream: StandInProvider,
) -> None:
    item = reasoning_item()
    deltas = await responses(upstream, item_done(item), ended())
    assert deltas == [ThinkingEnd("openai", item), ResponseEnd("end_turn")]


async def test_open_reasoning_of_other_servers_is_thinking(
    upstream: StandInProvider,
) -> None:
    deltas = await responses(
        upstream, event("reasoning_text.delta", delta="Hmm."), ended()
    )
    assert thinking(deltas) == "Hmm."


async def test_parallel_tool_calls_come_whole_and_in_order(
    upstream: StandInProvider,
) -> None:
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
        ResponseEnd("tool_use"),
    ]


@pytest.mark.parametrize(
    "sent",
    [
        [
            event("function_call_arguments.delta", delta='{"city":'),
            event("function_call_arguments.delta", delta='"Rome"}'),
        ],
        [event("function_call_arguments.done", arguments='{"city":"Rome"}')],
    ],
)
async def test_arguments_missing_in_the_finished_item_are_those_of_the_deltas(
    upstream: StandInProvider, sent: list[Payload]
) -> None:
    deltas = await responses(upstream, *sent, item_done(call_item("")), ended())
    assert deltas[0] == ToolCallPart("call_1", "weather", '{"city":"Rome"}')


async def test_a_call_without_arguments_gets_an_empty_object(
    upstream: StandInProvider,
) -> None:
    deltas = await responses(upstream, item_done(call_item("")), ended())
    assert deltas == [ToolCallPart("call_1", "weather", "{}"), ResponseEnd("tool_use")]


@pytest.mark.parametrize("status", ["incomplete", "in_progress", None])
async def test_a_call_cut_off_by_the_token_limit_is_omitted(
    upstream: StandInProvider, status: str | None
) -> None:
    deltas = await responses(
        upstream,
        *text_deltas("Let me look."),
        event("function_call_arguments.delta", 1, delta='{"city": "Ro'),
        item_done(call_item('{"city": "Ro', status=status), 1),
        ended("incomplete", incomplete_details={"reason": "max_output_tokens"}),
    )
    assert deltas == [TextDelta("Let me look."), ResponseEnd("max_tokens")]


async def test_finished_items_are_emitted_if_a_server_sends_no_deltas(
    upstream: StandInProvider,
) -> None:
    deltas = await responses(
        upstream,
        item_done(reasoning_item(content=[{"text": "Hmm."}]), 0),
        item_done({"type": "message", "content": [{"text": "Hi"}]}, 1),
        ended(),
    )
    assert (thinking(deltas), text(deltas)) == ("Hmm.", "Hi")


async def test_the_output_of_the_last_event_is_emitted_if_nothing_else_was(
    upstream: StandInProvider,
) -> None:
    message = {"type": "message", "content": [{"type": "output_text", "text": "Hi"}]}
    deltas = await responses(upstream, ended(output=[message, call_item()]))
    assert deltas == [
        TextDelta("Hi"),
        ToolCallPart("call_1", "weather", "{}"),
        ResponseEnd("tool_use"),
    ]


async def test_the_deltas_count_if_the_finished_item_has_more(
    upstream: StandInProvider,
) -> None:
    message = {"type": "message", "content": [{"text": "Hello and more"}]}
    deltas = await responses(
        upstream, *text_deltas("Hello"), item_done(message), ended(output=[message])
    )
    assert text(deltas) == "Hello"


async def test_messages_keep_the_label_of_their_phase(
    upstream: StandInProvider,
) -> None:
    def added(phase: str, index: int) -> Payload:
        item = {"type": "message", "phase": phase, "content": []}
        return event("output_item.added", index, item=item)

    deltas = await responses(
        upstream,
        added("commentary", 0),
        *text_deltas("Looking.", index=0),
        added("final_answer", 1),
        *text_deltas("Found.", index=1),
        ended(),
    )
    assert deltas == [
        OpaquePart("openai", {"phase": "commentary"}),
        TextDelta("Looking."),
        OpaquePart("openai", {"phase": "final_answer"}),
        TextDelta("Found."),
        ResponseEnd("end_turn"),
    ]


async def test_unknown_events_and_items_are_ignored(
    upstream: StandInProvider,
) -> None:
    deltas = await responses(
        upstream,
        {"type": "response.shell_call.output.delta", "delta": {"stdout": "x"}},
        {"type": "keepalive", "sequence_number": 3},
        {},
        item_done({"type": "web_search_call", "status": "completed"}),
        *text_deltas("Hi", index=1),
        ended(),
    )
    assert deltas == [TextDelta("Hi"), ResponseEnd("end_turn")]
