"""The ceiling of a server that reads a provider's deltas: the SDK's raw response.

Over aiohttp, each read's events decoded by msgspec and sent on in one piece.
"""

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import cache

import anthropic
import httpx2
import msgspec
import openai

from bench.servers import asgi
from bench.wire import MODEL, path_of

PROTOCOL = os.environ["PROTOCOL"]


class Text(msgspec.Struct):
    """The delta of Chat Completions and of Anthropic, as far as text goes."""

    content: str | None = None
    text: str | None = None


class Choice(msgspec.Struct):
    """Of Chat Completions."""

    delta: Text


class Event(msgspec.Struct):
    """An event of any of the providers; the Responses API's delta is the text."""

    choices: list[Choice] = []
    delta: Text | str | None = None


class Content(msgspec.Struct):
    """Our own event."""

    type: str
    is_final: bool
    timestamp: int
    content: str


_decode = msgspec.json.Decoder(Event).decode
_encode = msgspec.json.Encoder().encode


@cache
def client() -> openai.AsyncOpenAI | anthropic.AsyncAnthropic:
    """The protocol's SDK, over aiohttp."""
    if PROTOCOL == "anthropic":
        http = anthropic.DefaultAioHttpClient()
        return anthropic.AsyncAnthropic(http_client=http)
    return openai.AsyncOpenAI(http_client=openai.DefaultAioHttpClient())


async def answer(question: str, write: Callable[[bytes], Awaitable[None]]) -> None:
    """One send a read."""
    async for events in _reads(question):
        now = int(time.time() * 1000)
        texts = [text for data in events if (text := _text(data))]
        frames = [_encode(Content("content", False, now, text)) for text in texts]
        if frames:
            await write(b"".join(b"event: content\ndata: %b\n\n" % f for f in frames))
    await write(asgi.frame("done", is_final=True).encode())


async def _reads(question: str) -> AsyncIterator[list[bytes]]:
    """The events that each read completes."""
    message = {"role": "user", "content": question}
    path = path_of(PROTOCOL)  # type: ignore[arg-type]
    response = await client().post(
        path if PROTOCOL == "anthropic" else path.removeprefix("/v1"),
        cast_to=httpx2.Response,
        body={"model": MODEL, "stream": True, "messages": [message]},
        stream=True,
    )
    rest = b""
    async for chunk in response.aiter_bytes():
        *events, rest = (rest + chunk).split(b"\n\n")
        yield events
    await response.aclose()


def _text(event: bytes) -> str | None:
    data = event[event.find(b"data: ") + 6 :]
    if data == b"[DONE]":
        return None
    match _decode(data):
        case Event(choices=[choice]):
            return choice.delta.content
        case Event(delta=str(text)):
            return text
        case Event(delta=Text(text=text)):
            return text
    return None


application = asgi.application(answer)
