"""Limits on the head of a request (its first line and headers): time and size.

uvicorn waits for a head without a limit of time, and its httptools protocol without a
limit of size. The protocols here replace those of uvicorn when the application starts.
"""

import asyncio
import http

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
from streaming.server.clients import Send
from streaming.wire.native import NativeFormat

#: As in h11, which has this limit of its own.
MAX_HEAD_BYTES = 64 * 1024
#: Time for a refused client to read the error. If the connection were closed at once,
#: data that is still arriving would make the client's system discard the error.
LINGER_SECONDS = 1.0


class HeadTimeout(asyncio.Protocol):
    """A mixin for a protocol of uvicorn: the time limit, and its errors as JSON."""

    transport: asyncio.Transport
    _deadline: asyncio.TimerHandle | None = None
    #: Bytes that have arrived since the deadline was set.
    _waiting_bytes = 0
    _too_large = False
    _refused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._begin_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the timer."""
        self._end_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count the bytes of an incomplete head; ignore those of a refused client."""
        if self._refused:
            return
        super().data_received(data)
        if self._deadline:
            self._waiting_bytes += len(data)

    def send_400_response(self, msg: str) -> None:
        """Refuse data that is not HTTP, or a head that is too large."""
        detail = FieldError("request", "is not valid HTTP")
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

    def _refuse(self, error: AgentError) -> None:
        """Send an error, unless a response is being sent, and disconnect the client."""
        self._refused = True
        self._end_head()
        if self._is_responding:
            self.transport.close()
        else:
            self._send_error(error)
            asyncio.get_running_loop().call_later(LINGER_SECONDS, self.transport.close)

    def _send_error(self, error: AgentError) -> None:
        status, headers, body = NativeFormat.error(error)
        phrase = http.HTTPStatus(status).phrase
        own = {"Content-Length": len(body), "Connection": "close"}
        lines = [f"{name}: {value}" for name, value in {**headers, **own}.items()]
        head = "\r\n".join([f"HTTP/1.1 {status} {phrase}", *lines, "", ""])
        self.transport.write(head.encode() + body)
        if self.transport.can_write_eof():  # not with TLS
            self.transport.write_eof()


class LimitedHttpToolsProtocol(HeadTimeout, HttpToolsProtocol):
    """uvicorn's protocol by httptools, with limits on time and size."""

    def data_received(self, data: bytes) -> None:
        """Refuse a head that has grown too large before its end."""
        super().data_received(data)
        if self._deadline and self._waiting_bytes > MAX_HEAD_BYTES:
            self._refuse(HeadTooLarge())

    def on_message_begin(self) -> None:
        """Begin to wait for the rest of a head."""
        super().on_message_begin()
        self._begin_head()

    def on_headers_complete(self) -> None:
        """Refuse a head that is too large. The error makes the parser stop."""
        self._end_head()
        size = len(self.url) + sum(len(name) + len(text) for name, text in self.headers)
        if size > MAX_HEAD_BYTES:
            self._too_large = True
            raise HeadTooLarge
        super().on_headers_complete()


class LimitedH11Protocol(HeadTimeout, H11Protocol):
    """uvicorn's protocol by h11, with a limit on time; h11 limits the size."""

    def data_received(self, data: bytes) -> None:
        """Wait for the rest of a head that has begun to arrive."""
        super().data_received(data)
        rest, _ = self.conn.trailing_data
        if self.conn.their_state is h11.IDLE and rest:
            self._begin_head()
            self._waiting_bytes = len(rest)
        else:
            self._end_head()


_LIMITED: dict[type[asyncio.Protocol], type[asyncio.Protocol]] = {
    HttpToolsProtocol: LimitedHttpToolsProtocol,
    H11Protocol: LimitedH11Protocol,
}


def limit_heads(send: Send) -> None:
    """Replace uvicorn's protocol by a limited one.

    `send` is that of the lifespan scope: uvicorn serves no connection before it. Other
    servers are left as they are.
    """
    config = getattr(getattr(send, "__self__", None), "config", None)
    if isinstance(config, Config):
        protocol = config.http_protocol_class
        config.http_protocol_class = _LIMITED.get(protocol, protocol)
