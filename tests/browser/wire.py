"""A proxy between a client and a server whose connections can be cut."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Self
from urllib.parse import urlsplit

#: Begins each event that has an id.
EVENT = b"\nid: "


class Wire:
    """A proxy at `url` that `cut` makes break all its connections.

    `cuts` are numbers of events: the proxy forwards no more than the first of them
    until it is cut, then no more than the second, and so on.
    """

    def __init__(self, url: str, cuts: Sequence[int]) -> None:
        self._port = urlsplit(url).port
        self._writers: set[asyncio.StreamWriter] = set()
        self._cuts = list(cuts)
        self._events = 0
        self._breaking = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self._break_connections()

    def cut(self) -> None:
        """Break every connection; neither side is notified."""
        del self._cuts[0]
        self._break_connections()

    def _break_connections(self) -> None:
        self._breaking.set()
        self._breaking = asyncio.Event()
        for writer in self._writers:
            writer.transport.abort()

    async def _connect(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        async with asyncio.TaskGroup() as both:
            both.create_task(self._copy(reader, back))
            both.create_task(self._copy(there, writer))

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._writers.add(writer)
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                passed = self._as_far_as_it_comes(data)
                writer.write(passed)
                await writer.drain()
                if len(passed) < len(data):
                    await self._breaking.wait()
                    break
        self._writers.discard(writer)
        writer.close()

    def _as_far_as_it_comes(self, data: bytes) -> bytes:
        before, *events = data.split(EVENT)
        left = self._cuts[0] - self._events if self._cuts else len(events)
        self._events += min(left, len(events))
        if left >= len(events):
            return data
        return EVENT.join([before, *events[:left], b""])
