"""Limits on the head of a request (its first line and headers): time and size.

uvicorn waits for a head without a limit of time, and its protocols without a limit of
size: httptools' of any head, h11's of one that arrives at once. The protocols here
replace those of uvicorn when the application starts. They also report the shutdown.
"""

import asyncio
import http
import re
from collections.abc import Callable
from functools import partial
from typing import Any, cast
from urllib.parse import unquote

import h11
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from streaming import conf
from streaming.exceptions import (
    AgentError,
    FieldError,
    HeadTooLarge,
    InvalidRequest,
    RequestTimeout,
)
from streaming.server.limited_h11 import Headers, LimitedH11, head_size
from streaming.server.path_prefix import with_origin_form
from streaming.server.refusals import refusal

MAX_HEAD_BYTES = 64 * 1024
#: Time for a refused client to read the error. If the connection were closed at once,
#: data that is still arriving would make the client's system discard the error.
LINGER_SECONDS = 1.0


class HeadTimeout(asyncio.Protocol):
    """A mixin for a protocol of uvicorn: the time limit, and its errors as JSON.

    `on_shutdown` is called for each connection when uvicorn begins to shut down.
    """

    # With more attributes than uvicorn's own, Python would no longer share the keys of
    # the instances' dictionaries: each open stream would take 1.3 kB more.
    __slots__ = (
        "_deadline",
        "_fault",
        "_on_shutdown",
        "_refused",
        "_rest_deadline",
        "_too_large",
        "_waiting_bytes",
    )

    config: Config
    transport: asyncio.Transport

    def __init__(
        self,
        *args: Any,  # noqa: ANN401  (uvicorn's)
        on_shutdown: Callable[[], object] = bool,
        **kwargs: Any,  # noqa: ANN401  (uvicorn's)
    ) -> None:
        super().__init__(*args, **kwargs)
        self._on_shutdown = on_shutdown
        self._deadline: asyncio.TimerHandle | None = None
        #: Bytes that have arrived since the deadline was set.
        self._waiting_bytes = 0
        self._too_large = False
        self._fault = "is not valid HTTP"
        self._refused = False
        #: The limit for the rest of a body that arrives after its response.
        self._rest_deadline: asyncio.TimerHandle | None = None

    def shutdown(self) -> None:
        """Report that uvicorn shuts down and waits for this connection to end.

        No signal tells this when the process has served `--limit-max-requests`.
        """
        self._on_shutdown()
        if self._refused and not self._is_responding:
            # The parser waits for a response that it will not see: uvicorn's own method
            # fails then, and ends the shutdown of the server with it.
            self.transport.close()
            return
        super().shutdown()  # type: ignore[misc]  # uvicorn's

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._begin_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the timers."""
        self._end_head()
        self._end_rest()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count the bytes of an incomplete head; ignore those of a refused client."""
        if self._refused:
            return
        super().data_received(data)
        if self._deadline:
            self._waiting_bytes += len(data)
        cycle = getattr(self, "cycle", None)
        # The rest of a body may arrive after its response, as after a 413.
        if not (cycle and cycle.response_complete and self._is_in_body):
            self._end_rest()
        elif self._rest_deadline is None:
            seconds = conf.get().request_read_timeout_seconds
            loop = asyncio.get_running_loop()
            self._rest_deadline = loop.call_later(seconds, self.transport.close)

    def send_400_response(self, msg: str) -> None:
        """Refuse data that is not HTTP, or a head that is too large."""
        detail = FieldError("request", self._fault)
        self._refuse(HeadTooLarge() if self._too_large else InvalidRequest([detail]))

    def _begin_head(self) -> None:
        if self._deadline is None:
            self._waiting_bytes = 0
            seconds = conf.get().request_read_timeout_seconds
            loop = asyncio.get_running_loop()
            self._deadline = loop.call_later(seconds, self._on_deadline)

    def _end_head(self) -> None:
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None

    def _end_rest(self) -> None:
        if self._rest_deadline:
            self._rest_deadline.cancel()
            self._rest_deadline = None

    def _on_deadline(self) -> None:
        self._deadline = None
        if self._is_responding:  # the head of a next request, sent ahead
            self._begin_head()
        elif self._waiting_bytes:
            self._refuse(RequestTimeout())
        else:  # a browser opens connections in advance: not an error
            self.transport.close()

    @property
    def _is_responding(self) -> bool:
        cycle = getattr(self, "cycle", None)
        return cycle is not None and not cycle.response_complete

    @property
    def _is_in_body(self) -> bool:
        """True from the end of a head to the end of its body."""
        raise NotImplementedError  # each protocol has its own parser

    @property
    def _is_receiving(self) -> bool:
        """True while the only request's body is incomplete and it has no response."""
        cycle = getattr(self, "cycle", None)
        if not cycle or getattr(self, "pipeline", None):
            return False
        return bool(cycle.more_body and not cycle.response_started)

    def _refuse(self, error: AgentError) -> None:
        """Send an error, unless a response is being sent, and disconnect the client."""
        self._refused = True
        self._end_head()
        if self._is_responding and not self._is_receiving:
            super().shutdown()  # type: ignore[misc]  # uvicorn's: after the response
            return
        if cycle := getattr(self, "cycle", None):  # the application's request is over
            cycle.disconnected = True
            cycle.message_event.set()
        self._send_error(error)
        asyncio.get_running_loop().call_later(LINGER_SECONDS, self.transport.close)

    def _send_error(self, error: AgentError) -> None:
        target, received = self._received_head()
        path = unquote(target.partition(b"?")[0].decode("latin-1"))
        scope = {
            "method": "GET",
            "path": self.config.root_path + path,
            "root_path": self.config.root_path,
            "headers": received,
        }
        status, headers, body = refusal(error, with_origin_form(scope))
        phrase = http.HTTPStatus(status).phrase
        lines = [f"{name}: {value}" for name, value in headers.items()]
        head = "\r\n".join(
            [f"HTTP/1.1 {status} {phrase}", *lines, "Connection: close", "", ""]
        )
        self.transport.write(head.encode() + body)
        if self.transport.can_write_eof():  # not with TLS
            self.transport.write_eof()

    def _received_head(self) -> tuple[bytes, Headers]:
        """Return the target and the headers that have arrived of a refused head."""
        raise NotImplementedError  # each protocol has its own parser


