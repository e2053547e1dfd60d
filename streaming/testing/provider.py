"""A stand-in for a provider's HTTP edge: real HTTP on localhost, scripted replies.

    async with StandInProvider() as upstream:
        upstream.reply(Reply(b"data: …", chunk_size=7), Reply(b"{}", status=429))
        … point an SDK at upstream.url …
        assert upstream.requests[0].json["model"] == "…"

Each request takes the next reply in line; a request without one receives status 599.
Where replies follow from the requests, pass a function: `StandInProvider(reply_to)`.
"""

import asyncio
import gzip
import json
import re
import socket
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import Any, Literal, Self, cast

_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
#: Enough for a thousand clients that connect at once.
_BACKLOG = 4096


@dataclass(frozen=True)
class Request:
    """A request of a client; header names are in lower case."""

    head: bytes
    body: bytes

    @cached_property
    def method(self) -> str:
        """The HTTP method."""
        return self.head.split(b" ", 1)[0].decode()

    @cached_property
    def path(self) -> str:
        """The path with its query."""
        return self.head.split(b" ", 2)[1].decode()

    @cached_property
    def headers(self) -> Mapping[str, str]:
        """The headers by name."""
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        pairs = (line.split(":", 1) for line in lines)
        return {name.lower(): value.strip() for name, value in pairs}

    @property
    def json(self) -> Any:  # noqa: ANN401
        """The decoded body."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """A scripted response: the body, the pieces it is sent in, and how it ends.

    The body is cut at the byte offsets `cuts`, else every `chunk_size` bytes (0: not at
    all). Each piece is one HTTP chunk. With `delay` unset all pieces are one write; 0
    writes each piece in a turn of the event loop of its own; otherwise that many
    seconds pass before each piece. If `held` is given, the pieces after the first wait
    until it is set. `stamp` changes each piece when it is written.
    Ends: "close" ends the body as HTTP prescribes; "cut" closes the connection before
    that; "reset" does so with RST; "hang" sends nothing more and waits until the client
    disconnects.
    """

    body: bytes = b""
    status: int = 200
    content_type: str = "text/event-stream"
    headers: Mapping[str, str] = field(default_factory=dict)
    chunk_size: int = 0
    cuts: Sequence[int] = ()
    delay: float | None = None
    held: asyncio.Event | None = None
    gzip: bool = False
    end: Literal["close", "cut", "reset", "hang"] = "close"
    stamp: Callable[[bytes], bytes] | None = None

    @classmethod
    def of(cls, pieces: Sequence[bytes], **options: Any) -> Self:  # noqa: ANN401
        """Make a reply whose body is sent in these pieces."""
        cuts = tuple(accumulate(map(len, pieces)))
        return cls(b"".join(pieces), cuts=cuts, **options)

    @cached_property
    def head(self) -> bytes:
        """The status line and the headers."""
        headers = {
            "content-type": self.content_type,
            "transfer-encoding": "chunked",
            **({"content-encoding": "gzip"} if self.gzip else {}),
            **self.headers,
        }
        lines = [f"HTTP/1.1 {self.status} Scripted"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    @cached_property
    def chunks(self) -> Sequence[bytes]:
        """The pieces as HTTP chunks; the last one carries the end of the body."""
        body = gzip.compress(self.body) if self.gzip else self.body
        size = self.chunk_size or len(body) or 1
        cuts = sorted({0, *(self.cuts or range(0, len(body), size)), len(body)})
        pieces = (body[start:end] for start, end in zip(cuts, cuts[1:], strict=False))
        chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]
        if self.end == "close":
            last = chunks.pop() if chunks else b""
            chunks.append(last + b"0\r\n\r\n")
        return chunks

    @cached_property
    def whole(self) -> bytes:
        """The response in one."""
        return self.head + b"".join(self.chunks)


class StandInProvider:
    """A server whose replies are scripted, or made by a function of the request.

    `requests` lists the requests, unless `keep_requests` is off. `connections` counts
    the accepted connections, `active` the replies in progress. `gone` is set once a
    client disconnected before its reply ended.
    """

    def __init__(
        self,
        reply_to: Callable[[Request], Reply] | None = None,
        *,
        port: int = 0,
        keep_requests: bool = True,
    ) -> None:
        self.requests: list[Request] = []
        self.gone = asyncio.Event()
        self.connections = 0
        self.active = 0
        self.url = ""
        self._reply_to = reply_to or self._next_reply
        self._port = port
        self._keep_requests = keep_requests
        self._replies: list[Reply] = []
        self._open: set[_Connection] = set()

    def reply(self, *replies: Reply) -> None:
        """Append replies to the line."""
        self._replies.extend(replies)

    def reset(self) -> None:
        """Clear the recorded requests, the replies in line and `gone`."""
        self.requests.clear()
        self._replies.clear()
        self.gone.clear()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self), "127.0.0.1", self._port, backlog=_BACKLOG
        )
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for connection in self._open:
            connection.transport.abort()
        await self._server.wait_closed()

    def opened(self, connection: "_Connection") -> None:
        """Note a new connection."""
        self._open.add(connection)
        self.connections += 1

    def closed(self, connection: "_Connection") -> None:
        """Note the end of a connection."""
        self._open.discard(connection)

    def answer(self, request: Request) -> Reply:
        """Record a request and return the reply to it."""
        if self._keep_requests:
            self.requests.append(request)
        return self._reply_to(request)

    def _next_reply(self, _: Request) -> Reply:
        return self._replies.pop(0) if self._replies else Reply(status=599)


class _Connection(asyncio.Protocol):
    """A connection to the stand-in: reads a request, sends its reply, and repeats.

    Callbacks instead of coroutines keep a paced piece at the cost of one timer: the
    benchmarks use this server as a provider that sends 30,000 pieces a second.
    """

    transport: asyncio.Transport

    def __init__(self, provider: StandInProvider) -> None:
        self._provider = provider
        self._loop = asyncio.get_running_loop()
        self._received = b""
        self._close_after = False
        self._reply: Reply | None = None
        self._chunks: Iterator[bytes] = iter(())
        self._begun = False
        self._due = 0.0
        self._writable = True
        self._paused = False
        self._waiting: asyncio.Task[Literal[True]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._provider.opened(self)

    def connection_lost(self, _: Exception | None) -> None:
        self._provider.closed(self)
        if self._waiting:
            self._waiting.cancel()
        if self._reply or self._received:
            self._provider.gone.set()
        self._finish_reply()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._reply:
            self._take_request()

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        if self._reply and self._paused:
            self._paused = False
            self._schedule(self._reply)

    def _take_request(self) -> None:
        head, found, rest = self._received.partition(b"\r\n\r\n")
        length = _CONTENT_LENGTH.search(head)
        size = int(length[1]) if length else 0
        if found and len(rest) >= size:
            self._received = rest[size:]
            self._close_after = b"connection: close" in head.lower()
            self._start(self._provider.answer(Request(head, rest[:size])))

    def _start(self, reply: Reply) -> None:
        self._reply = reply
        self._provider.active += 1
        if reply.delay is None and not reply.held:
            self.transport.write(reply.whole)
            self._end(reply)
            return
        self.transport.write(reply.head)
        self._chunks = iter(reply.chunks)
        self._begun = False
        self._due = self._loop.time()
        self._schedule(reply)

    def _schedule(self, reply: Reply) -> None:
        """Arrange for the next piece to be sent when it is due."""
        if not self._writable:
            self._paused = True
        elif self._begun and reply.held and not reply.held.is_set():
            self._waiting = self._loop.create_task(reply.held.wait())
            self._waiting.add_done_callback(self._send_held)
        elif reply.delay:
            self._due += reply.delay
            self._loop.call_at(self._due, self._send_next)
        else:
            self._loop.call_soon(self._send_next)

    def _send_held(self, _: object) -> None:
        self._due = self._loop.time()
        self._send_next()

    def _send_next(self) -> None:
        if not (reply := self._reply):
            return  # the client disconnected
        chunk = next(self._chunks, None)
        if chunk is None:
            self._end(reply)
            return
        self.transport.write(reply.stamp(chunk) if reply.stamp else chunk)
        self._begun = True
        self._schedule(reply)

    def _end(self, reply: Reply) -> None:
        if reply.end == "hang":
            return  # until the client disconnects
        self._finish_reply()
        if reply.end == "reset":
            linger = struct.pack("ii", 1, 0)
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        if reply.end != "close" or self._close_after:
            self.transport.close()
        elif self._received:
            self._take_request()

    def _finish_reply(self) -> None:
        self._provider.active -= self._reply is not None
        self._reply = None
