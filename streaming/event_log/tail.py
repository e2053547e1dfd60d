"""The newest events of one run, in memory, for the readers in this process."""

import asyncio
from bisect import bisect_right
from collections.abc import Sequence
from operator import attrgetter

from streaming.aio.deadline import Deadline
from streaming.event_log.base import Entry

#: Durable entries that stay in memory for readers that are a little behind.
KEEP = 512


class Tail:
    """A run's entries from some number on. A reader is a number and a wake-up."""

    def __init__(self, after: int = 0) -> None:
        self._loop = asyncio.get_running_loop()
        self._entries: list[Entry] = []
        #: The number before the first entry held.
        self._before = after
        self._waiting: set[asyncio.Future[None]] = set()
        self._released = False

    @property
    def last(self) -> int:
        """The number of the newest entry."""
        return self._entries[-1].number if self._entries else self._before

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self._released or bool(self._entries and self._entries[-1].is_last)

    def extend(self, entries: Sequence[Entry]) -> None:
        """Add newer entries and wake the readers."""
        self._entries.extend(entries)
        self._wake()

    def release(self) -> None:
        """End here, though the run goes on elsewhere."""
        self._released = True
        self._wake()

    def since(self, after: int) -> list[Entry] | None:
        """The entries after a number; None when some may be no longer held."""
        if after < self._before:
            return None
        held, behind = self._entries, self.last - after
        if behind <= 0:
            return []
        if behind > len(held) or held[-behind].number != after + 1:
            # Somewhere the numbers leap, as they do over a crash.
            behind = len(held) - bisect_right(held, after, key=attrgetter("number"))
        return held[-behind:]

    def forget(self, upto: int) -> None:
        """Drop all but the last `KEEP` of the entries up to a number."""
        held = self._entries
        durable = bisect_right(held, upto, key=attrgetter("number"))
        if (drop := durable - KEEP) > 0:
            self._before = held[drop - 1].number
            del held[:drop]

    async def wait(self, limit: Deadline) -> bool:
        """Wait for more; false when nothing came in time."""
        waiter = self._loop.create_future()
        self._waiting.add(waiter)
        try:
            with limit:
                await waiter
            return True
        except TimeoutError:
            return False
        finally:
            self._waiting.discard(waiter)

    def _wake(self) -> None:
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
