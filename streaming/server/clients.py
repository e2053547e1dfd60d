"""The connections to clients: open streams are counted, and stuck clients dropped.

This is ASGI around Django, which waits without a limit for a client that does not read.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from django.http import HttpRequest

from streaming import conf
from streaming.aio.deadline import Deadline
from streaming.auth.keys.query import move_token
from streaming.exceptions import StreamingUnsupported, TooManyStreams
from streaming.server.servers import reset_stream, transport_of
from streaming.server.unchunked import without_chunks

logger = logging.getLogger(__name__)

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


#: The key of a request's `ClientConnection` in its ASGI scope.
CONNECTION = "streaming.connection"


class ClientConnections:
    """The requests in progress, and the number of open streams among them."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._open: set[ClientConnection] = set()
        self.streams = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        move_token(scope)
        if scope["http_version"] < "1.1":
            send = without_chunks(send)
        is_shared = scope["http_version"] == "2"
        connection = ClientConnection(self, send, is_shared=is_shared)
        self._open.add(connection)
        try:
            scope[CONNECTION] = connection
            await self._app(scope, receive, connection.send)
        finally:
            self._open.discard(connection)
            self.streams -= connection.is_stream
            connection.close()

    def abort(self) -> None:
        """Drop every client whose response has not ended (at shutdown)."""
        for connection in self._open:
            connection.abort()


class ClientConnection:
    """The connection of one request to its client.

    Requests of HTTP/2 share a connection (`is_shared`).
    """

    def __init__(
        self, connections: ClientConnections, send: Send, *, is_shared: bool = False
    ) -> None:
        self.is_stream = False
        self._is_shared = is_shared
        self._connections = connections
        self._send = send
        self._deadline = Deadline()

    async def send(self, message: Mapping[str, Any]) -> None:
        """Send a message; drop a client that takes nothing before the send timeout."""
        try:
            with self._deadline.within(conf.get().stream_send_timeout_seconds):
                await self._send(message)
        except TimeoutError:
            logger.info("stuck client disconnected")
            if self._is_shared and reset_stream(self._send):
                raise asyncio.CancelledError from None  # ends this request alone
            if not self.abort():
                raise

    def acquire_stream_slot(self) -> None:
        """Count as an open stream until the request ends. Raises `TooManyStreams`."""
        limit = conf.get().stream_max_open
        if limit and self._connections.streams >= limit:
            raise TooManyStreams
        self._connections.streams += 1
        self.is_stream = True
        self._limit_silence()

    def abort(self) -> bool:
        """Drop the connection with its unsent data; return false if this is impossible.

        ASGI has no message for this. After an error, a server first sends the data in
        its buffer, which a client that does not read never lets it finish.
        """
        if transport := transport_of(self._send):
            transport.abort()
        return transport is not None

    def close(self) -> None:
        """Release the timer at the end of the request."""
        self._deadline.close()

    def _limit_silence(self) -> None:
        """Have the system close a connection whose client acknowledges no data.

        A sleeping laptop acknowledges nothing, keep-alives included. By default Linux
        waits a quarter of an hour, during which the run would count as followed.
        """
        option = getattr(socket, "TCP_USER_TIMEOUT", None)  # on Linux only
        transport = transport_of(self._send)
        if option is None or transport is None:
            return
        connection = transport.get_extra_info("socket")
        if connection and connection.family in (socket.AF_INET, socket.AF_INET6):
            milliseconds = round(conf.get().stream_send_timeout_seconds * 1000)
            connection.setsockopt(socket.IPPROTO_TCP, option, milliseconds)


def acquire_stream_slot(request: HttpRequest) -> None:
    """Count a request as an open stream until it ends. Raises `TooManyStreams`.

    Under another application than `make_application()` streams are not counted. WSGI
    has none: it collects a response before it sends it. Raises `StreamingUnsupported`.
    """
    scope = scope_of(request)
    if not scope:
        raise StreamingUnsupported
    if connection := scope.get(CONNECTION):
        connection.acquire_stream_slot()


def scope_of(request: HttpRequest) -> Scope:
    """Return the ASGI scope of a request; empty if it came another way, as by WSGI."""
    scope: Scope = getattr(request, "scope", {})
    return scope
