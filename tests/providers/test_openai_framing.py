"""The bytes of OpenAI's streams yield the same deltas in any chunks."""

import pytest

from streaming.messages import (
    Message,
    OpaquePart,
    Part,
    TextPart,
    ThinkingPart,
    ToolCallPart,
)
from streaming.providers.base import TokenUsage
from streaming.testing.provider import Reply, StandInProvider
from tests.providers.openai_streams import (
    DONE,
    Api,
    call_item,
    chunk,
    chunks,
    deltas_of,
    ended,
    event,
    events,
    fragment,
    item_done,
    joined,
    reasoning_item,
    text_deltas,
    thinking_deltas,
)

ROME = '{"city":"Rome \\u2600 🌞"}'
TEXT = "Grüße aus 東京 🗼\r\n\u2028data: [DONE]\n\n"
REASONING = reasoning_item(encrypted="gAAAA" * 500)
COMMENT = b": ping\n\n"

STREAMS: dict[Api, bytes] = {
    "responses": COMMENT
    + events(
        *thinking_deltas("Hm", "m 🤔"),
        item_done(REASONING),
        event("output_item.added", 1, item={"type": "message", "phase": "commentary"}),
        *text_deltas(*TEXT, index=1),
        item_done(call_item(ROME), 2),
    )
    + COMMENT
    + events(ended(usage={"input_tokens": 3, "output_tokens": 4})),
    "chat": COMMENT
    + chunks(
        chunk(reasoning="Hm"),
        chunk(reasoning="m 🤔"),
        *[chunk(content=character) for character in TEXT],
        fragment(index=0, id="call_1", name="weather"),
        *[fragment(character, index=0) for character in ROME],
        chunk("tool_calls"),
    )
    + COMMENT
    + chunks({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}})
    + DONE,
}
PARTS: dict[Api, list[Part]] = {
    "responses": [
        ThinkingPart("Hmm 🤔", "openai", REASONING),
        OpaquePart("openai", {"phase": "commentary"}),
        TextPart(TEXT),
        ToolCallPart("call_1", "weather", ROME),
    ],
    "chat": [
        ThinkingPart("Hmm 🤔", "openai", {"field": "reasoning"}),
        TextPart(TEXT),
        ToolCallPart("call_1", "weather", ROME),
    ],
}


async def check(upstream: StandInProvider, api: Api, reply: Reply) -> None:
    response = joined(await deltas_of(upstream, api, reply))
    assert response.message == Message("assistant", PARTS[api])
    assert response.usage == TokenUsage(3, 4)
    assert response.stop_reason == "tool_use"


@pytest.mark.parametrize("api", STREAMS)
@pytest.mark.parametrize("size", [1, 2, 3, 61, 997, 0])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
async def test_pieces_of_any_size_and_any_line_end(
    upstream: StandInProvider, api: Api, size: int, line_end: bytes
) -> None:
    body = STREAMS[api].replace(b"\n", line_end)
    await check(upstream, api, Reply(body, chunk_size=size))


@pytest.mark.parametrize("api", STREAMS)
@pytest.mark.parametrize("size", [1, 50, 0])
async def test_gzip(upstream: StandInProvider, api: Api, size: int) -> None:
    reply = Reply(STREAMS[api], chunk_size=size, gzip=True, delay=1e-6)
    await check(upstream, api, reply)


@pytest.mark.parametrize("api", STREAMS)
async def test_names_of_events_and_a_byte_order_mark_do_not_matter(
    upstream: StandInProvider, api: Api
) -> None:
    lines = STREAMS[api].split(b"\n")
    bare = [line for line in lines if not line.startswith(b"event:")]
    await check(upstream, api, Reply(b"\xef\xbb\xbf" + b"\n".join(bare)))
