"""The native wire format: each event as one Server-Sent Event, named by its number."""

import math
from collections.abc import Collection
from typing import Any

import msgspec

from streaming.events import (
    ALWAYS_SENT,
    TYPE_START,
    Connected,
    ConnectedInfo,
    Done,
    Entry,
    ErrorEvent,
    ErrorInfo,
    encode,
)
from streaming.exceptions import (
    AgentError,
    ConversationBusy,
    InvalidRequest,
    MethodNotAllowed,
    RateLimited,
)
from streaming.wire import sse
from streaming.wire.base import ErrorResponse

#: Delay before a client reconnects after a broken connection.
RETRY_MS = 1000
#: Delay before a client repeats a request that the server could not take.
RETRY_AFTER_SECONDS = 5

# `sse.frame` in one step: this is done for every event of every stream.
_FRAME = b"id: %b:%d\nevent: %b\ndata: %b\n\n"


def event_id(run_id: str, number: int) -> str:
    """Return the id of an event, as clients know it."""
    return f"{run_id}:{number}"


class NativeFormat:
    """Implements `WireFormat`; stateless, because an event's id holds its number.

    Only the types in `only` are sent, and those that are always sent; None: all.
    """

    __slots__ = ("_run_id", "_types")

    stateless = True

    def __init__(self, only: Collection[str] | None = None) -> None:
        self._types = None if only is None else ALWAYS_SENT | set(only)
        self._run_id = b""

    def greet(self, run: ConnectedInfo) -> bytes:
        """Return the `connected` event, which also sets the delay for reconnecting."""
        self._run_id = run.run_id.encode()
        data = encode(Connected(metadata=run))
        return sse.frame("connected", data, retry_ms=RETRY_MS)

    def encode(self, entry: Entry) -> tuple[bytes, ...]:
        """Return an event's frame, or nothing if its type is filtered out."""
        if self._types is not None and entry.type not in self._types:
            return ()
        data = entry.data
        type = data[TYPE_START : data.index(b'"', TYPE_START)]
        return (_FRAME % (self._run_id, entry.number, type, data),)

    def keep_alive(self) -> bytes:
        """Return a comment."""
        return sse.KEEP_ALIVE

    def end(self) -> bytes:
        """Return nothing: the log itself ends with `done`."""
        return b""

    def interrupt(self, error: AgentError) -> bytes:
        """Return an `error` event and `done`, without ids."""
        info = ErrorInfo(error.code, error.retryable)
        failed = encode(ErrorEvent(error=error.message, metadata=info))
        return sse.frame("error", failed) + sse.frame("done", encode(Done()))

    @staticmethod
    def error(error: AgentError) -> ErrorResponse:
        """Return the JSON error of the API: never cached, never sniffed."""
        body: dict[str, Any] = {"error": error.message, "code": error.code}
        if isinstance(error, InvalidRequest):
            body["details"] = [detail._asdict() for detail in error.details]
        if isinstance(error, ConversationBusy):
            body["run_id"] = error.run_id
        headers = {
            "Content-Type": "application/json",
            "Cache-Control": "private, no-store",
            "X-Content-Type-Options": "nosniff",
        }
        if error.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        if isinstance(error, MethodNotAllowed):
            headers["Allow"] = ", ".join(error.allowed)
        if isinstance(error, RateLimited) and error.rate:
            headers |= error.rate.headers
        if error.status in (429, 503) or error.retry_after is not None:
            seconds = error.retry_after or RETRY_AFTER_SECONDS
            headers["Retry-After"] = str(math.ceil(seconds))
        return ErrorResponse(error.status, headers, msgspec.json.encode(body))
