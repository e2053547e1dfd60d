"""The event log of one process over the user's own database.

Readers in the process that runs the agent follow a tail in memory, without a query.
All runs of the process share one writer: every flush interval their new events go to
the database in one transaction. Readers in other processes share one poller, which
fills a tail of their own from there.
"""

import asyncio
import logging
import time
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Sequence,
)
from contextvars import Context
from functools import partial
from typing import ParamSpec, TypeVar

from django.db import Error

from streaming.aio.deadline import Deadline
from streaming.event_log import segments
from streaming.event_log.base import ClosedLogs, Entry, OwnershipLost, make_entries
from streaming.event_log.segments import PendingSegment, Segment
from streaming.event_log.tail import Tail
from streaming.events import Event
from streaming.storage import database
from streaming.wire import native

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

#: A write that takes longer counts as failing.
SLOW_SECONDS = 2.0
#: What the last write may take at shutdown.
CLOSE_SECONDS = 5.0


class _OwnedLog:
    """A run that this process writes: its tail, and what is not yet durable."""

    def __init__(self) -> None:
        self.tail = Tail()
        #: The JSON of the newest events.
        self.pending: list[bytes] = []
        #: The highest number that may be in the database, whatever the tail knows.
        self.tried = 0
        #: Whether a write broke off, so that nobody knows if it was committed.
        self.maybe_committed = False

    def segment(self, run_id: str, *more: bytes) -> Segment:
        """What is not yet durable, and more that follows on it."""
        first = self.tail.last - len(self.pending) + 1
        return Segment(run_id, first, [*self.pending, *more])

    def show(self, run_id: str, lines: Sequence[bytes]) -> None:
        """Let the readers here have the next events."""
        self.tail.extend(make_entries(run_id, self.tail.last + 1, lines))

    def forget(self, segment: Segment) -> None:
        """Go on without what is durable now."""
        if segment.lines:
            del self.pending[: len(segment.lines)]
            self.tail.forget(segment.last)


class _RemoteLog:
    """A run that another process writes, as seen by the readers here."""

    def __init__(self, after: int) -> None:
        self.tail = Tail(after)
        self.readers = 0


