"""Streams of the Messages API, made piece by piece, and a provider to read them."""

import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

import msgspec

from streaming.agent.response import ResponseBuilder
from streaming.messages import ToolSpec, user_message
from streaming.providers import make_provider
from streaming.providers.anthropic.options import AnthropicOptions
from streaming.providers.base import (
    Delta,
    ModelRequest,
    Provider,
    TextDelta,
    ThinkingDelta,
)
from streaming.testing.provider import Reply, StandInProvider

Event = dict[str, Any]

HELLO = ModelRequest(system="Be brief.", messages=[user_message("Hello")])
#: The message of an error, which no client may see.
SECRET = "sk-ant-secret asked about my divorce at https://api.example.com"
WEATHER = ToolSpec(
    "weather",
    "The weather in a city.",
    {"type": "object", "properties": {"city": {"type": "string"}}},
)


def options(upstream: StandInProvider, **changed: str | float) -> AnthropicOptions:
    """Options of a provider without retries whose server is the stand-in."""
    given = {
        "llm_provider": "anthropic",
        "anthropic_api_key": "sk-ant-secret",
        "anthropic_base_url": upstream.url,
        "llm_max_retries": 0,
        **changed,
    }
    return msgspec.convert(given, AnthropicOptions)


@asynccontextmanager
async def anthropic_at(
    upstream: StandInProvider, **changed: str | float
) -> AsyncIterator[Provider]:
    """Such a provider, as the rest of the application gets it."""
    provider = make_provider(options(upstream, **changed))
    try:
        yield provider
    finally:
        await provider.aclose()


async def read(
    provider: Provider,
    request: ModelRequest = HELLO,
    into: list[Delta] | None = None,
) -> list[Delta]:
    """All deltas of one call; those before a failure stand in `into`."""
    deltas: list[Delta] = [] if into is None else into
    async with aclosing(provider.stream(request)) as batches:
        async for batch in batches:
            deltas.extend(batch)
    return deltas


async def deltas_of(
    upstream: StandInProvider,
    *replies: Reply,
    request: ModelRequest = HELLO,
    into: list[Delta] | None = None,
    **changed: str | float,
) -> list[Delta]:
    """The deltas of one call that is answered with the replies."""
    upstream.reply(*replies)
    async with anthropic_at(upstream, **changed) as provider:
        return await read(provider, request, into)


def text(deltas: Iterable[Delta]) -> str:
    return "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))


def thinking(deltas: Iterable[Delta]) -> str:
    return "".join(delta.text for delta in deltas if isinstance(delta, ThinkingDelta))


def joined(deltas: Sequence[Delta]) -> ResponseBuilder:
    """The deltas as a response, as the agent joins them."""
    response = ResponseBuilder()
    response.add(deltas)
    return response


def sse(*events: Event) -> bytes:
    """Events as Anthropic frames them."""
    return b"".join(
        f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
        for event in events
    )


def message(
    *blocks: Iterable[Event],
    stop: str | None = "end_turn",
    usage: Mapping[str, object] | None = None,
    stop_details: object = None,
) -> bytes:
    """A whole message of these blocks."""
    inner = [event for block in blocks for event in block]
    end = message_delta(stop, usage=usage, stop_details=stop_details)
    return sse(start(), *inner, end, STOP)


STOP: Event = {"type": "message_stop"}
PING: Event = {"type": "ping"}


def start(**usage: object) -> Event:
    counts = {"input_tokens": 10, "output_tokens": 1} | usage
    return {"type": "message_start", "message": {"content": [], "usage": counts}}


def message_delta(
    stop: str | None = "end_turn",
    *,
    usage: Mapping[str, object] | None = None,
    stop_details: object = None,
) -> Event:
    return {
        "type": "message_delta",
        "delta": {"stop_reason": stop, "stop_details": stop_details},
        "usage": usage or {"output_tokens": 5},
    }


def error(kind: str, text: str = "Something secret") -> Event:
    return {"type": "error", "error": {"type": kind, "message": text}}


def block(
    index: int, content: Event, *deltas: Event, stopped: bool = True
) -> list[Event]:
    """The events of one content block."""
    at = {"index": index}
    events: list[Event] = [
        {"type": "content_block_start", "content_block": content} | at
    ]
    events += [{"type": "content_block_delta", "delta": delta} | at for delta in deltas]
    if stopped:
        events.append({"type": "content_block_stop"} | at)
    return events


def text_block(index: int, *pieces: str) -> list[Event]:
    deltas = [{"type": "text_delta", "text": piece} for piece in pieces]
    return block(index, {"type": "text", "text": ""}, *deltas)


def thinking_block(index: int, *pieces: str, signature: str) -> list[Event]:
    deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces]
    signed = {"type": "signature_delta", "signature": signature}
    empty = {"type": "thinking", "thinking": "", "signature": ""}
    return block(index, empty, *deltas, signed)


def redacted_block(index: int, data: str) -> list[Event]:
    return block(index, {"type": "redacted_thinking", "data": data})


def tool_block(
    index: int, id: str, name: str, *pieces: str, stopped: bool = True
) -> list[Event]:
    deltas = [
        {"type": "input_json_delta", "partial_json": piece} for piece in ("", *pieces)
    ]
    content = {"type": "tool_use", "id": id, "name": name, "input": {}}
    return block(index, content, *deltas, stopped=stopped)


#: The beginning of a response.
OPENING = sse(start(), *text_block(0, "Hel"))


def error_reply(
    status: int,
    kind: str = "api_error",
    *,
    details: object = None,
    message: str = SECRET,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """An error of the server, in JSON."""
    fields = {"type": kind, "message": message, "details": details}
    body = json.dumps({"type": "error", "error": fields, "request_id": "req_1"})
    return Reply(body.encode(), status, "application/json", headers or {})
