"""The event log of one process over the user's own database.

Readers in the process that runs the agent follow a tail in memory, without a query.
All runs of the process share one writer: every flush interval their new events go to
the database in one transaction. Readers in other processes share one poller, which
fills a tail of their own from there.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import suppress
from contextvars import Context

from django.db import Error

from streaming import db
from streaming.event_log import segments
from streaming.event_log.base import Entry, make_entry
from streaming.event_log.segments import Segment
from streaming.event_log.tail import Tail
from streaming.events import Event
from streaming.statements import insert
from streaming.wire import native

logger = logging.getLogger(__name__)


class _Writing:
    """A run that this process writes: its tail, and what is not yet durable."""

    def __init__(self) -> None:
        self.tail = Tail()
        self.pending: list[Entry] = []


class _Mirror:
    """A run that another process writes, as seen by the readers here."""

    def __init__(self, after: int) -> None:
        self.tail = Tail(after)
        self.readers = 0


class LocalLog:
    """See `EventLog`. Made once per process and event loop.

    `on_lost` is told of a run that this process has lost to another.
    """

    def __init__(
        self, worker: str, flush_seconds: float, on_lost: Callable[[str], None]
    ) -> None:
        self._worker = worker
        self._flush_seconds = flush_seconds
        self._on_lost = on_lost
        self._writing: dict[str, _Writing] = {}
        self._mirrors: dict[str, _Mirror] = {}
        self._lock = asyncio.Lock()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._failing_since: float | None = None

    @property
    def failing_since(self) -> float | None:
        return self._failing_since

    def open(self, run_id: str) -> None:
        self._writing[run_id] = _Writing()

    def append(self, run_id: str, events: Sequence[Event]) -> None:
        writing = self._writing[run_id]
        entries = _number(run_id, writing, events)
        writing.pending += entries
        writing.tail.extend(entries)
        self._keep_going("flush", self._flush_forever)

    async def close(
        self, run_id: str, events: Sequence[Event], commit: Callable[[], None]
    ) -> None:
        async with self._lock:
            writing = self._writing[run_id]
            entries = _number(run_id, writing, events)
            segment = Segment(run_id, [*writing.pending, *entries])
            await db.write(_commit_end, segment, commit)
            self._failing_since = None
            del self._writing[run_id]
            writing.tail.extend(entries)

    def abandon(self, run_id: str, events: Sequence[Event]) -> None:
        if writing := self._writing.pop(run_id, None):
            writing.tail.extend(_number(run_id, writing, events))

    def release(self) -> None:
        for mirror in self._mirrors.values():
            mirror.tail.release()

    async def follow(
        self, run_id: str, after: int, heartbeat: float
    ) -> AsyncGenerator[list[Entry]]:
        mirror: _Mirror | None = None
        writing = self._writing.get(run_id)
        tail = writing.tail if writing else None
        try:
            while True:
                batch = tail.since(after) if tail else None
                if batch is None:
                    batch = await db.read(segments.load, run_id, after)
                if batch:
                    yield batch
                    after = batch[-1].number
                    if batch[-1].is_last:
                        return
                elif tail is None:
                    newest = await db.read(segments.newest, run_id)
                    if newest and newest.is_last and newest.number <= after:
                        return
                    mirror = self._join(run_id, newest.number if newest else 0)
                    tail = mirror.tail
                elif tail.ended:
                    return
                elif not await tail.wait(heartbeat):
                    yield []
        finally:
            if mirror:
                self._leave(run_id, mirror)

    async def aclose(self) -> None:
        """Make durable what is not, then stop writing and polling."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.flush()

    async def flush(self) -> None:
        """Make all new events durable, in one transaction."""
        async with self._lock:
            taken = {
                run_id: list(writing.pending)
                for run_id, writing in self._writing.items()
                if writing.pending
            }
            if not taken:
                return
            batch = [Segment(run_id, entries) for run_id, entries in taken.items()]
            lost = await db.write(segments.save, batch, self._worker)
            for run_id, entries in taken.items():
                if writing := self._writing.get(run_id):
                    del writing.pending[: len(entries)]
                    writing.tail.forget(entries[-1].number)
        for run_id in lost:
            self._on_lost(run_id)

    async def _flush_forever(self) -> None:
        while self._writing:
            await asyncio.sleep(self._flush_seconds)
            try:
                await self.flush()
                self._failing_since = None
            except Error:
                self._failing_since = self._failing_since or time.monotonic()
                logger.warning("events are kept in memory: the database fails")

    async def _poll_forever(self) -> None:
        while self._mirrors:
            with suppress(Error):  # readers wait until the database is back
                await self._poll()
            await asyncio.sleep(self._flush_seconds / 2)

    async def _poll(self) -> None:
        positions = {run: mirror.tail.last for run, mirror in self._mirrors.items()}
        news = await db.read(segments.load_new, positions)
        for run_id, entries in news.items():
            if mirror := self._mirrors.get(run_id):
                mirror.tail.extend(entries)
                mirror.tail.forget(entries[-1].number)
        for run_id in await db.read(segments.gone, list(positions)):
            if mirror := self._mirrors.get(run_id):
                mirror.tail.release()

    def _join(self, run_id: str, after: int) -> _Mirror:
        mirror = self._mirrors.setdefault(run_id, _Mirror(after))
        mirror.readers += 1
        self._keep_going("poll", self._poll_forever)
        return mirror

    def _leave(self, run_id: str, mirror: _Mirror) -> None:
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


def _number(run_id: str, writing: _Writing, events: Sequence[Event]) -> list[Entry]:
    return [
        make_entry(run_id, number, native.encode(event))
        for number, event in enumerate(events, writing.tail.last + 1)
    ]


def _commit_end(segment: Segment, commit: Callable[[], None]) -> None:
    commit()
    insert(segment.row())
