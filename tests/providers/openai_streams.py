"""Streams of OpenAI's two APIs, made piece by piece, and a provider to read them."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, Literal

import msgspec

from streaming.agent.response import ResponseBuilder
from streaming.messages import Message, Part, ToolSpec, user_message
from streaming.providers import make_provider
from streaming.providers.base import (
    Delta,
    ModelRequest,
    Provider,
    TextDelta,
    ThinkingDelta,
)
from streaming.providers.openai.options import OpenAIOptions
from streaming.testing.provider import Reply, StandInProvider

Api = Literal["responses", "chat"]
Payload = dict[str, Any]

HELLO = ModelRequest(system="Be brief.", messages=[user_message("Hello")])
WEATHER = ToolSpec(
    "weather",
    "The weather in a city.",
    {"type": "object", "properties": {"city": {"type": "string"}}},
)
NO_MORE_TOOLS = ModelRequest("", HELLO.messages, [WEATHER], allow_tools=False)
DONE = b"data: [DONE]\n\n"


@asynccontextmanager
async def openai_at(
    upstream: StandInProvider, api: Api, **options: str | float
) -> AsyncIterator[Provider]:
    """A provider whose server is the stand-in, without retries."""
    given = {
        "llm_provider": "openai",
        "openai_api_key": "sk-test",
        "openai_base_url": upstream.url,
        "openai_api": api,
        "llm_max_retries": 0,
        **options,
    }
    provider = make_provider(msgspec.convert(given, OpenAIOptions))
    try:
        yield provider
    finally:
        await provider.aclose()


async def read(provider: Provider, request: ModelRequest = HELLO) -> list[Delta]:
    """All deltas of one call."""
    async with aclosing(provider.stream(request)) as batches:
        return [delta async for batch in batches for delta in batch]


async def deltas_of(
    upstream: StandInProvider,
    api: Api,
    reply: Reply | bytes,
    request: ModelRequest = HELLO,
    **options: str | float,
) -> list[Delta]:
    """The deltas of one call that is answered with `reply`."""
    upstream.reply(reply if isinstance(reply, Reply) else Reply(reply))
    async with openai_at(upstream, api, **options) as provider:
        return await read(provider, request)


def joined(deltas: Sequence[Delta]) -> ResponseBuilder:
    """The deltas as a response, as the agent joins them."""
    response = ResponseBuilder()
    response.add(deltas)
    return response


def history(*parts: Part) -> ModelRequest:
    """A question, the response to it, and the next question."""
    messages = [user_message("Hi"), Message("assistant", list(parts))]
    return ModelRequest("", [*messages, user_message("And?")])


def text(deltas: Sequence[Delta]) -> str:
    """The text of a response."""
    return "".join(d.text for d in deltas if isinstance(d, TextDelta))


def thinking(deltas: Sequence[Delta]) -> str:
    """The reasoning of a response."""
    return "".join(d.text for d in deltas if isinstance(d, ThinkingDelta))


# Responses


def events(*payloads: Payload) -> bytes:
    """The body of a stream of the Responses API."""
    return b"".join(
        f"event: {p.get('type')}\ndata: {_json(p)}\n\n".encode() for p in payloads
    )


def event(kind: str, index: int = 0, **fields: object) -> Payload:
    """One event of an output item."""
    return {"type": f"response.{kind}", "output_index": index, **fields}


def text_deltas(*texts: str, index: int = 0) -> list[Payload]:
    """Deltas of text."""
    return [event("output_text.delta", index, delta=text) for text in texts]


def thinking_deltas(*texts: str, index: int = 0) -> list[Payload]:
    """Deltas of a reasoning summary."""
    kind = "reasoning_summary_text.delta"
    return [event(kind, index, delta=text) for text in texts]


def item_done(item: Payload, index: int = 0) -> Payload:
    """An output item is whole."""
    return event("output_item.done", index, item=item)


def reasoning_item(
    id: str = "rs_1", encrypted: str = "gAAAA", **more: object
) -> Payload:
    """A reasoning item as OpenAI ends it."""
    item: Payload = {"id": id, "type": "reasoning", "summary": [], **more}
    return item | ({"encrypted_content": encrypted} if encrypted else {})


def call_item(
    arguments: str = "{}",
    call_id: str = "call_1",
    name: str = "weather",
    **more: object,
) -> Payload:
    """A function call as OpenAI ends it."""
    return {
        "id": f"fc_{call_id}",
        "type": "function_call",
        "status": "completed",
        "call_id": call_id,
        "name": name,
        "arguments": arguments,
        **more,
    }


def ended(status: str = "completed", **response: object) -> Payload:
    """The terminal event."""
    return {"type": f"response.{status}", "response": {"status": status, **response}}


# Chat Completions


def chunks(*payloads: Payload) -> bytes:
    """The body of a stream of Chat Completions, without its `[DONE]`."""
    return b"".join(f"data: {_json(p)}\n\n".encode() for p in payloads)


def chunk(finish: str | None = None, **delta: object) -> Payload:
    """One chunk with one choice."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"object": "chat.completion.chunk", "choices": [choice]}


def fragment(arguments: object = "", **more: object) -> Payload:
    """One chunk with a fragment of a tool call; `id`, `name`, `index` as given."""
    function: Payload = {"arguments": arguments}
    if "name" in more:
        function["name"] = more.pop("name")
    return chunk(tool_calls=[{"function": function, **more}])


def _json(payload: Payload) -> str:
    return json.dumps(payload, ensure_ascii=False)
