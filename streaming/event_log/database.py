"""The event log of one process over the user's own database.

Readers in the process that owns a run follow a tail in memory, without a query. All
runs of the process share one writer: at each flush interval their new events are
written to the database in one transaction. Readers of runs that other processes own
follow a tail that the database and a live path fill (`remote`).
"""

import asyncio
import logging
import time
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Mapping,
    Sequence,
)
from functools import partial
from typing import ParamSpec, TypeVar

from django.db import Error

from streaming.aio.background import BackgroundTask
from streaming.aio.deadline import Deadline
from streaming.event_log import segments
from streaming.event_log.base import ClosedLogs, OwnershipLost
from streaming.event_log.live.base import MakeLive, NoLive
from streaming.event_log.options import LogOptions
from streaming.event_log.outbox import Outbox
from streaming.event_log.owned import OwnedLog, tracked, writing
from streaming.event_log.remote import RemoteLog, RemoteLogs
from streaming.event_log.segments import PendingSegment, Segment
from streaming.event_log.stored import DatabaseStoredLog
from streaming.event_log.tail import Tail
from streaming.events import Entry, Event, encode_all, make_entries
from streaming.storage.database import Database, default
from streaming.storage.errors import describe, is_rejection

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


class DatabaseLog:
    """Implements `EventLog`; one per process and event loop.

    `worker` is the owner's name in the runs' rows. `on_lost` is called with the id of a
    run that this process has lost to another, `on_rejected` with the id of a run whose
    events the database rejects. `live` makes the path on which the events of shared
    runs go to other processes, at intervals of `live_seconds`. With `shares_all` each
    run is shared from its opening on.
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
        live: MakeLive = NoLive,
        live_seconds: float = 0.025,
        shares_all: bool = False,
    ) -> None:
        self._worker = worker
        self._flush_seconds = flush_seconds
        self._on_lost = on_lost
        self._on_rejected = on_rejected
        self._database = database
        self._options = options or LogOptions()
        self._stored = DatabaseStoredLog(self._options)
        self._owned: dict[str, OwnedLog] = {}
        self._flushing = asyncio.Lock()
        self._flush_task = BackgroundTask(self._flush_forever)
        self._remote = RemoteLogs(
            database,
            self._options,
            live,
            flush_seconds=flush_seconds,
            live_seconds=live_seconds,
        )
        self._outbox = Outbox(self._owned, self._remote.live, live_seconds)
        self._shared_flush_seconds = flush_seconds
        if not self._remote.live.carries:
            self._shared_flush_seconds = min(2 * live_seconds, flush_seconds)
        self._shares_all = shares_all

    @property
    def failing_since(self) -> float | None:
        """The start of the oldest unanswered write, if it has taken too long."""
        started = [at for o in self._owned.values() if (at := o.unanswered_since)]
        since = min(started, default=None)
        late = since and time.monotonic() - since > self._options.slow_seconds
        return since if late else None

    def unanswered(self, seconds: float) -> list[str]:
        """Return the runs with a write that has been unanswered for longer."""
        now = time.monotonic()
        since = {r: o.unanswered_since or now for r, o in self._owned.items()}
        return [run_id for run_id, at in since.items() if now - at > seconds]

    def open(self, run_id: str, attempt: int, after: int = 0) -> None:
        """Become the owner of a run's log; readers here follow it in memory."""
        self.hand_over(run_id)  # an earlier attempt may have lost the run unnoticed
        self._owned[run_id] = OwnedLog(Tail(self._options.tail_entries, after), attempt)
        self._remote.move(run_id)
        if self._shares_all:
            self.share(run_id, True)

    def append(self, run_id: str, events: Sequence[Event]) -> None:
        """Number events, show them, and write them with the next flush."""
        owned = self._owned[run_id]
        lines = encode_all(events)
        owned.pending += lines
        owned.show(lines)
        self._flush_task.ensure()

    async def checkpoint(
        self,
        run_id: str,
        commit: Callable[[int], None],
        events: Sequence[Event] = (),
    ) -> None:
        """Write a run's pending events, further ones and the writes of `commit`."""
        owned = self._owned.get(run_id)
        if owned is None:
            raise OwnershipLost(run_id)
        lines = encode_all(events)
        try:
            await owned.wait_for_write()
            if self._owned.get(run_id) is not owned:
                raise OwnershipLost(run_id)
            with writing([owned]):
                segment = owned.segment(run_id, *lines)
                item = (commit, segment.last)
                await self._save(owned, segment, item, _commit_checkpoints)
                owned.forget(segment)
        except OwnershipLost:
            raise
        except BaseException:  # they may be stored: no other events get their numbers
            owned.pending += lines
            owned.show(lines)
            raise
        owned.show(lines)

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
        self._outbox.end(run_id)

    def abandon(self, run_id: str, events: Sequence[Event]) -> None:
        """Stop writing a run's log, and show last events to the readers here."""
        if owned := self._owned.pop(run_id, None):
            first = max(owned.tail.last, owned.tried) + 1
            owned.tail.extend(make_entries(first, encode_all(events)))

    def share(self, run_id: str, wanted: bool) -> None:
        """Bring an owned run's events to other processes early, or no longer."""
        if wanted:
            self._outbox.add(run_id)
        else:
            self._outbox.discard(run_id)

    def hand_over(self, run_id: str) -> None:
        """Stop writing a run's log; the readers here go on from the database."""
        if owned := self._owned.pop(run_id, None):
            owned.tail.move()

    def release(self) -> None:
        """Disconnect the readers of runs that other processes own."""
        self._remote.release()

    async def follow(
        self, run_id: str, after: int, heartbeat: float
    ) -> AsyncGenerator[list[Entry]]:
        """Yield the entries after a number: from the tail, or else the database."""
        remote: RemoteLog | None = None
        tail = self._owned_tail(run_id)
        silence = Deadline()
        try:
            while True:
                batch = tail.since(after) if tail else None
                if batch is None:
                    before = tail.before if tail else 0
                    batch = await self._read(self._stored.read, run_id, after)
                    if not batch and after < before:  # the numbers between leap
                        after = before
                        continue
                if batch:
                    yield batch
                    after = batch[-1].number
                    if batch[-1].is_last:
                        return
                elif tail is None:
                    remote = remote or self._remote.enter(run_id)
                    await self._remote.live.listen(run_id)
                    newest = await self._read(self._stored.newest, run_id)
                    if newest and newest.is_last and newest.number <= after:
                        return
                    if tail := self._owned_tail(run_id):  # claimed here meanwhile
                        self._remote.leave(run_id, remote)
                        remote = None
                        continue
                    tail = self._remote.begin(remote, newest.number if newest else 0)
                elif tail.ended:
                    if self._remote.released or not tail.moved:
                        return
                    self._remote.leave(run_id, remote)
                    remote, tail = None, self._owned_tail(run_id)
                elif not await tail.wait(silence.within(heartbeat)):
                    yield []
        except Error as error:
            logger.warning("reader disconnected: %s", describe(error))
        finally:
            silence.close()
            self._remote.leave(run_id, remote)

    async def aclose(self) -> None:
        """Stop flushing and polling, then write the pending events a last time."""
        await self._flush_task.aclose()
        await self._outbox.aclose()
        await self._remote.aclose()
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
        saved = await tracked(taken.values(), save)
        for segment in batch:
            owned = taken[segment.run_id]
            if segment.run_id in saved.locked:
                owned.maybe_committed = unsure
            else:
                owned.forget(segment)
        for run_id in saved.lost:
            if self._owned.get(run_id) is taken[run_id]:  # else in an earlier attempt
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

        await tracked([owned], save)

    async def _flush_forever(self) -> None:
        took = 0.0
        while self._owned:
            shared = self._outbox.has_runs()
            every = self._shared_flush_seconds if shared else self._flush_seconds
            await asyncio.sleep(max(every - took, 0))
            started = time.monotonic()
            try:
                await self.flush()
            except Error as error:
                reason = describe(error)
                logger.warning("event log flush failed, events kept: %s", reason)
            except Exception:  # one run's fault must not end the flushing of all
                logger.exception("event log flush failed, events kept in memory")
            took = time.monotonic() - started

    def _owned_tail(self, run_id: str) -> Tail | None:
        owned = self._owned.get(run_id)
        return owned.tail if owned else None

    async def _read(self, load: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Read, waiting for a database that is unavailable for a while."""
        return await self._database.retry_while_unavailable(
            lambda: self._database.execute_read(load, *args, **kwargs)
        )


def _commit_checkpoints(given: ClosedLogs[tuple[Callable[[int], None], int]]) -> None:
    """Make the writes of checkpoints; their events are inserted together."""
    for (commit, last), _ in given:
        commit(last)
