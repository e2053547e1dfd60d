"""A way to a database that can be cut: a TCP proxy, or a lock that another holds."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path


class Proxy:
    """Forwards to a port of localhost, unless it is told not to."""

    def __init__(self, port: int) -> None:
        self.port = 0
        self._target = port
        self._open: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._refuses = False

    def stall(self) -> None:
        """Forward nothing more; connections stay open, and new ones are taken."""
        self._flowing.clear()

    def refuse(self) -> None:
        """Break all connections off, and take none."""
        self._refuses = True
        for writer in self._open:
            writer.transport.abort()

    def mend(self) -> None:
        """Forward again."""
        self._refuses = False
        self._flowing.set()

    async def aclose(self) -> None:
        """Break all connections off, and wait until that is done."""
        self.refuse()
        self._flowing.set()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        if self._refuses:
            return writer.transport.abort()
        self._open.add(writer)
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        ends = {writer}
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
            ends.add(back)
            self._open.add(back)
            ways = [self._pump(reader, back), self._pump(there, writer)]
            tasks = [asyncio.create_task(way) for way in ways]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
        except ConnectionError:
            pass  # the target has failed, or is not started yet
        finally:
            self._open -= ends
            for end in ends:
                end.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(64 * 1024):
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()


@asynccontextmanager
async def proxy(port: int) -> AsyncIterator[Proxy]:
    """A proxy before a port of localhost."""
    made = Proxy(port)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        await made.aclose()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another process's exclusive lock on an SQLite database."""
    connection = sqlite3.connect(path, timeout=30, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()
