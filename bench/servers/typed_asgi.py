"""The unit of comparison: an SDK's typed stream on bare ASGI, one event a delta."""

from collections.abc import Awaitable, Callable

from bench.servers import asgi
from bench.servers.typed import deltas


async def answer(question: str, write: Callable[[bytes], Awaitable[None]]) -> None:
    """One send a delta."""
    async for text in deltas(question):
        await write(asgi.frame("content", is_final=False, content=text).encode())
    await write(asgi.frame("done", is_final=True).encode())


application = asgi.application(answer)
