"""The pulse of a process: it tells the others that this one lives and what it listens
to, learns from them whom to stop, and ends the runs of processes that died."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from contextvars import Context
from datetime import datetime

from django.db import Error

from streaming.conf import AgentConf
from streaming.event_log import EventLog
from streaming.exceptions import database_unavailable
from streaming.runs import leases
from streaming.runs.execution import Execution
from streaming.runs.leases import RunSignals
from streaming.storage import database

logger = logging.getLogger(__name__)

#: How often a process looks what others ask of its runs.
HEARTBEAT_SECONDS = 0.4
#: What the word of a listener in another process may take to reach the owner.
READER_REPORT_SECONDS = 3 * HEARTBEAT_SECONDS


class Heartbeat:
    """Beats for the runs in `executions`, from when it is made until `aclose`."""

    def __init__(
        self,
        executions: Mapping[str, Execution],
        log: EventLog,
        conf: AgentConf,
        worker: str,
    ) -> None:
        self._executions = executions
        self._log = log
        self._conf = conf
        self._worker = worker
        self._listening: Counter[str] = Counter()
        #: Runs whose last listener here left since we last told.
        self._left: set[str] = set()
        self._stale = StaleRuns(conf.run_lease_seconds / 2)
        self._last_renewal = _Timer(conf.run_lease_seconds / 4)
        self._last_report = _Timer(min(10.0, conf.run_abandon_seconds / 4))
        self._last_recovery = _Timer(conf.run_lease_seconds / 8)
        self._tasks = [_start(self._renew_forever()), _start(self._watch_forever())]

    @contextmanager
    def listening(self, run_id: str) -> Iterator[None]:
        """While somebody here follows a run that another process runs."""
        self._listening[run_id] += 1
        self._last_report.expire()
        try:
            yield
        finally:
            self._listening[run_id] -= 1
            if not self._listening[run_id]:
                del self._listening[run_id]
                self._left.add(run_id)
                self._last_report.expire()

    async def aclose(self) -> None:
        """Stop beating."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    async def _watch_forever(self) -> None:
        """Stop what cannot be kept. Nothing here waits for the database."""
        while True:
            since = self._log.failing_since
            if since and time.monotonic() - since > database.default.timeout_seconds:
                for execution in list(self._executions.values()):
                    execution.stop(database_unavailable())
            await asyncio.sleep(HEARTBEAT_SECONDS)

    async def _renew_forever(self) -> None:
        while True:
            started = time.monotonic()
            try:
                await self._renew()
            except Error:
                logger.warning("the database does not answer")
                self._stale.clear()
                self._last_report.expire()
            except Exception:  # it must go on: without it all runs here count as dead
                logger.exception("pulse failed")
            await asyncio.sleep(HEARTBEAT_SECONDS)
            if time.monotonic() - started > self._patience:
                # We were held up ourselves, and so perhaps was everybody.
                self._stale.clear()

    async def _renew(self) -> None:
        if running := list(self._executions):
            signs = await self._signs(running)
            for run_id in running:
                self._apply_signals(run_id, signs.get(run_id))
        heard = {*self._listening, *self._left}
        if heard and self._last_report.is_due:
            self._last_report.restart()  # before: who comes meanwhile expires it again
            await database.execute_write(leases.touch_readers, heard)
            self._left -= heard
        if self._last_recovery.is_due:
            await self._recover()
            self._last_recovery.restart()

    async def _signs(self, running: list[str]) -> dict[str, RunSignals]:
        if not self._last_renewal.is_due:
            return await database.execute_read(
                leases.read_signals, running, self._worker
            )
        signs = await database.execute_write(leases.renew_leases, running, self._worker)
        self._last_renewal.restart()
        return signs

    def _apply_signals(self, run_id: str, sign: RunSignals | None) -> None:
        execution = self._executions.get(run_id)
        if execution and not sign:
            execution.lose_ownership()
        elif execution and sign:
            alone = not execution.readers and not execution.run.background
            seconds_since_reader = min(
                time.monotonic() - execution.last_reader_at, sign.seconds_since_reader
            )
            grace = min(READER_REPORT_SECONDS, self._conf.run_abandon_seconds / 4)
            given_up = seconds_since_reader > self._conf.run_abandon_seconds + grace
            if sign.cancel_requested or (alone and given_up):
                execution.stop()

    async def _recover(self) -> None:
        """End the runs of processes that died."""
        late = await database.execute_read(
            leases.find_stale, self._conf.run_lease_seconds / 2
        )
        for run_id, heartbeat_at in self._stale.confirmed(late).items():
            before = time.monotonic() + self._patience
            if await database.execute_write(
                leases.fail_orphan, run_id, heartbeat_at, before
            ):
                logger.warning("run of a dead process ended: %s", run_id)

    @property
    def _patience(self) -> float:
        return max(self._conf.run_lease_seconds / 4, 5 * HEARTBEAT_SECONDS)


class StaleRuns:
    """Runs whose process is silent, until we have watched them for long enough.

    We go by our own watching and not by the time of the last beat alone: after a
    database was away, or a machine asleep, everybody's last beat was long ago.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._seen: dict[tuple[str, datetime], float] = {}

    def confirmed(self, late: Mapping[str, datetime]) -> dict[str, datetime]:
        """Those of the late that have made no sign while we watched."""
        now = time.monotonic()
        self._seen = {beat: self._seen.get(beat, now) for beat in late.items()}
        return {
            run: heartbeat_at
            for (run, heartbeat_at), since in self._seen.items()
            if now - since >= self._seconds
        }

    def clear(self) -> None:
        """Begin to watch anew."""
        self._seen.clear()


class _Timer:
    """Due every so many seconds, counted from when the work was last done."""

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


def _start(work: Coroutine[None, None, None]) -> asyncio.Task[None]:
    # An empty context: it outlives the request that needs the executor first.
    return asyncio.create_task(work, context=Context())
