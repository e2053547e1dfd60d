"""The pulse of a process: it tells the others that this one lives and what it listens
to, learns from them whom to stop, and ends the runs of processes that died."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import Context
from datetime import timedelta

from django.db import Error
from django.utils import timezone

from streaming import db
from streaming.conf import AgentConf
from streaming.event_log import EventLog
from streaming.exceptions import InternalError
from streaming.runs import presence
from streaming.runs.execution import DATABASE_PATIENCE_SECONDS, Execution
from streaming.runs.presence import Sign

logger = logging.getLogger(__name__)

#: How often a process looks what others ask of its runs.
PULSE_SECONDS = 0.4


class Pulse:
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
        self._last_beat = _Timer(conf.run_lease / 4)
        self._last_listen = _Timer(min(10.0, conf.run_abandon / 4))
        self._last_recovery = _Timer(conf.run_lease / 3)
        self._task = asyncio.create_task(self._beat_forever(), context=Context())

    @contextmanager
    def listening(self, run_id: str) -> Iterator[None]:
        """While somebody here follows a run that another process runs."""
        self._listening[run_id] += 1
        self._last_listen.expire()
        try:
            yield
        finally:
            self._listening[run_id] -= 1
            if not self._listening[run_id]:
                del self._listening[run_id]

    async def aclose(self) -> None:
        """Stop beating."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _beat_forever(self) -> None:
        while True:
            try:
                await self._beat()
            except Error:
                logger.warning("the database does not answer")
            except Exception:
                logger.exception("pulse failed")
            await asyncio.sleep(PULSE_SECONDS)

    async def _beat(self) -> None:
        self._stop_what_cannot_be_kept()
        if running := list(self._executions):
            signs = await self._signs(running)
            for run_id in running:
                self._heed(run_id, signs.get(run_id))
        if self._listening and self._last_listen.is_due:
            await db.write(presence.listen, list(self._listening))
            self._last_listen.restart()
        if self._last_recovery.is_due:
            await db.write(presence.recover, self._conf.run_lease)
            self._last_recovery.restart()

    async def _signs(self, running: list[str]) -> dict[str, Sign]:
        if not self._last_beat.is_due:
            return await db.read(presence.look, running, self._worker)
        signs = await db.write(presence.beat, running, self._worker)
        self._last_beat.restart()
        return signs

    def _heed(self, run_id: str, sign: Sign | None) -> None:
        execution = self._executions.get(run_id)
        if execution and not sign:
            execution.lose()
        elif execution and sign:
            given_up = timezone.now() - timedelta(seconds=self._conf.run_abandon)
            heard = max(execution.last_reader_at, sign.last_reader_at)
            alone = not execution.readers and not execution.run.background
            if sign.cancel_requested or (alone and heard < given_up):
                execution.stop()

    def _stop_what_cannot_be_kept(self) -> None:
        since = self._log.failing_since
        if since and time.monotonic() - since > DATABASE_PATIENCE_SECONDS:
            for execution in list(self._executions.values()):
                execution.stop(InternalError("The database is away."))


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
