"""Turns at a resource that all share: a key with many callers delays others by one."""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary


class Turns:
    """Lets the callers of each key in one by one, and those of other keys meanwhile."""

    def __init__(self) -> None:
        # Weak: the waiting callers and the one inside hold the lock of their key.
        self._locks: WeakValueDictionary[Hashable, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def of(self, key: Hashable, seconds: float) -> AsyncIterator[None]:
        """Wait for the turn of the caller. Raises `TimeoutError` after some seconds."""
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = asyncio.Lock()
        async with asyncio.timeout(seconds):
            await lock.acquire()
        try:
            yield
        finally:
            lock.release()
