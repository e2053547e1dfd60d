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

from streaming import db
from streaming.conf import AgentConf
from streaming.event_log import EventLog
from streaming.exceptions import database_away
from streaming.runs import presence
from streaming.runs.execution import Execution
from streaming.runs.presence import Sign

logger = logging.getLogger(__name__)

#: How often a process looks what others ask of its runs.
PULSE_SECONDS = 0.4
#: What the word of a listener in another process may take to reach the owner.
WORD_SECONDS = 3 * PULSE_SECONDS


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
        #: Runs whose last listener here left since we last told.
        self._left: set[str] = set()
        self._suspects = _Suspects(conf.run_lease / 2)
        self._last_beat = _Timer(conf.run_lease / 4)
        self._last_listen = _Timer(min(10.0, conf.run_abandon / 4))
        self._last_look = _Timer(conf.run_lease / 8)
        self._tasks = [_start(self._beat_forever()), _start(self._watch_forever())]

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
                self._left.add(run_id)
                self._last_listen.expire()

    async def aclose(self) -> None:
        """Stop beating."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    async def _watch_forever(self) -> None:
        """Stop what cannot be kept. Nothing here waits for the database."""
        while True:
            since = self._log.failing_since
            if since and time.monotonic() - since > db.PATIENCE_SECONDS:
                for execution in list(self._executions.values()):
                    execution.stop(database_away())
            await asyncio.sleep(PULSE_SECONDS)

    async def _beat_forever(self) -> None:
        while True:
            started = time.monotonic()
            try:
                await self._beat()
            except Error:
                logger.warning("the database does not answer")
                self._suspects.clear()
                self._last_listen.expire()
            except Exception:  # it must go on: without it all runs here count as dead
                logger.exception("pulse failed")
            await asyncio.sleep(PULSE_SECONDS)
            if time.monotonic() - started > self._patience:
                # We were held up ourselves, and so perhaps was everybody.
                self._suspects.clear()

    async def _beat(self) -> None:
        if running := list(self._executions):
            signs = await self._signs(running)
            for run_id in running:
                self._heed(run_id, signs.get(run_id))
        heard = {*self._listening, *self._left}
        if heard and self._last_listen.is_due:
            self._last_listen.restart()  # before: who comes meanwhile expires it again
            await db.write(presence.listen, heard)
            self._left -= heard
        if self._last_look.is_due:
            await self._recover()
            self._last_look.restart()

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
            alone = not execution.readers and not execution.run.background
            unheard = min(time.monotonic() - execution.last_heard, sign.unheard)
            grace = min(WORD_SECONDS, self._conf.run_abandon / 4)
            given_up = unheard > self._conf.run_abandon + grace
            if sign.cancel_requested or (alone and given_up):
                execution.stop()

    async def _recover(self) -> None:
        """End the runs of processes that died."""
        late = await db.read(presence.silent, self._conf.run_lease / 2)
        for run_id, heartbeat_at in self._suspects.guilty(late).items():
            before = time.monotonic() + self._patience
            if await db.write(presence.interrupt, run_id, heartbeat_at, before):
                logger.warning("run of a dead process ended: %s", run_id)

    @property
    def _patience(self) -> float:
        return max(self._conf.run_lease / 4, 5 * PULSE_SECONDS)


class _Suspects:
    """Runs whose process is silent, until we have watched them for long enough.

    We go by our own watching and not by the time of the last beat alone: after a
    database was away, or a machine asleep, everybody's last beat was long ago.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._seen: dict[tuple[str, datetime], float] = {}

    def guilty(self, late: Mapping[str, datetime]) -> dict[str, datetime]:
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
