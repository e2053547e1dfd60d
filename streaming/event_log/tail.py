"""The newest entries of one run, in memory, for the readers in this process."""

import asyncio
from bisect import bisect_right
from collections.abc import Sequence
from operator import attrgetter

from streaming.aio.deadline import Deadline
from streaming.events import Entry


class Tail:
    """A run's entries after some number. A reader is a number and a wake-up.

    `keep` durable entries stay in memory for readers that are slightly behind.
    """

    def __init__(self, keep: int, after: int = 0) -> None:
        self._loop = asyncio.get_running_loop()
        self._entries: list[Entry] = []
        self._keep = keep
        #: The number before the first entry held.
        self._before = after
        self._waiting: set[asyncio.Future[None]] = set()
        self._released = False
        #: True if the readers are to follow the run elsewhere.
        self.moved = False

    @property
    def last(self) -> int:
        """The number of the newest entry."""
        return self._entries[-1].number if self._entries else self._before

    @property
    def before(self) -> int:
        """The number before the first entry held; earlier ones are durable."""
        return self._before

    @property
    def ended(self) -> bool:
        """True if no more entries will be added."""
        return self._released or bool(self._entries and self._entries[-1].is_last)

    def extend(self, entries: Sequence[Entry]) -> None:
        """Add newer entries and wake the readers."""
        self._entries.extend(entries)
        self._wake()

    def release(self) -> None:
        """End the tail, although the run continues in another process."""
        self._released = True
        self._wake()

    def move(self) -> None:
        """End the tail, since the run has another owner, or one in this process."""
        self.moved = True
        self.release()

    def since(self, after: int) -> list[Entry] | None:
        """Return the entries after a number; None if some of them may be dropped."""
        if after < self._before:
            return None
        held, behind = self._entries, self.last - after
        if behind <= 0:
            return []
        if behind > len(held) or held[-behind].number != after + 1:
            # The numbers leap in between, as they do after a crash.
            behind = len(held) - bisect_right(held, after, key=attrgetter("number"))
        return held[-behind:]

    def forget(self, upto: int) -> None:
        """Drop all but the last `keep` of the entries up to a number."""
        held = self._entries
        durable = bisect_right(held, upto, key=attrgetter("number"))
        if (drop := durable - self._keep) > 0:
            self._before = held[drop - 1].number
            del held[:drop]

    async def wait(self, limit: Deadline) -> bool:
        """Wait for more entries; return False when the limit has passed without any."""
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
