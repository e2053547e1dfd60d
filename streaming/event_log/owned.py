"""The logs that a process has in memory: of its own runs, and of runs that it reads."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from streaming.event_log.segments import Segment
from streaming.event_log.tail import Tail
from streaming.events import make_entries
from streaming.storage.errors import is_unavailable
from streaming.telemetry.metrics import LOG_WRITE_FAILURES, LOG_WRITE_SECONDS

T = TypeVar("T")


class OwnedLog:
    """The log of a run that this process owns: its tail, and its pending events."""

    def __init__(self, tail: Tail, attempt: int) -> None:
        self.tail = tail
        self.attempt = attempt
        #: The JSON of the newest events, which are not durable yet.
        self.pending: list[bytes] = []
        #: The highest number that may be in the database, even if not in the tail.
        self.tried = 0
        #: True if a write failed, and its transaction may be committed all the same.
        self.maybe_committed = False
        #: Start of the first write that the database has not answered; a rejection is
        #: an answer.
        self.unanswered_since: float | None = None
        #: True if the database rejected the pending events.
        self.rejected = False
        #: Done when the present write of this log has ended; None: there is none.
        self.write: asyncio.Future[None] | None = None

    @property
    def can_be_flushed(self) -> bool:
        """True if pending events wait for a flush.

        A log that is being closed takes its pending events along: a flush would find an
        ended run if only the response to the close was lost.
        """
        waiting = bool(self.pending) and not self.tried
        return waiting and self.write is None and not self.rejected

    @property
    def durable(self) -> int:
        """The number of an event up to which all are in the database."""
        return self.tail.last - len(self.pending)

    async def wait_for_write(self) -> None:
        """Return when no write of this log is in progress."""
        while self.write:
            await asyncio.wait([self.write])

    def begin_write(self) -> None:
        """Note that the outcome of a write is unknown from now on."""
        self.maybe_committed = True
        self.unanswered_since = self.unanswered_since or time.monotonic()

    def end_write(self, maybe_committed: bool) -> None:
        """Note that the database has answered a write."""
        self.maybe_committed = maybe_committed
        self.unanswered_since = None

    def segment(self, run_id: str, *more: bytes) -> Segment:
        """Return the pending events as a segment, followed by more events."""
        first = self.tail.last - len(self.pending) + 1
        return Segment(run_id, first, [*self.pending, *more], self.attempt)

    def show(self, lines: Sequence[bytes]) -> None:
        """Show the next events to the readers in this process."""
        self.tail.extend(make_entries(self.tail.last + 1, lines))

    def forget(self, segment: Segment) -> None:
        """Drop the events of a segment that has become durable."""
        if segment.lines:
            del self.pending[: len(segment.lines)]
            self.tail.forget(segment.last)


async def tracked(
    logs: Collection[OwnedLog], save: Callable[[bool], Awaitable[T]]
) -> T:
    """Await `save(maybe_committed)`, a write of logs; note if it is answered.

    The flag is True after a failed write.
    """
    maybe_committed = any(owned.maybe_committed for owned in logs)
    for owned in logs:
        owned.begin_write()
    try:
        saved = await save(maybe_committed)
    except Exception as error:
        if not is_unavailable(error):  # an answer: nothing was committed
            for owned in logs:
                owned.end_write(maybe_committed)
        raise
    for owned in logs:
        owned.end_write(False)
    return saved


@contextmanager
def writing(logs: Collection[OwnedLog]) -> Iterator[None]:
    """Keep other writes of these logs waiting; the logs of other runs do not wait."""
    done = asyncio.get_running_loop().create_future()
    started = time.monotonic()
    for owned in logs:
        owned.write = done
    try:
        yield
        LOG_WRITE_SECONDS.observe(time.monotonic() - started)
    except BaseException:
        LOG_WRITE_FAILURES.add(1)
        raise
    finally:
        for owned in logs:
            owned.write = None
        done.set_result(None)