_UPGRADE = re.compile(rb"\r\n(upgrade[ \t]*:)(?![ \t]*websocket)", re.IGNORECASE)


class LimitedHttpToolsProtocol(HeadTimeout, HttpToolsProtocol):
    """uvicorn's protocol by httptools, with limits on time and size."""

    __slots__ = ("_in_body", "_other_bytes")

    url = b""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  (uvicorn's)
        super().__init__(*args, **kwargs)
        self._in_body = False
        #: Bytes after the head that were not part of a body, as trailers are.
        self._other_bytes = 0

    def data_received(self, data: bytes) -> None:
        """Refuse a head, or trailers, that have grown too large before their end."""
        if b"pgrade" in data and not self._in_body:
            data = _without_upgrade(data)
        self._other_bytes += len(data)
        super().data_received(data)
        waiting = self._waiting_bytes if self._deadline else self._other_bytes
        if waiting > MAX_HEAD_BYTES and not self._refused:
            self._refuse(HeadTooLarge())

    def on_message_begin(self) -> None:
        """Begin to wait for the rest of a head."""
        super().on_message_begin()
        self._begin_head()

    def on_headers_complete(self) -> None:
        """Refuse a head that is too large. The error makes the parser stop.

        An offer of another protocol that `_without_upgrade` did not see, in pieces or
        after another request, is refused too: the parser would drop the body, or take
        it for the next request.
        """
        self._end_head()
        self._in_body = True
        if self.parser.should_upgrade() and not self._should_upgrade():
            self._fault = "offers another protocol, which is not possible here"
            raise InvalidRequest([])
        if head_size(self.url, self.headers) > MAX_HEAD_BYTES:
            self._too_large = True
            raise HeadTooLarge
        # uvicorn adds trailers, which may have the name of any header, to its own list.
        self.scope["headers"] = list(self.headers)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of a body, which has a limit of its own."""
        self._other_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Begin to count anew, for the next request of this connection."""
        self._in_body, self._other_bytes = False, 0
        super().on_message_complete()

    @property
    def _is_in_body(self) -> bool:
        return self._in_body

    def _received_head(self) -> tuple[bytes, Headers]:
        return self.url, self.headers or ()


def _without_upgrade(data: bytes) -> bytes:
    """Rename the header by which a client offers another protocol than WebSocket.

    A server may ignore the offer. uvicorn does, but httptools then drops the body:
    Java's client offers HTTP/2 with each of its requests.
    """
    found = _UPGRADE.search(data, 0, data.find(b"\r\n\r\n") + 1 or len(data))
    if not found:
        return data
    return data[: found.start(1)] + b"X-" + data[found.start(1) :]


class LimitedH11Protocol(HeadTimeout, H11Protocol):
    """uvicorn's protocol by h11, with limits on time and size."""

    __slots__ = ()

    conn: "LimitedH11"

    def __init__(self, config: Config, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(config, *args, **kwargs)
        size = config.h11_max_incomplete_event_size
        self.conn = LimitedH11(MAX_HEAD_BYTES if size is None else size)

    def data_received(self, data: bytes) -> None:
        """Wait for the rest of a head that has begun to arrive."""
        super().data_received(data)
        rest, _ = self.conn.trailing_data
        if self.conn.their_state is h11.IDLE and rest:
            self._begin_head()
            self._waiting_bytes = len(rest)
        else:
            self._end_head()

    def send_400_response(self, msg: str) -> None:
        """Refuse data that is not HTTP, or a head that is too large."""
        self._too_large = self.conn.too_large
        super().send_400_response(msg)

    @property
    def _is_in_body(self) -> bool:
        return bool(self.conn.their_state is h11.SEND_BODY)

    def _received_head(self) -> tuple[bytes, Headers]:
        if request := self.conn.refused:
            return request.target, request.headers
        first, *lines = bytes(self.conn.trailing_data[0]).split(b"\r\n")
        pairs = (line.partition(b":") for line in lines[:-1])
        target = first.split(b" ")[1] if first.count(b" ") == 2 else b""
        return target, [(name.lower(), value.strip()) for name, _, value in pairs]


_LIMITED: dict[type[asyncio.Protocol], type[HeadTimeout]] = {
    HttpToolsProtocol: LimitedHttpToolsProtocol,
    H11Protocol: LimitedH11Protocol,
}


def replace_protocol(config: Config, on_shutdown: Callable[[], object]) -> None:
    """Replace uvicorn's protocol by a limited one that reports the shutdown.

    Called before uvicorn serves a connection. Another protocol is left as it is.
    """
    if limited := _LIMITED.get(config.http_protocol_class):
        protocol = partial(limited, on_shutdown=on_shutdown)
        config.http_protocol_class = cast(type[asyncio.Protocol], protocol)
