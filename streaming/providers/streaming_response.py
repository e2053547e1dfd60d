"""The shared part of the vendors' providers: send a request, read its response.

The SDKs build and send the request; the response is read here as raw bytes.
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

from streaming.exceptions import ProviderError, ProviderIncomplete
from streaming.providers.base import Delta
from streaming.providers.errors import (
    NOT_A_STREAM,
    UNREADABLE,
    find_error,
    map_request_error,
    map_stream_error,
    status_error,
)
from streaming.providers.http_transport import aiohttp_response
from streaming.providers.limits import LimitReached
from streaming.wire import sse

logger = logging.getLogger(__name__)

T = TypeVar("T")

_ENCODER = msgspec.json.Encoder()
_OBJECT = msgspec.json.Decoder(dict[str, Any])

# The SDKs do not wrap these when a request fails.
_RAW_ERRORS = (httpx2.HTTPError, aiohttp.ClientError, OSError)

# Limit for reading the rest of a body after its terminal event.
_BODY_END_SECONDS = 0.5

# Limit for the beginning of a body that may be no event stream, in bytes.
_MAX_DOCUMENT = 8 * 1024 * 1024

# The beginnings of an event stream.
_FIELDS = (b"data:", b"event:", b"id:", b"retry:", b"error:", b":")

# JSON of this depth or below can be encoded at any depth of the call stack.
_MAX_DEPTH = 100
_MAX_INT = 2**63 - 1

# The status for an error that has none, in place of a stream: it was not transient.
_BAD_REQUEST = 400

#: The end of a stream of Chat Completions, and of any stream behind some proxies.
DONE = b"[DONE]"

# PostgreSQL cannot store NUL; half of a surrogate pair has no form in UTF-8.
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


class Client(Protocol):
    """The client of either SDK, as far as it is used here."""

    @property
    def base_url(self) -> httpx2.URL:
        """The address of the server."""
        ...

    async def post(
        self,
        path: str,
        *,
        cast_to: type[httpx2.Response],
        content: bytes,
        options: Any,  # noqa: ANN401
        stream: Literal[True],
    ) -> Any:  # noqa: ANN401
        """Send a request with the SDK's headers; raise the SDK's errors."""
        ...


class Parser(Protocol):
    """A parser of the events of one response."""

    @property
    def done(self) -> bool:
        """True after the terminal event."""
        ...

    def feed(self, data: bytes, out: list[Delta]) -> None:
        """Append the deltas of one event to `out`.

        Raises a `ProviderError` for an error event, and `LimitReached`.
        """
        ...

    def truncate(self) -> None:
        """End the response here, as one that the token limit cut off."""
        ...

    def finish(self) -> list[Delta]:
        """Return the deltas that remain at the end, `ResponseEnd` last.

        Raises `ProviderIncomplete` if the response ended too early.
        """
        ...


async def send_request(
    client: Client,
    path: str,
    body: Mapping[str, Any],
    headers: Mapping[str, str] | None = None,
) -> aiohttp.ClientResponse:
    """Encode and send a request; return its response, which the caller closes.

    The SDKs' own methods walk through their arguments type by type, which takes 200 ms
    of CPU for a history of 400 messages; and they join a relative path to the address
    anew each time. Only aiohttp's response is kept of their result: the rest holds the
    whole request.
    """
    response: httpx2.Response = await client.post(
        f"{str(client.base_url).rstrip('/')}{path}",
        cast_to=httpx2.Response,
        content=_ENCODER.encode({**body, "stream": True}),
        options={"headers": headers or {}},
        stream=True,
    )
    return aiohttp_response(response)


class Body(Protocol):
    """The bytes of a response, as far as they are used here."""

    async def readany(self) -> bytes:
        """Return the next bytes as soon as there are any; none at the end."""
        ...

    def at_eof(self) -> bool:
        """Return True if all bytes have been returned."""
        ...


class StreamedResponse(Protocol):
    """A response whose head has arrived."""

    @property
    def content(self) -> Body:
        """The body."""
        ...

    def close(self) -> None:
        """Close the connection, or return it to its pool if the body has ended."""
        ...


async def read_deltas(
    send: Callable[[], Awaitable[StreamedResponse]],
    parser: Parser,
    sdk_error: type[Exception],
    max_event_bytes: int = sse.MAX_EVENT_BYTES,
) -> AsyncGenerator[list[Delta], None]:
    """Call `send` and yield the deltas of the response, a batch for each read."""
    try:
        response = await send()
    except (sdk_error, *_RAW_ERRORS) as error:
        raise map_request_error(error) from error
    del send  # it holds the request: hundreds of dicts for a long history
    with closing(response):
        decoder = sse.Decoder(max_event_bytes)
        content, more = response.content, True
        document: bytes | None = b""
        while more and not parser.done:
            try:
                more = bool(chunk := await content.readany())
                if more:
                    events = decoder.feed(chunk)
                else:  # a last event may lack its blank line
                    events = [data for data in decoder.flush() if _is_complete(data)]
            except Exception as error:
                raise map_stream_error(error) from error
            if events:
                document = None
                batch, failure = _parse(parser, events)
                yield batch
                if failure:
                    raise failure
            elif document is not None and len(document) < _MAX_DOCUMENT:
                document += chunk
        if document and not parser.done:
            yield _read_document(parser, document)
        yield parser.finish()
        await _read_to_end(content)


def _read_document(parser: Parser, body: bytes) -> list[Delta]:
    """Return the deltas of a body without events: nothing, or one JSON document.

    Servers send errors with status 200, or ignore that a stream was requested. Proxies
    send pages. None of them is requested again, since it may have been paid for.
    """
    text = body.removeprefix(sse.BOM).strip()
    if not text or text.startswith(_FIELDS):
        return []
    if text[:1] not in (b"{", b"["):
        logger.warning("provider response is no stream: %d bytes", len(body))
        raise ProviderError(NOT_A_STREAM)
    try:
        value = json.loads(text.decode(errors="replace"), strict=False)
    except (ValueError, RecursionError):
        return []  # it was cut off
    if (error := find_error(value)) is not None:
        raise status_error(None, error, default=_BAD_REQUEST)
    if not isinstance(value, dict):
        raise ProviderError(NOT_A_STREAM)
    batch, failure = _parse(parser, [text])
    if failure:
        raise ProviderError(failure.message) from failure
    if not batch:
        raise ProviderIncomplete(NOT_A_STREAM, retryable=False)
    return batch


def _parse(
    parser: Parser, events: list[bytes]
) -> tuple[list[Delta], ProviderError | None]:
    """Return the deltas of events up to the first error event, and its error."""
    batch: list[Delta] = []
    try:
        for data in events:
            if data.strip() and not parser.done:
                parser.feed(data, batch)
    except ProviderError as error:
        return batch, error
    except LimitReached:
        logger.warning("provider response stopped: limit reached")
        parser.truncate()
    return batch, None


async def _read_to_end(content: Body) -> None:
    """Read the rest of a body: only then can the connection be used again."""
    if content.at_eof():
        return
    with suppress(Exception):  # all deltas have been yielded, so no failure matters
        async with asyncio.timeout(_BODY_END_SECONDS):
            while await content.readany():
                pass


def bare_data(data: bytes) -> bytes:
    """Return the data of an event that is no JSON object: `[DONE]`, or nothing.

    Servers and proxies send `ping`, `null` or a time to keep a connection open, and
    write `[DONE]` in several ways. Other data is returned as it is.
    """
    text = data.strip()
    if text.strip(b'"').upper() == DONE:
        return DONE
    return data if text.startswith((b"{", b"[", b"<")) else b""


def decode(decoder: msgspec.json.Decoder[T], data: bytes) -> T:
    """Decode the data of one event. NUL and lone surrogates become U+FFFD."""
    try:
        return _decode(decoder, data)
    except (ValueError, RecursionError) as error:
        logger.warning("provider event not decodable: %d bytes", len(data))
        raise ProviderError(UNREADABLE, retryable=True) from error


def json_object(text: str) -> dict[str, Any]:
    """Return the JSON object that a model wrote; empty if it wrote none."""
    try:
        return _decode(_OBJECT, text.encode())
    except (ValueError, RecursionError):
        return {}


def json_text(value: object) -> str:
    """Return the JSON of a value that a provider sent in place of text.

    Raises `ProviderError` as `storable` does.
    """
    return _ENCODER.encode(storable(value)).decode()


def storable(value: Any) -> Any:  # noqa: ANN401
    """Return a JSON value that is kept, without the values that cannot be stored.

    Raises `ProviderError` if it is nested too deeply to be encoded again.
    """
    try:
        return _storable(value)
    except ValueError as error:
        logger.warning("provider data not storable: nested too deeply")
        raise ProviderError(UNREADABLE, retryable=True) from error


def _decode(decoder: msgspec.json.Decoder[T], data: bytes) -> T:
    if rb"\u0000" not in data:
        try:
            return decoder.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass  # perhaps because of lone surrogates, or of bytes that are not UTF-8
    value = json.loads(data.decode(errors="replace"), strict=False)
    return msgspec.convert(_storable(value), decoder.type)


def _is_complete(data: bytes) -> bool:
    """Tell the complete data of an event from data that was cut off."""
    if data == b"[DONE]":
        return True
    try:
        json.loads(data)
    except ValueError:
        return False
    return True


def _storable(value: Any, depth: int = 0) -> Any:  # noqa: ANN401
    """Return a JSON value with all that cannot be stored replaced.

    Raises `ValueError` if it is nested too deeply.
    """
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deeply")
    match value:
        case str():
            return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", value)
        case list():
            return [_storable(item, depth + 1) for item in value]
        case dict():
            return {
                _storable(key): _storable(item, depth + 1)
                for key, item in value.items()
            }
        case float() if not math.isfinite(value):
            return None
        case int() if abs(value) > _MAX_INT:
            return None
    return value
