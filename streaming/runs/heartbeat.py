"""The heartbeat of a process: it has the leases of its runs renewed, applies the
signals of other processes to the runs, reports the readers of this process to other
owners, and returns the runs of dead processes to the queue."""

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from contextvars import Context
from datetime import datetime

from django.db import Error

from streaming.aio.background import end_tasks
from streaming.app_options import AgentConf
from streaming.event_log import EventLog
from streaming.exceptions import DatabaseUnavailable
from streaming.models import RunStatus
from streaming.runs import leases, pending, recovery
from streaming.runs.execution import Execution
from streaming.runs.leases import RunSignals
from streaming.runs.recovery import Policy
from streaming.runs.renewal import LeaseRenewal
from streaming.runs.timings import Timings
from streaming.runs.watchdog import Watchdog
from streaming.runs.worker import Worker
from streaming.runs.worker_rows import WorkerReport
from streaming.storage.errors import describe, is_unavailable
from streaming.storage.threads import DaemonThreads
from streaming.telemetry.metrics import LOST_LEASES, RESTARTS

logger = logging.getLogger(__name__)

#: Intervals between heartbeats after which the owner certainly knows of a reader.
REPORT_HEARTBEATS = 3
#: Intervals between heartbeats that count as a stall of this process.
STALL_HEARTBEATS = 5


class Heartbeat:
    """The periodic work for the runs of a worker, from construction to `aclose`.

    `policy` is that for the runs of dead processes; `wake` is called when one of them
    has entered the queue. Without `threads` the event loop renews the leases, through
    the worker's database, and no `report` is made.
    """

    def __init__(
        self,
        worker: Worker,
        log: EventLog,
        conf: AgentConf,
        timings: Timings,
        policy: Policy,
        wake: Callable[[], None],
        *,
        threads: bool = True,
        report: WorkerReport | None = None,
    ) -> None:
        self._policy = policy
        self._wake = wake
        self._worker = worker
        self._database = worker.database
        self._log = log
        self._conf = conf
        self._timings = timings
        #: How many readers of this process follow each active run.
        self._readers: Counter[str] = Counter()
        #: Runs whose last reader here disconnected since the last report.
        self._departed: set[str] = set()
        self._stale = StaleRuns(conf.run_lease_seconds / 2)
        self._lease = _Timer(conf.run_lease_seconds / 4)
        self._watchdog = Watchdog(timings.blocked) if threads else None
        self._renewal = self._watchdog and LeaseRenewal(
            worker,
            self._watchdog,
            interval=timings.heartbeat,
            period=conf.run_lease_seconds / 4,
            blocked_seconds=conf.run_blocked_lease_seconds,
            report=report,
        )
        report_seconds = min(10.0, conf.run_abandon_seconds / 4)
        self._report = _Timer(report_seconds)
        #: Time since the last report of a reader after which it has disconnected.
        self._departed_seconds = 2 * (
            report_seconds + REPORT_HEARTBEATS * timings.heartbeat
        )
        self._recovery = _Timer(conf.run_lease_seconds / 8)
        self._tasks = [
            _create_task(self._beat_forever()),
            _create_task(self._watch_forever()),
        ]

    @contextmanager
    def reader(self, run_id: str) -> Iterator[None]:
        """Count a reader of an active run for as long as it is connected.

        Meanwhile the run may change its owner, from or to this process.
        """
        self._readers[run_id] += 1
        self._report.expire()
        try:
            yield
        finally:
            self._readers[run_id] -= 1
            if not self._readers[run_id]:
                del self._readers[run_id]
                self._departed.add(run_id)
                self._report.expire()
            if execution := self._worker.executions.get(run_id):
                execution.last_reader_at = time.monotonic()

    async def aclose(self) -> None:
        """Stop the heartbeat."""
        await end_tasks(self._tasks)
        if self._watchdog and self._renewal:
            self._watchdog.close()
            # Not the default executor, which ends before a process's exit functions.
            thread = DaemonThreads(1, "heartbeat-close")
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(thread, self._renewal.close)
            thread.shutdown(wait=False)

    async def _watch_forever(self) -> None:
        """Stop runs whose events cannot be stored, without using the database."""
        while True:
            for run_id in self._log.unanswered(self._database.timeout_seconds):
                self._worker.stop(run_id, DatabaseUnavailable())
            await asyncio.sleep(self._timings.heartbeat)

    async def _beat_forever(self) -> None:
        while True:
            started = time.monotonic()
            try:
                await self._beat()
            except Error as error:
                logger.warning("heartbeat failed: %s", describe(error))
                self._stale.clear()
                self._report.expire()
            except Exception:  # without heartbeats all runs here would count as dead
                logger.exception("heartbeat failed")
            await asyncio.sleep(self._timings.heartbeat)
            if time.monotonic() - started > self._stall_seconds:
                # This process was held up, and perhaps every other one was.
                self._stale.clear()

    async def _beat(self) -> None:
        executions = self._worker.executions
        if attempts := {run_id: e.run.attempt for run_id, e in executions.items()}:
            signals = await self._database.execute_read(
                leases.read_signals, attempts, self._worker.name
            )
            for run_id, attempt in attempts.items():
                execution = executions.get(run_id)
                if execution and execution.run.attempt == attempt:
                    self._apply_signals(execution, signals.get(run_id))
            if not self._renewal and self._lease.is_due:
                self._lease.restart()
                await self._database.execute_write(
                    leases.renew_leases, attempts, self._worker.name
                )
        self._departed -= executions.keys()
        followed = {*self._readers, *self._departed} - executions.keys()
        if followed and self._report.is_due:
            # Restart before the write: a reader that connects during it expires it.
            self._report.restart()
            await self._database.execute_write(leases.touch_readers, followed)
            self._departed -= followed
        if cancels := set(self._worker.lost_cancels):
            await self._database.execute_write(
                leases.request_cancel, cancels, self._policy.enqueue
            )
            self._worker.lost_cancels -= cancels
        if self._recovery.is_due:
            await self._recover_orphans()
            await self._promote_pending()
            self._recovery.restart()

    def _apply_signals(self, execution: Execution, signals: RunSignals | None) -> None:
        if signals is None:
            execution.lose_ownership()
            return
        run = execution.run
        if math.isfinite(signals.seconds_since_reader):
            read_elsewhere = signals.seconds_since_reader < self._departed_seconds
            self._log.share(run.id, read_elsewhere)
        unread = run.id not in self._readers and not run.background
        seconds_since_reader = min(
            time.monotonic() - execution.last_reader_at, signals.seconds_since_reader
        )
        limit = self._conf.run_abandon_seconds
        grace = min(REPORT_HEARTBEATS * self._timings.heartbeat, limit / 4)
        abandoned = unread and seconds_since_reader > limit + grace
        if signals.cancel_requested or abandoned:
            execution.stop()

    async def _recover_orphans(self) -> None:
        """Return the runs of dead processes to the queue, or end them."""
        late = await self._database.execute_read(
            leases.find_stale, self._conf.run_lease_seconds / 2
        )
        for run_id, heartbeat_at in self._stale.confirmed(late).items():
            if run_id in self._worker.executions:
                continue  # its row was locked when its lease was to be renewed
            try:
                await self._recover_orphan(run_id, heartbeat_at)
            except Exception as error:  # the others are recovered nevertheless
                if is_unavailable(error):
                    raise
                fields = {"run_id": run_id}
                logger.exception("run not recovered: %s", describe(error), extra=fields)
                self._stale.watch_anew(run_id)

    async def _promote_pending(self) -> None:
        """Do for pending runs what another process may have left undone."""
        interrupted = await self._database.execute_read(pending.find_interrupted)
        self._worker.lost_cancels.update(interrupted)  # for the next heartbeat
        if keys := await self._database.execute_read(pending.find_idle):
            await self._database.execute_write(
                pending.advance, keys, self._policy.enqueue
            )

    async def _recover_orphan(self, run_id: str, heartbeat_at: datetime) -> None:
        before = time.monotonic() + self._stall_seconds
        status = await self._database.execute_write(
            recovery.recover_orphan, run_id, heartbeat_at, before, self._policy
        )
        fields = {"run_id": run_id}
        if status is None:
            self._stale.watch_anew(run_id)
        elif status == RunStatus.QUEUED:
            logger.warning("run returned to the queue", extra=fields)
            LOST_LEASES.add(1, "requeued")
            RESTARTS.add(1, "lost_lease")
            self._wake()
        else:
            logger.warning("run interrupted", extra=fields)
            LOST_LEASES.add(1, "failed")
            self._worker.signals.ended(run_id)

    @property
    def _stall_seconds(self) -> float:
        """Time without progress after which this process trusts no earlier reading."""
        least = STALL_HEARTBEATS * self._timings.heartbeat
        return max(self._conf.run_lease_seconds / 4, least)


