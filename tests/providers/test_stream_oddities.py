"""Streams that vendors and proxies send in other forms than the APIs describe."""

import json

import pytest

from streaming.agent.response import ResponseBuilder
from streaming.messages import ThinkingPart
from streaming.testing.provider import Reply, StandInProvider
from tests.providers import anthropic_streams as anthropic
from tests.providers import openai_streams as openai
from tests.providers.openai_streams import chunk, joined

GOOD = {
    "chat": openai.chunks(chunk(content="Good"), chunk("stop")),
    "responses": openai.events(*openai.text_deltas("Good"), openai.ended()),
    "messages": anthropic.message(anthropic.text_block(0, "Good")),
}
KEEP_ALIVES = [
    b"data: ping",
    b"event: ping\ndata: ping",
    b"data: null",
    b"data: keep-alive",
    b"data: 1712345678",
    b'data: ""',
    b"data: {}",
    b": processing",
]


async def answer(upstream: StandInProvider, api: str, body: bytes) -> ResponseBuilder:
    """The response to one request, as the agent joins it."""
    upstream.reply(Reply(body))
    made = (
        anthropic.anthropic_at(upstream)
        if api == "messages"
        else openai.openai_at(upstream, api)  # type: ignore[arg-type]
    )
    async with made as provider:
        return joined(await openai.read(provider))


@pytest.mark.parametrize("api", GOOD)
@pytest.mark.parametrize("keep_alive", KEEP_ALIVES)
async def test_an_event_may_only_keep_the_connection_open(
    upstream: StandInProvider, api: str, keep_alive: bytes
) -> None:
    response = await answer(upstream, api, keep_alive + b"\n\n" + GOOD[api])
    assert response.message.text == "Good"


@pytest.mark.parametrize("done", [b"[DONE]", b" [DONE] ", b"[done]", b'"[DONE]"'])
@pytest.mark.parametrize("api", GOOD)
async def test_the_end_is_written_in_several_ways(
    upstream: StandInProvider, api: str, done: bytes
) -> None:
    body = GOOD[api]
    if api == "messages":  # in place of the last event
        body = body[: body.index(b"event: message_stop")]
    response = await answer(upstream, api, body + b"data: " + done + b"\n\n")
    assert (response.message.text, response.stop_reason) == ("Good", "end_turn")


async def test_events_need_no_blank_lines_between_them(
    upstream: StandInProvider,
) -> None:
    body = (GOOD["chat"] + openai.DONE).replace(b"\n\n", b"\n")
    assert (await answer(upstream, "chat", body)).message.text == "Good"


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("null", "end_turn"),
        ("content-filter", "refusal"),
        ("guardrail_intervened", "refusal"),
        ("model_context_window_exceeded", "max_tokens"),
    ],
)
async def test_reasons_of_other_servers(
    upstream: StandInProvider, reason: str, expected: str
) -> None:
    body = openai.chunks(chunk(reason, content="Good")) + openai.DONE
    assert (await answer(upstream, "chat", body)).stop_reason == expected


@pytest.mark.parametrize(
    ("reason", "expected"),
    [("length", "max_tokens"), ("content_filter", "refusal"), ("stop", "end_turn")],
)
async def test_reasons_of_other_servers_in_messages(
    upstream: StandInProvider, reason: str, expected: str
) -> None:
    body = GOOD["messages"].replace(b"end_turn", reason.encode())
    assert (await answer(upstream, "messages", body)).stop_reason == expected


@pytest.mark.parametrize(
    "part",
    [
        {"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm"}]},
    ],
)
async def test_reasoning_among_the_parts_of_content(
    upstream: StandInProvider, part: dict[str, object]
) -> None:
    body = openai.chunks(chunk(content=[part]), chunk(content="Good"), chunk("stop"))
    message = (await answer(upstream, "chat", body)).message
    assert message.text == "Good"
    [thinking] = [part for part in message.parts if isinstance(part, ThinkingPart)]
    assert (thinking.text, thinking.opaque) == ("Hm", {})


@pytest.mark.parametrize("nothing", [{"choices": [None]}, chunk(tool_calls=[None])])
async def test_null_in_a_list_is_ignored(
    upstream: StandInProvider, nothing: dict[str, object]
) -> None:
    body = openai.chunks(nothing) + GOOD["chat"]
    assert (await answer(upstream, "chat", body)).message.text == "Good"


CALL = {"index": 0, "id": "c1", "function": {"name": "weather", "arguments": "{}"}}


async def test_one_call_need_not_be_in_a_list(upstream: StandInProvider) -> None:
    body = openai.chunks(chunk(tool_calls=CALL), chunk("tool_calls"))
    [call] = (await answer(upstream, "chat", body)).message.tool_calls
    assert (call.name, call.arguments) == ("weather", "{}")


@pytest.mark.parametrize(("index", "ends"), [(0, False), (7, True), (7, False)])
async def test_a_call_of_a_server_that_confuses_its_blocks(
    upstream: StandInProvider, index: int, ends: bool
) -> None:
    tool = {"type": "tool_use", "id": "t1", "name": "weather", "input": {}}
    arguments = {"type": "input_json_delta", "partial_json": '{"city":"Oslo"}'}
    events = [
        {"type": "message_start", "message": {}},
        {"type": "content_block_start", "index": 0, "content_block": tool},
        {"type": "content_block_delta", "index": index, "delta": arguments},
        *([{"type": "content_block_stop", "index": 0}] if ends else []),
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}},
        {"type": "message_stop"},
    ]
    body = b"".join(f"data: {json.dumps(each)}\n\n".encode() for each in events)
    response = await answer(upstream, "messages", body)
    assert [call.arguments for call in response.message.tool_calls] == [
        '{"city":"Oslo"}'
    ]
