"""A proxy that requires a key, as in front of a server that is not public."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

API = b" /api/"
REFUSAL = b'{"error": "An API key is needed.", "code": "unauthenticated"}'
HEAD = (
    b"HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(REFUSAL)
)


@asynccontextmanager
async def gate(url: str, key: str) -> AsyncIterator[str]:
    """Proxy the server at `url`; requests to its API need the key."""
    port = urlsplit(url).port
    open_writers: set[asyncio.StreamWriter] = set()
    wanted = f"authorization: bearer {key}\r\n".encode()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_writers.add(writer)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if API in head.split(b"\r\n")[0] and wanted not in head.lower():
                writer.write(HEAD + REFUSAL)
            else:
                await _pass_on(head, reader, writer, port)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the browser has gone
        finally:
            writer.close()
            open_writers.discard(writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        while open_writers:  # browsers keep connections that they may need
            for writer in open_writers:
                writer.transport.abort()
            await asyncio.sleep(0.01)


async def _pass_on(
    head: bytes,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    port: int | None,
) -> None:
    """Forward one request a connection, so that each request is checked."""
    inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
    inner_writer.write(head.replace(b"keep-alive", b"close"))
    both = [
        asyncio.create_task(_copy(reader, inner_writer)),
        asyncio.create_task(_copy(inner_reader, writer)),
    ]
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    finally:
        inner_writer.close()
        for task in both:
            task.cancel()
        await asyncio.gather(*both, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