class StaleRuns:
    """Runs without a heartbeat, confirmed after this process has watched long enough.

    The time of the last heartbeat alone is not enough: after an outage of the database
    or a suspension of the machine, the last heartbeats of all runs are old.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._seen: dict[tuple[str, datetime], float] = {}

    def confirmed(self, late: Mapping[str, datetime]) -> dict[str, datetime]:
        """Return the late runs that had no heartbeat for as long as was watched."""
        now = time.monotonic()
        self._seen = {beat: self._seen.get(beat, now) for beat in late.items()}
        return {
            run: heartbeat_at
            for (run, heartbeat_at), since in self._seen.items()
            if now - since >= self._seconds
        }

    def watch_anew(self, run_id: str) -> None:
        """Give the owner of a run time to renew its lease, as after a lock."""
        self._seen = {beat: at for beat, at in self._seen.items() if beat[0] != run_id}

    def clear(self) -> None:
        """Watch all runs anew."""
        self._seen.clear()


class _Timer:
    """An interval that starts when its work was last done."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._due_at = 0.0

    @property
    def is_due(self) -> bool:
        return time.monotonic() >= self._due_at

    def restart(self) -> None:
        self._due_at = time.monotonic() + self._seconds

    def expire(self) -> None:
        self._due_at = 0.0


def _create_task(work: Coroutine[None, None, None]) -> asyncio.Task[None]:
    # An empty context: the task outlives the request that first uses the service.
    return asyncio.create_task(work, context=Context())
