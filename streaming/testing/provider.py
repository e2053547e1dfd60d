"""A stand-in for a provider's HTTP edge: real HTTP on localhost, scripted answers.

    async with StandInProvider() as upstream:
        upstream.reply(Reply(b"data: …", chunk_size=7), Reply(b"{}", status=429))
        … point an SDK at upstream.url …
        assert upstream.requests[0].json["model"] == "…"

Each request takes the next reply in line; one too many is answered 599.
"""

import asyncio
import gzip
import json
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a client sent. Header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """What to answer, cut into pieces, and how to end.

    `cuts` are byte offsets to cut at, else pieces are `chunk_size` long (0: one
    piece), with `delay` seconds before each; those after the first wait until `held`
    is set. Ends: "close" finishes the body as HTTP asks; "cut" drops the connection
    before that; "reset" does so with RST; "hang" sends nothing more and waits until
    the client goes.
    """

    body: bytes = b""
    status: int = 200
    content_type: str = "text/event-stream"
    headers: Mapping[str, str] = field(default_factory=dict)
    chunk_size: int = 0
    cuts: Sequence[int] = ()
    delay: float = 0.0
    held: asyncio.Event | None = None
    gzip: bool = False
    end: Literal["close", "cut", "reset", "hang"] = "close"

    def pieces(self) -> Iterator[bytes]:
        body = gzip.compress(self.body) if self.gzip else self.body
        size = self.chunk_size or len(body) or 1
        cuts = sorted({0, *(self.cuts or range(0, len(body), size)), len(body)})
        for start, end in zip(cuts, cuts[1:], strict=False):
            yield body[start:end]

    def head(self) -> bytes:
        headers = {
            "content-type": self.content_type,
            "transfer-encoding": "chunked",
            **({"content-encoding": "gzip"} if self.gzip else {}),
            **self.headers,
        }
        lines = [f"HTTP/1.1 {self.status} Scripted"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


class StandInProvider:
    """The server. `gone` is set once a client left before its answer ended.

    `connections` counts those that were opened.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.gone = asyncio.Event()
        self.connections = 0
        self._replies: list[Reply] = []
        self._open: set[asyncio.StreamWriter] = set()

    def reply(self, *replies: Reply) -> None:
        """Put more answers in line."""
        self._replies.extend(replies)

    def reset(self) -> None:
        """Forget what was asked and what was to be answered."""
        self.requests.clear()
        self._replies.clear()
        self.gone.clear()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._open:
            writer.transport.abort()
        await self._server.wait_closed()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._open.add(writer)
        self.connections += 1
        try:
            while request := await self._read_request(reader):
                self.requests.append(request)
                reply = self._replies.pop(0) if self._replies else Reply(status=599)
                if not await self._answer(reply, reader, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            self.gone.set()
        finally:
            self._open.discard(writer)
            writer.close()

    @staticmethod
    async def _read_request(reader: asyncio.StreamReader) -> Request | None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.IncompleteReadError:
            return None
        start, *lines = head.split("\r\n")
        method, path, _ = start.split(" ", 2)
        pairs = (line.split(":", 1) for line in lines if line)
        headers = {name.lower(): value.strip() for name, value in pairs}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        return Request(method=method, path=path, headers=headers, body=body)

    async def _answer(
        self, reply: Reply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Send the reply; true when the connection can be used again."""
        writer.write(reply.head())
        waits = reply.delay or reply.held
        watch = asyncio.create_task(reader.read(1)) if waits else None
        for place, piece in enumerate(reply.pieces()):
            if reply.delay:
                await asyncio.sleep(reply.delay)
            if watch and reply.held and place:
                await _first_of(reply.held, watch)
            if watch and watch.done():
                self.gone.set()
                return False
            writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            await writer.drain()
        if watch:
            watch.cancel()
            await asyncio.wait([watch])
        match reply.end:
            case "close":
                writer.write(b"0\r\n\r\n")
                await writer.drain()
                return True
            case "hang":
                await reader.read(1)
                self.gone.set()
            case "reset":
                linger = struct.pack("ii", 1, 0)
                sock = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        return False


async def _first_of(event: asyncio.Event, task: asyncio.Task[bytes]) -> None:
    """Wait until the event is set or the task is done."""
    setting = asyncio.create_task(event.wait())
    await asyncio.wait([setting, task], return_when=asyncio.FIRST_COMPLETED)
    setting.cancel()
