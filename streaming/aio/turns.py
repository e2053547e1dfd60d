"""Turns at a shared resource: a group delays others by one, and so does a member."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Hashable
from contextlib import AsyncExitStack, asynccontextmanager
from weakref import WeakValueDictionary


class TooManyWaiting(Exception):
    """The calls of a member that wait already are as many as may wait."""


class Turns:
    """Lets the calls of each group in one by one, and those of other groups meanwhile.

    Each member of a group has one place in the queue of the group, however many of its
    calls wait. At most `max_waiting` of them do.
    """

    def __init__(self, max_waiting: int) -> None:
        self._max_waiting = max_waiting
        # Weak: the waiting calls and the one inside hold the locks that they need.
        self._locks: WeakValueDictionary[Hashable, asyncio.Lock] = WeakValueDictionary()
        #: The calls of each member, that inside included.
        self._calls: Counter[Hashable] = Counter()

    @asynccontextmanager
    async def of(
        self, group: Hashable, member: Hashable, seconds: float
    ) -> AsyncIterator[None]:
        """Wait for the turn of a member's call.

        Raises `TooManyWaiting` at once, or `TimeoutError` after some seconds.
        """
        caller = (group, member)
        if self._calls[caller] > self._max_waiting:
            raise TooManyWaiting
        self._calls[caller] += 1
        try:
            async with AsyncExitStack() as turn:
                async with asyncio.timeout(seconds):
                    await turn.enter_async_context(self._lock(caller))
                    await turn.enter_async_context(self._lock(group))
                yield
        finally:
            self._calls[caller] -= 1
            if not self._calls[caller]:
                del self._calls[caller]

    def _lock(self, key: Hashable) -> asyncio.Lock:
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = asyncio.Lock()
        return lock
