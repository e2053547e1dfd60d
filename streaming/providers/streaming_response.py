"""What the vendors' providers share: sending a request, reading an answer, its JSON.

The SDKs build and send the request; the answer is read here as raw bytes.
"""

import asyncio
import json
import logging
import math
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import closing, suppress
from typing import Any, Literal, Protocol, TypeVar

import aiohttp
import httpx2
import msgspec

from streaming.exceptions import ProviderError
from streaming.providers.base import Delta
from streaming.providers.errors import UNREADABLE, map_request_error, map_stream_error
from streaming.providers.http_transport import aiohttp_response
from streaming.wire import sse

logger = logging.getLogger(__name__)

T = TypeVar("T")

_ENCODER = msgspec.json.Encoder()
_OBJECT = msgspec.json.Decoder(dict[str, Any])

# What the SDKs let through unwrapped when a request fails.
_RAW_ERRORS = (httpx2.HTTPError, aiohttp.ClientError, OSError)

# How long to wait for the end of an answer that has out all.
_DRAIN_SECONDS = 0.5

# PostgreSQL cannot store NUL; half of a surrogate pair has no form in UTF-8.
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


class Client(Protocol):
    """The client of either SDK, as far as it is used here."""

    async def post(
        self,
        path: str,
        *,
        cast_to: type[httpx2.Response],
        content: bytes,
        options: Any,  # noqa: ANN401
        stream: Literal[True],
    ) -> Any:  # noqa: ANN401
        """Send a request with the SDK's headers and its view of failures."""
        ...


class Parser(Protocol):
    """Turns the events of one answer into deltas."""

    @property
    def done(self) -> bool:
        """Whether nothing more can follow."""
        ...

    def feed(self, data: bytes, out: list[Delta]) -> None:
        """Add to `out` what one event tells. Raises the `ProviderError` of one."""
        ...

    def finish(self) -> list[Delta]:
        """What is left to tell at the end, `ResponseEnd` last.

        Raises `ProviderIncomplete` when the answer ended too early.
        """
        ...


async def send_request(
    client: Client,
    path: str,
    body: Mapping[str, Any],
    headers: Mapping[str, str] | None = None,
) -> aiohttp.ClientResponse:
    """Send a request, encoded here; its answer, for the caller to close.

    The SDKs' own methods walk through their arguments type by type, which takes 200 ms
    of CPU for a history of 400 messages. Of what they return only the answer itself is
    kept: the rest holds the whole request.
    """
    response: httpx2.Response = await client.post(
        path,
        cast_to=httpx2.Response,
        content=_ENCODER.encode({**body, "stream": True}),
        options={"headers": headers or {}},
        stream=True,
    )
    return aiohttp_response(response)


async def read_deltas(
    opening: Callable[[], Awaitable[aiohttp.ClientResponse]],
    parser: Parser,
    sdk_error: type[Exception],
) -> AsyncGenerator[list[Delta], None]:
    """Send the request by `opening` and yield what its answer tells."""
    try:
        answer = await opening()
    except (sdk_error, *_RAW_ERRORS) as error:
        raise map_request_error(error) from error
    del opening  # of a long history it holds hundreds of dicts
    with closing(answer):
        decoder = sse.Decoder()
        content, more = answer.content, True
        while more and not parser.done:
            try:
                more = bool(chunk := await content.readany())
                events = decoder.feed(chunk) if more else _last_events(decoder)
            except Exception as error:
                raise map_stream_error(error) from error
            if events:
                batch, failure = _parse(parser, events)
                yield batch
                if failure:
                    raise failure
        yield parser.finish()
        await _drain(content)


def _parse(
    parser: Parser, events: list[bytes]
) -> tuple[list[Delta], ProviderError | None]:
    """What the events tell, up to the failure that one of them tells of."""
    batch: list[Delta] = []
    try:
        for data in events:
            if data.strip() and not parser.done:
                parser.feed(data, batch)
    except ProviderError as error:
        return batch, error
    return batch, None


async def _drain(content: aiohttp.StreamReader) -> None:
    """Read to the end, for only then can the connection be used again."""
    if content.at_eof():
        return
    with suppress(Exception):  # whatever it is, all was out before
        async with asyncio.timeout(_DRAIN_SECONDS):
            while await content.readany():
                pass


def _last_events(decoder: sse.Decoder) -> list[bytes]:
    """What an answer ended with, though its blank line is missing."""
    return [data for data in decoder.flush() if _is_whole(data)]


def decode(decoder: msgspec.json.Decoder[T], data: bytes) -> T:
    """The data of one event. NUL and lone surrogates in it become U+FFFD."""
    try:
        return _decode(decoder, data)
    except (ValueError, RecursionError) as error:
        logger.warning("the provider sent %d bytes that are no event", len(data))
        raise ProviderError(UNREADABLE, retryable=True) from error


def json_object(text: str) -> dict[str, Any]:
    """The JSON object that a model wrote; empty when it wrote none."""
    try:
        return _decode(_OBJECT, text.encode())
    except (ValueError, RecursionError):
        return {}


def _decode(decoder: msgspec.json.Decoder[T], data: bytes) -> T:
    if rb"\u0000" not in data:
        try:
            return decoder.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass  # it may be for lone surrogates, or for bytes that are no UTF-8
    value = json.loads(data.decode(errors="replace"), strict=False)
    return msgspec.convert(_storable(value), decoder.type)


def _is_whole(data: bytes) -> bool:
    """Whether a last event that lacks its blank line came to its own end."""
    if data == b"[DONE]":
        return True
    try:
        json.loads(data)
    except ValueError:
        return False
    return True


def _storable(value: Any) -> Any:  # noqa: ANN401
    match value:
        case str():
            return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", value)
        case list():
            return [_storable(item) for item in value]
        case dict():
            return {_storable(key): _storable(item) for key, item in value.items()}
        case float() if not math.isfinite(value):
            return None
    return value
