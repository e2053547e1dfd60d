"""Work at the end of an event loop."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from weakref import WeakKeyDictionary

#: An event loop closes generators that have begun, and keeps only weak references.
_closing: WeakKeyDictionary[asyncio.AbstractEventLoop, list[AsyncGenerator[None]]] = (
    WeakKeyDictionary()
)


def close_with_loop(aclose: Callable[[], Awaitable[object]]) -> None:
    """Have `aclose` awaited when the running event loop ends, after its tasks.

    `asyncio.run` and the servers close the asynchronous generators of their event loop
    at its end: a generator that has begun is closed there.
    """

    async def until_closed() -> AsyncGenerator[None]:
        try:
            yield
        finally:
            await aclose()

    generator = until_closed()
    with suppress(StopIteration):  # the first step, which waits for nothing
        anext(generator).__await__().__next__()
    _closing.setdefault(asyncio.get_running_loop(), []).append(generator)
