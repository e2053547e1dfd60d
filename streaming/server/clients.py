"""How much one client may take: of a body, of streams, of everybody's patience.

All of it is ASGI around Django, which puts a body of any size into a temporary file
before a view sees the request, and waits for ever for a client that does not read.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from django.http import HttpRequest

from streaming import conf
from streaming.aio.deadline import Deadline
from streaming.exceptions import BodyTooLarge, TooManyStreams

logger = logging.getLogger(__name__)

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


#: Where a request's connection stands in its ASGI scope.
CONNECTION = "streaming.connection"


class ClientConnections:
    """The requests under way: how many are streams, and who holds them up."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._open: set[ClientConnection] = set()
        self.streams = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        connection = ClientConnection(self, send)
        self._open.add(connection)
        try:
            scope[CONNECTION] = connection  # nobody stands above to whom it is strange
            await self._app(scope, receive, connection.send)
        finally:
            self._open.discard(connection)
            self.streams -= connection.is_stream
            connection.close()

    def abort(self) -> None:
        """Let go every client whose answer has not ended (at shutdown)."""
        for connection in self._open:
            connection.abort()


class ClientConnection:
    """One request's way to its client."""

    def __init__(self, connections: ClientConnections, send: Send) -> None:
        self.is_stream = False
        self._connections = connections
        self._send = send
        self._deadline = Deadline()

    async def send(self, message: Mapping[str, Any]) -> None:
        """Send, and let a client go that takes nothing for `send_timeout` seconds."""
        try:
            with self._deadline.within(conf.get().stream_send_timeout_seconds):
                await self._send(message)
        except TimeoutError:
            logger.info("a client that does not read is let go")
            if not self.abort():
                raise

    def acquire_stream_slot(self) -> None:
        """Count as an open stream until the end. Raises `TooManyStreams`."""
        limit = conf.get().stream_max_open
        if limit and self._connections.streams >= limit:
            raise TooManyStreams
        self._connections.streams += 1
        self.is_stream = True
        self._notice_silence()

    def abort(self) -> bool:
        """Drop the connection with all that waits to be sent; false where we cannot.

        ASGI has no word for it. A server that is told of a failure sends first what it
        holds, which a client that does not read never lets it.
        """
        if transport := self._transport:
            transport.abort()
        return transport is not None

    def close(self) -> None:
        """The request is over."""
        self._deadline.close()

    @property
    def _transport(self) -> asyncio.WriteTransport | None:
        """The server's: uvicorn's `send` belongs to an object that has it."""
        server = getattr(self._send, "__self__", None)
        return getattr(server, "transport", None)

    def _notice_silence(self) -> None:
        """Have the system notice a client that vanished without a word.

        A laptop that sleeps acknowledges nothing, heartbeats neither. By itself Linux
        hopes for a quarter of an hour, and as long the run would seem to be followed.
        """
        option = getattr(socket, "TCP_USER_TIMEOUT", None)  # Linux has it
        if option is None or self._transport is None:
            return
        connection = self._transport.get_extra_info("socket")
        if connection and connection.family in (socket.AF_INET, socket.AF_INET6):
            milliseconds = round(conf.get().stream_send_timeout_seconds * 1000)
            connection.setsockopt(socket.IPPROTO_TCP, option, milliseconds)


def acquire_stream_slot(request: HttpRequest) -> None:
    """Count a request as an open stream until it ends. Raises `TooManyStreams`."""
    if connection := getattr(request, "scope", {}).get(CONNECTION):
        connection.acquire_stream_slot()


async def read_body(scope: Scope, receive: Receive) -> bytes | None:
    """The body of a request; None when the client went before it was whole.

    Raises `BodyTooLarge` as soon as it is known to be.
    """
    limit = conf.get().agent_max_body_bytes
    body = bytearray()
    size, more = _announced(scope), True
    while more and size <= limit:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        size, more = len(body), message.get("more_body", False)
    if size > limit:
        raise BodyTooLarge(f"The body must have at most {limit} bytes.")
    return bytes(body)


def _announced(scope: Scope) -> int:
    """The size that the client announces; 0 when it does not."""
    value = dict(scope["headers"]).get(b"content-length", b"")
    return int(value) if value.isdigit() else 0


async def refuse(error: BodyTooLarge, send: Send) -> None:
    """Answer with the error: no request is made of such a body."""
    body = msgspec.json.encode({"error": error.message, "code": error.code})
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    start = {"type": "http.response.start", "status": error.status, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": body})
