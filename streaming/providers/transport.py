"""What the vendors' providers share: the HTTP client, reading a stream, its JSON.

The SDKs build and send the request; the answer is read here as raw bytes.
"""

import json
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Protocol, TypeVar

import httpx2
import msgspec

from streaming.exceptions import ProviderError
from streaming.providers.base import ProviderOptions
from streaming.providers.failures import UNREADABLE, broken_off
from streaming.wire import sse

logger = logging.getLogger(__name__)

T = TypeVar("T")

# A connection for each run, whose number is limited elsewhere; kept open for the
# next iteration of a tool loop.
_LIMITS = httpx2.Limits(
    max_connections=10_000, max_keepalive_connections=100, keepalive_expiry=30.0
)

# PostgreSQL cannot store NUL; half of a surrogate pair has no form in UTF-8.
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


class RawResponse(Protocol):
    """A raw streaming response of either SDK."""

    def iter_bytes(self) -> AsyncIterator[bytes]:
        """The body as it comes, decompressed."""
        ...


def http_client(
    kind: type[httpx2.AsyncClient], options: ProviderOptions
) -> httpx2.AsyncClient:
    """An HTTP client for an SDK; `kind` is that SDK's `DefaultAioHttpClient`.

    Build the SDK's client with it and with `max_retries=0`: `Patience` retries.
    """
    read = max(options.first_token_timeout, options.silence_timeout)
    connect = options.connect_timeout
    timeout = httpx2.Timeout(read, connect=connect, pool=connect)
    return kind(timeout=timeout, limits=_LIMITS)


async def read_events(response: RawResponse) -> AsyncGenerator[list[bytes], None]:
    """The data of the events that each read of the response completes."""
    decoder = sse.Decoder()
    try:
        async for chunk in response.iter_bytes():
            if events := decoder.feed(chunk):
                yield events
    except Exception as error:
        raise broken_off(error) from error
    if events := [data for data in decoder.flush() if _is_whole(data)]:
        yield events


def decode(decoder: msgspec.json.Decoder[T], data: bytes) -> T:
    """The data of one event. NUL and lone surrogates in it become U+FFFD."""
    try:
        if rb"\u0000" not in data:
            return decoder.decode(data)
    except msgspec.DecodeError:
        logger.debug("an event that needs the lenient decoder")
    try:
        value = json.loads(data.decode(errors="replace"), strict=False)
        return msgspec.convert(_storable(value), decoder.type)
    except (ValueError, RecursionError) as error:
        logger.warning("the provider sent %d bytes that are no event", len(data))
        raise ProviderError(UNREADABLE, retryable=True) from error


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
    return value
