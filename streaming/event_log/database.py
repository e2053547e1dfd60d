"""The event log of one process over the user's own database.

Readers in the process that owns a run follow a tail in memory, without a query. All
runs of the process share one writer: at each flush interval their new events are
written to the database in one transaction. Readers of runs that other processes own
share one poller, which fills a tail for each run from the database.
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
    Mapping,
    Sequence,
)
from contextvars import Context
from functools import partial
from typing import ParamSpec, TypeVar

from django.db import Error

from streaming.aio.deadline import Deadline
from streaming.event_log import segments
from streaming.event_log.base import ClosedLogs, OwnershipLost
from streaming.event_log.options import LogOptions
from streaming.event_log.owned import OwnedLog, RemoteLog, writing
from streaming.event_log.segments import PendingSegment, Segment
from streaming.event_log.stored import DatabaseStoredLog
from streaming.event_log.tail import Tail
from streaming.events import Entry, Event, encode_all, make_entries
from streaming.storage.database import Database, default
from streaming.storage.errors import describe, is_rejection, is_unavailable

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


class DatabaseLog:
    """Implements `EventLog`; one per process and event loop.

    `worker` is the owner's name in the runs' rows. `on_lost` is called with the id of a
    run that this process has lost to another, `on_rejected` with the id of a run whose
    events the database rejects.
    """

    def __init__(
        self,
        worker: str,
        flush_seconds: float,
        on_lost: Callable[[str], None],
        *,
        on_rejected: Callable[[str], None] = lambda run_id: None,
        database: Database = default,
        options: LogOptions | None = None,
    ) -> None:
        self._worker = worker
        self._flush_seconds = flush_seconds
        self._on_lost = on_lost
        self._on_rejected = on_rejected
        self._database = database
        self._options = options or LogOptions()
        self._stored = DatabaseStoredLog(self._options)
        self._owned: dict[str, OwnedLog] = {}
        self._remote: dict[str, RemoteLog] = {}
        self._flushing = asyncio.Lock()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._released = False

    @property
    def failing_since(self) -> float | None:
        """The start of the oldest unanswered write, if it has taken too long."""
        started = [at for o in self._owned.values() if (at := o.unanswered_since)]
        since = min(started, default=None)
        late = since and time.monotonic() - since > self._options.slow_seconds
        return since if late else None

    def unanswered(self, seconds: float) -> list[str]:
        """Return the runs with a write that has been unanswered for longer."""
        before = time.monotonic() - seconds
        return [
            run_id
            for run_id, owned in self._owned.items()
            if owned.unanswered_since and owned.unanswered_since < before
        ]

    def open(self, run_id: str, attempt: int) -> None:
        """Become the owner of a run's log."""
        self._owned[run_id] = OwnedLog(Tail(self._options.tail_entries), attempt)

    def append(self, run_id: str, events: Sequence[Event]) -> None:
        """Number events, show them, and write them with the next flush."""
        owned = self._owned[run_id]
        lines = encode_all(events)
        owned.pending += lines
        owned.show(lines)
        self._ensure_task("flush", self._flush_forever)

    async def checkpoint(self, run_id: str, commit: Callable[[], None]) -> None:
        """Write a run's pending events and the writes of `commit`."""
        if owned := self._owned.get(run_id):
            await owned.wait_for_write()
        if owned is None or self._owned.get(run_id) is not owned:
            raise OwnershipLost(run_id)
        with writing([owned]):
            segment = owned.segment(run_id)
            await self._save(owned, segment, None, lambda _: commit())
            owned.forget(segment)

    async def close(
        self,
        run_id: str,
        events: Sequence[Event],
        end: T,
        commit: Callable[[ClosedLogs[T]], None],
        *,
        drop_pending: bool = False,
    ) -> None:
        """Write a run's last events along with `commit`, then show them."""
        lines = encode_all(events)
        owned = self._owned[run_id]
        await owned.wait_for_write()  # a flush may be writing the run's pending events
        if drop_pending:
            owned.pending.clear()
        segment = owned.segment(run_id, *lines)
        owned.tried = max(owned.tried, segment.last)
        # From here on no flush touches the run, and many may end at the same time.
        await self._save(owned, segment, end, commit)
        del self._owned[run_id]
        owned.show(lines)

    def abandon(self, run_id: str, events: Sequence[Event]) -> None:
        """Stop writing a run's log, and show last events to the readers here."""
        if owned := self._owned.pop(run_id, None):
            first = max(owned.tail.last, owned.tried) + 1
            owned.tail.extend(make_entries(first, encode_all(events)))

    def release(self) -> None:
        """Disconnect the readers of runs that other processes own."""
        self._released = True
        self._disconnect_readers()

    async def follow(
        self, run_id: str, after: int, heartbeat: float
    ) -> AsyncGenerator[list[Entry]]:
        """Yield the entries after a number: from the tail, or else the database."""
        remote: RemoteLog | None = None
        owned = self._owned.get(run_id)
        tail = owned.tail if owned else None
        silence = Deadline()
        try:
            while True:
                batch = tail.since(after) if tail else None
                if batch is None:
                    batch = await self._read(self._stored.read, run_id, after)
                if batch:
                    yield batch
                    after = batch[-1].number
                    if batch[-1].is_last:
                        return
                elif tail is None:
                    newest = await self._read(self._stored.newest, run_id)
                    if newest and newest.is_last and newest.number <= after:
                        return
                    remote = self._join(run_id, newest.number if newest else 0)
                    tail = remote.tail
                elif tail.ended:
                    return
                elif not await tail.wait(silence.within(heartbeat)):
                    yield []
        except Error as error:
            logger.warning("reader disconnected: %s", describe(error))
        finally:
            silence.close()
            if remote:
                remote.readers -= 1
                if not remote.readers and self._remote.get(run_id) is remote:
                    del self._remote[run_id]

    async def aclose(self) -> None:
        """Stop flushing and polling, then write the pending events a last time."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            async with asyncio.timeout(self._options.close_seconds):
                await self.flush()
        except (Error, TimeoutError) as error:
            logger.warning("last events lost: %s", describe(error))

    async def flush(self) -> None:
        """Write the pending events of all owned runs, in one transaction."""
        async with self._flushing:
            taken = {r: o for r, o in self._owned.items() if o.can_be_flushed}
            if not taken:
                return
            with writing(taken.values()):
                try:
                    await self._flush(taken)
                except Exception as error:
                    if not is_rejection(error):
                        raise
                    await self._flush_each(taken)

    async def _flush(self, taken: Mapping[str, OwnedLog]) -> None:
        """Write the pending events of these runs in one transaction.

        Those of a run that another transaction has locked stay pending.
        """
        batch = [owned.segment(run_id) for run_id, owned in taken.items()]
        unsure = any(owned.maybe_committed for owned in taken.values())
        save = partial(self._database.execute_write, segments.save, batch, self._worker)
        saved = await self._write(taken.values(), save)
        for segment in batch:
            owned = taken[segment.run_id]
            if segment.run_id in saved.locked:
                owned.maybe_committed = unsure
            else:
                owned.forget(segment)
        for run_id in saved.lost:
            self._on_lost(run_id)

    async def _flush_each(self, taken: Mapping[str, OwnedLog]) -> None:
        """Write the pending events of each run alone; the database rejected one."""
        for run_id, owned in taken.items():
            try:
                await self._flush({run_id: owned})
            except Exception as error:
                if not is_rejection(error):
                    raise
                logger.exception("events of run %s rejected", run_id)
                owned.rejected = True
                self._on_rejected(run_id)

    async def _save(
        self,
        owned: OwnedLog,
        segment: Segment,
        item: T,
        commit: Callable[[ClosedLogs[T]], None],
    ) -> None:
        def save(maybe_committed: bool) -> Awaitable[None]:
            return self._database.execute_write_batched(
                segments.save_and_commit,
                PendingSegment(segment, item, maybe_committed),
                self._worker,
                commit,
                # The database responds; another transaction has locked the run.
                on_blocked=partial(owned.end_write, True),
            )

        await self._write([owned], save)

    async def _write(
        self, logs: Collection[OwnedLog], save: Callable[[bool], Awaitable[T]]
    ) -> T:
        """Await `save(maybe_committed)`; the flag is True after a failed write."""
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

    async def _flush_forever(self) -> None:
        took = 0.0
        while self._owned:
            await asyncio.sleep(max(self._flush_seconds - took, 0))
            started = time.monotonic()
            try:
                await self.flush()
            except Error as error:
                reason = describe(error)
                logger.warning("event log flush failed, events kept: %s", reason)
            except Exception:  # one run's fault must not end the flushing of all
                logger.exception("event log flush failed, events kept in memory")
            took = time.monotonic() - started

    async def _poll_forever(self) -> None:
        succeeded_at = time.monotonic()
        while self._remote:
            try:
                await self._poll()
                succeeded_at = time.monotonic()
            except Error as error:
                logger.debug("event log poll failed: %s", describe(error))
            except Exception:  # all readers here depend on this task
                logger.exception("event log poll failed")
            if time.monotonic() - succeeded_at >= self._database.timeout_seconds:
                self._disconnect_readers()  # they reconnect, and get the error
            await asyncio.sleep(self._flush_seconds / 2)

    async def _poll(self) -> None:
        remote = dict(self._remote)
        positions = {run_id: log.tail.last for run_id, log in remote.items()}
        found, ended = await self._database.execute_read(
            self._stored.read_new, positions
        )
        for run_id, entries in found.items():
            remote[run_id].tail.extend(entries)
            remote[run_id].tail.forget(entries[-1].number)
        for run_id in ended:
            remote[run_id].tail.release()

    def _join(self, run_id: str, after: int) -> RemoteLog:
        """Add a reader to another process's run, and poll for it."""
        remote = self._remote.get(run_id)
        if remote is None:
            remote = RemoteLog(Tail(self._options.tail_entries, after))
            self._remote[run_id] = remote
        if self._released:
            remote.tail.release()
        remote.readers += 1
        self._ensure_task("poll", self._poll_forever)
        return remote

    def _disconnect_readers(self) -> None:
        for remote in self._remote.values():
            remote.tail.release()
        self._remote.clear()

    def _ensure_task(
        self, name: str, work: Callable[[], Coroutine[None, None, None]]
    ) -> None:
        """Start a background task, which ends when it has no work, unless it runs."""
        if name not in self._tasks or self._tasks[name].done():
            # An empty context: the task outlives the request that starts it.
            self._tasks[name] = asyncio.create_task(work(), context=Context())

    async def _read(self, load: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Read, waiting for a database that is unavailable for a while."""
        return await self._database.retry_while_unavailable(
            lambda: self._database.execute_read(load, *args, **kwargs)
        )