class DatabaseLog:
    """See `EventLog`. Made once per process and event loop.

    `on_lost` is told of a run that this process has lost to another.
    """

    def __init__(
        self, worker: str, flush_seconds: float, on_lost: Callable[[str], None]
    ) -> None:
        self._worker = worker
        self._flush_seconds = flush_seconds
        self._on_lost = on_lost
        self._writing: dict[str, _OwnedLog] = {}
        self._mirrors: dict[str, _RemoteLog] = {}
        self._lock = asyncio.Lock()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._released = False
        #: When the first attempt to write began that has not come to an end.
        self._trying_since: float | None = None

    @property
    def failing_since(self) -> float | None:
        since = self._trying_since if self._writing else None
        return since if since and time.monotonic() - since > SLOW_SECONDS else None

    def open(self, run_id: str) -> None:
        if not self._writing:
            self._trying_since = None  # of runs that were abandoned
        self._writing[run_id] = _OwnedLog()

    def append(self, run_id: str, events: Sequence[Event]) -> None:
        writing = self._writing[run_id]
        lines = native.encode_all(events)
        writing.pending += lines
        writing.show(run_id, lines)
        self._keep_going("flush", self._flush_forever)

    async def checkpoint(self, run_id: str, commit: Callable[[], None]) -> None:
        async with self._lock:
            writing = self._writing.get(run_id)
            if writing is None:
                raise OwnershipLost(run_id)
            segment = writing.segment(run_id)
            await self._save(writing, segment, None, lambda _: commit())
            writing.forget(segment)

    async def close(
        self,
        run_id: str,
        events: Sequence[Event],
        end: T,
        commit: Callable[[ClosedLogs[T]], None],
    ) -> None:
        lines = native.encode_all(events)
        async with self._lock:  # a flush may have the run's events in hand
            writing = self._writing[run_id]
            segment = writing.segment(run_id, *lines)
            writing.tried = segment.last
        # From here on no flush touches the run, and many may end at the same time.
        await self._save(writing, segment, end, commit)
        del self._writing[run_id]
        writing.show(run_id, lines)

    def abandon(self, run_id: str, events: Sequence[Event]) -> None:
        if writing := self._writing.pop(run_id, None):
            first = max(writing.tail.last, writing.tried) + 1
            lines = native.encode_all(events)
            writing.tail.extend(make_entries(run_id, first, lines))

    def release(self) -> None:
        self._released = True
        self._disconnect_readers()

    async def follow(
        self, run_id: str, after: int, heartbeat: float
    ) -> AsyncGenerator[list[Entry]]:
        mirror: _RemoteLog | None = None
        writing = self._writing.get(run_id)
        tail = writing.tail if writing else None
        silence = Deadline()
        try:
            while True:
                batch = tail.since(after) if tail else None
                if batch is None:
                    batch = await _read(segments.load, run_id, after)
                if batch:
                    yield batch
                    after = batch[-1].number
                    if batch[-1].is_last:
                        return
                elif tail is None:
                    newest = await _read(segments.newest, run_id)
                    if newest and newest.is_last and newest.number <= after:
                        return
                    mirror = self._join(run_id, newest.number if newest else 0)
                    tail = mirror.tail
                elif tail.ended:
                    return
                elif not await tail.wait(silence.within(heartbeat)):
                    yield []
        except Error:
            logger.warning("a reader is let go: the database is away")
        finally:
            silence.close()
            if mirror:
                self._leave(run_id, mirror)

    async def aclose(self) -> None:
        """Make durable what is not, then stop writing and polling."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self.flush()
        except (Error, TimeoutError):
            logger.warning("the last events are lost: the database is away")

    async def flush(self) -> None:
        """Make all new events durable, in one transaction."""
        async with self._lock:
            # What is being closed takes its pending events along: a flush would find
            # an ended run when only the answer to the close was lost.
            going = {run: w for run, w in self._writing.items() if not w.tried}
            taken = {run: w for run, w in going.items() if w.pending}
            if not taken:
                return
            batch = [writing.segment(run) for run, writing in taken.items()]
            lost = await self._write(
                taken.values(),
                partial(database.execute_write, segments.save, batch, self._worker),
            )
            for segment in batch:
                taken[segment.run_id].forget(segment)
        for run_id in lost:
            self._on_lost(run_id)

    async def _save(
        self,
        writing: _OwnedLog,
        segment: Segment,
        what: T,
        commit: Callable[[ClosedLogs[T]], None],
    ) -> None:
        def save(maybe_committed: bool) -> Awaitable[None]:
            saving = PendingSegment(segment, what, maybe_committed)
            return database.execute_write_batched(
                segments.save_and_commit, saving, self._worker, commit
            )

        await self._write([writing], save)

    async def _write(
        self, writings: Collection[_OwnedLog], save: Callable[[bool], Awaitable[T]]
    ) -> T:
        """Await what `save` makes; it is told whether an earlier attempt broke off."""
        maybe_committed = any(writing.maybe_committed for writing in writings)
        for writing in writings:
            writing.maybe_committed = True
        self._trying_since = self._trying_since or time.monotonic()
        saved = await save(maybe_committed)
        for writing in writings:
            writing.maybe_committed = False
        self._trying_since = None
        return saved

    async def _flush_forever(self) -> None:
        took = 0.0
        while self._writing:
            await asyncio.sleep(max(self._flush_seconds - took, 0))
            started = time.monotonic()
            try:
                await self.flush()
            except Error:
                logger.warning("events are kept in memory: the database fails")
            except Exception:  # one run's fault must not end the flushing of all
                logger.exception("events are kept in memory")
            took = time.monotonic() - started

    async def _poll_forever(self) -> None:
        answered = time.monotonic()
        while self._mirrors:
            try:
                await self._poll()
                answered = time.monotonic()
            except Error:
                logger.debug("readers wait: the database fails")
            except Exception:  # all readers here wait for this task: it must go on
                logger.exception("readers wait")
            if time.monotonic() - answered >= database.default.timeout_seconds:
                self._disconnect_readers()  # who comes back is told what is wrong
            await asyncio.sleep(self._flush_seconds / 2)

    async def _poll(self) -> None:
        mirrors = dict(self._mirrors)
        positions = {run: mirror.tail.last for run, mirror in mirrors.items()}
        news, ended = await database.execute_read(segments.read_new, positions)
        for run_id, entries in news.items():
            mirrors[run_id].tail.extend(entries)
            mirrors[run_id].tail.forget(entries[-1].number)
        for run_id in ended:
            mirrors[run_id].tail.release()

    def _join(self, run_id: str, after: int) -> _RemoteLog:
        mirror = self._mirrors.setdefault(run_id, _RemoteLog(after))
        if self._released:
            mirror.tail.release()
        mirror.readers += 1
        self._keep_going("poll", self._poll_forever)
        return mirror

    def _disconnect_readers(self) -> None:
        for mirror in self._mirrors.values():
            mirror.tail.release()
        self._mirrors.clear()

    def _leave(self, run_id: str, mirror: _RemoteLog) -> None:
        mirror.readers -= 1
        if not mirror.readers and self._mirrors.get(run_id) is mirror:
            del self._mirrors[run_id]

    def _keep_going(
        self, name: str, work: Callable[[], Coroutine[None, None, None]]
    ) -> None:
        """Start a loop that ends when it has nothing to do, unless it runs."""
        if name not in self._tasks or self._tasks[name].done():
            # An empty context: the loop outlives the request that needs it first.
            self._tasks[name] = asyncio.create_task(work(), context=Context())


async def _read(load: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Read; a reader waits for a database that is away."""
    return await database.retry_while_unavailable(
        lambda: database.execute_read(load, *args, **kwargs)
    )
