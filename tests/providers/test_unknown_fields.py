"""Fields that only their server understands return to it, and to no other."""

from typing import Any

import msgspec
import pytest

from streaming.agent.response import ResponseBuilder
from streaming.messages import Message, OpaquePart, ToolResultPart, user_message
from streaming.providers.base import ModelRequest, Provider
from streaming.testing.provider import Reply, StandInProvider
from tests.providers import anthropic_streams as anthropic
from tests.providers import openai_streams as openai
from tests.providers.openai_streams import WEATHER

SEARCH = {"type": "code_execution", "tool_id": "x"}

CHAT = openai.chunks(
    openai.chunk(
        tool_calls=[
            {
                "index": 0,
                "id": "c",
                "function": {"name": "weather", "arguments": "{}", "signature": "in"},
                "extra_content": {"google": {"thought_signature": "SIG"}},
            }
        ]
    ),
    openai.chunk("tool_calls", extra_content={"google": {"thought_signature": "M"}}),
)
RESPONSES = openai.events(
    openai.item_done(openai.call_item(namespace={"of": "weather"}), 0),
    openai.item_done(
        {"type": "compaction", "id": "cmp_1", "encrypted_content": "zip"}, 1
    ),
    openai.ended(),
)
MESSAGES = anthropic.message(
    anthropic.block(
        0,
        {"type": "thinking", "thinking": "", "signature": "", "version": 2},
        {"type": "signature_delta", "signature": "SIG"},
    ),
    anthropic.block(
        1,
        {
            "type": "tool_use",
            "id": "toolu_1",
            "name": "weather",
            "input": {},
            "caller": SEARCH,
        },
    ),
    stop="tool_use",
)
STREAMS = {"chat": CHAT, "responses": RESPONSES, "messages": MESSAGES}
AGAIN = {
    "chat": openai.chunks(openai.chunk("stop", content="Good")),
    "responses": openai.events(*openai.text_deltas("Good"), openai.ended()),
    "messages": anthropic.message(anthropic.text_block(0, "Good")),
}


def provider_at(upstream: StandInProvider, api: str, **options: str) -> Any:  # noqa: ANN401
    if api == "messages":
        return anthropic.anthropic_at(upstream, **options)
    return openai.openai_at(upstream, api, **options)  # type: ignore[arg-type]


async def call(upstream: StandInProvider, api: str) -> Message:
    """The response with the call, as the agent stores it."""
    upstream.reply(Reply(STREAMS[api]))
    async with provider_at(upstream, api) as provider:
        response = ResponseBuilder(provider.origin, ["weather"])
        request = ModelRequest("", [user_message("Hi")], [WEATHER])
        response.add(await openai.read(provider, request))
    return response.message


async def next_body(
    upstream: StandInProvider, provider: Provider, api: str, message: Message
) -> Any:  # noqa: ANN401
    """The request that has the result of the call."""
    upstream.reply(Reply(AGAIN[api]))
    [asked] = message.tool_calls
    results = Message("tool", [ToolResultPart(asked.id, "weather", "Sunny")])
    history = [user_message("Hi"), message, results]
    await openai.read(provider, ModelRequest("", history, [WEATHER]))
    return upstream.requests[-1].json


@pytest.mark.parametrize("api", STREAMS)
async def test_they_return_unchanged_to_their_origin(
    upstream: StandInProvider, api: str
) -> None:
    message = await call(upstream, api)
    async with provider_at(upstream, api) as provider:
        body = await next_body(upstream, provider, api, message)
    match api:
        case "chat":
            sent = body["messages"][1]
            [asked] = sent["tool_calls"]
            assert sent["extra_content"] == {"google": {"thought_signature": "M"}}
            assert asked["extra_content"] == {"google": {"thought_signature": "SIG"}}
            assert asked["function"]["signature"] == "in"
        case "responses":
            called, compacted = body["input"][1:3]
            assert called["namespace"] == {"of": "weather"}
            assert compacted["encrypted_content"] == "zip"
        case "messages":
            thinking, called = body["messages"][1]["content"]
            assert (thinking["version"], thinking["signature"]) == (2, "SIG")
            assert called["caller"] == SEARCH


@pytest.mark.parametrize("change", ["server", "model"])
@pytest.mark.parametrize("api", STREAMS)
async def test_they_are_not_sent_to_another_origin(
    upstream: StandInProvider, api: str, change: str
) -> None:
    message = await call(upstream, api)
    async with StandInProvider() as other:
        server = other if change == "server" else upstream
        options = {"llm_model": "another"} if change == "model" else {}
        async with provider_at(server, api, **options) as provider:
            body = await next_body(server, provider, api, message)
    sent = msgspec.json.encode(body).decode()
    words = ("SIG", "extra_content", "signature", "namespace", "zip", "caller")
    assert [word for word in words if f'"{word}"' in sent] == []


@pytest.mark.parametrize("api", STREAMS)
async def test_they_are_stored_with_their_origin(
    upstream: StandInProvider, api: str
) -> None:
    message = await call(upstream, api)
    [asked] = message.tool_calls
    assert asked.extra
    origins = {asked.origin}
    origins |= {part.origin for part in message.parts if isinstance(part, OpaquePart)}
    [origin] = origins
    assert origin.startswith(upstream.url)
    assert api in origin.split()
