"""The service of runs in one process: start, follow, cancel, drain.

A run is started here by any request, in a transaction that is independent of it, and
executed by the `Executor` that `RUN_EXECUTOR` names. The inserted row itself claims it
(`start.start_runs`), or a worker does later (`lifecycle.claim`). `RunService.cancel`
reaches the provider at once if this process executes the run (`Execution.stop`), and by
the next heartbeat of its owner otherwise.
"""

import asyncio
import os
import secrets
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

from django.db import Error, IntegrityError

from streaming.agent.loop import Agent
from streaming.app_options import AgentConf
from streaming.event_log import DatabaseLog
from streaming.events import Entry
from streaming.exceptions import InternalError, RateLimited, ShuttingDown
from streaming.models import Run
from streaming.runs import leases
from streaming.runs.executors.base import make_executor
from streaming.runs.heartbeat import Heartbeat
from streaming.runs.idempotency import find_run
from streaming.runs.maintenance import Maintenance
from streaming.runs.start import RunDefaults, RunRequest, StartResult, start_runs
from streaming.runs.timings import Timings
from streaming.runs.worker import Worker
from streaming.storage.database import Database

#: Attempts of a start that loses a race against other requests each time.
MAX_START_ATTEMPTS = 5


class RunService:
    """The runs of one process and event loop, with all that they need.

    It owns the event log, the worker, the executor, the heartbeat and the maintenance.
    """

    def __init__(
        self,
        agent: Agent,
        conf: AgentConf,
        database: Database,
        *,
        name: str = "",
        timings: Timings | None = None,
    ) -> None:
        timings = timings or Timings()
        name = name or worker_name()
        self.agent = agent
        self.log = DatabaseLog(
            name,
            conf.event_flush_ms / 1000,
            self._lose_ownership,
            on_rejected=self._fail,
            database=database,
        )
        self.worker = Worker(
            name,
            agent,
            self.log,
            database,
            history_chars=conf.agent_history_chars,
            timings=timings,
        )
        self.executor = make_executor(conf.run_executor, self.worker)
        self._conf = conf
        self._database = database
        self._timings = timings
        self._defaults = RunDefaults(
            worker=name if self.executor.claims_at_start else "",
            provider=agent.provider.name,
            model=agent.provider.model,
            history_chars=conf.agent_history_chars,
            max_runs_per_org=conf.run_max_per_org,
        )
        self._starts: set[asyncio.Task[Run]] = set()
        #: Starts whose runs are not yet executed.
        self._inserting = 0
        self._drain_task: asyncio.Task[None] | None = None
        self._heartbeat = Heartbeat(self.worker, self.log, conf, timings)
        self._maintenance = Maintenance(conf, database, timings)

    async def start(self, request: RunRequest) -> Run:
        """Start a run, or return the one that the request's idempotency key names.

        When this returns, the run and the user's message are durable. If the caller is
        cancelled meanwhile, the run starts nevertheless. Raises `ShuttingDown`,
        `ConversationBusy`, `IdempotencyConflict` or `RateLimited`.
        """
        if self.draining:
            raise ShuttingDown
        if self._is_full:
            return await self._find_repeated(request)
        self._inserting += 1
        # A task of its own: an inserted run must be executed if its client disconnects.
        task = asyncio.create_task(self._start(request))
        self._starts.add(task)
        task.add_done_callback(self._start_ended)
        return await asyncio.shield(task)

    async def cancel(self, *run_ids: str) -> set[str]:
        """Cancel runs of any process; return those that had not ended."""
        # Stop the executions here first: the database may be slow or unavailable.
        stopped = {run_id for run_id in run_ids if self.executor.stop(run_id)}
        try:
            active = await self._database.execute_write(leases.request_cancel, run_ids)
        except Error:
            if stopped != {*run_ids}:
                raise
            return stopped
        return stopped | active

    @asynccontextmanager
    async def following(
        self, run_id: str, after: int, *, is_active: bool
    ) -> AsyncIterator[AsyncGenerator[list[Entry]]]:
        """Follow a run's events after a number; silence yields empty batches.

        A run is not abandoned while a reader follows it. The reader of a run that had
        ended (`is_active` is false) is not counted, which costs no write.
        """
        batches = self.log.follow(run_id, after, self._conf.stream_heartbeat_seconds)
        async with aclosing(batches):
            if execution := self.worker.executions.get(run_id):
                with execution.reader():
                    yield batches
            elif is_active:
                with self._heartbeat.reader(run_id):
                    yield batches
            else:
                yield batches

    async def wait_for_end(self, run: Run) -> None:
        """Return when a run has ended; its reader counts until then."""
        async with self.following(run.id, 0, is_active=run.is_active) as batches:
            async for batch in batches:
                if batch and batch[-1].is_last:
                    return

    @property
    def draining(self) -> bool:
        """Whether no more runs are started."""
        return self.worker.draining

    async def drain(self, seconds: float) -> None:
        """Start no more runs, give the active ones some time to end, then stop them.

        The first call sets the time; each call returns when all runs here have ended.
        """
        if self._drain_task is None:
            self.worker.begin_drain()
            self._drain_task = asyncio.create_task(self._drain(seconds))
        await asyncio.shield(self._drain_task)

    async def aclose(self) -> None:
        """Drain, and leave nothing open."""
        if self._starts:  # the runs that are being inserted are drained as well
            await asyncio.wait(self._starts, timeout=self._timings.run_stop)
        await self.drain(self._conf.drain_seconds)
        await self.executor.aclose()
        await self._maintenance.aclose()
        await self._heartbeat.aclose()
        await self.log.aclose()
        await self.agent.provider.aclose()

    async def _start(self, request: RunRequest) -> Run:
        try:
            result = await self._insert(request)
        finally:
            self._inserting -= 1
        if result.history is not None:
            self.executor.started(result.run, result.history)
        return result.run

    @property
    def _is_full(self) -> bool:
        """True if this process executes, or will at once, as many runs as it may."""
        limit = self._conf.run_max if self.executor.claims_at_start else 0
        return 0 < limit <= len(self.worker.executions) + self._inserting

    async def _find_repeated(self, request: RunRequest) -> Run:
        """Return the run of a repeated request. Raises `RateLimited` for a new one."""
        key = request.idempotency_key
        if key and (
            run := await self._database.execute_read(
                find_run, request.org_id, key, request.request_hash
            )
        ):
            return run
        raise RateLimited(
            "This server executes as many runs as it may; try again later."
        )

    async def _insert(self, request: RunRequest) -> StartResult:
        for attempt in range(1, MAX_START_ATTEMPTS + 1):
            try:
                return await self._database.execute_write_batched(
                    start_runs, request, self._defaults, self.executor.enqueue
                )
            except IntegrityError:  # another request won: the next attempt sees its run
                if attempt == MAX_START_ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    def _start_ended(self, task: asyncio.Task[Run]) -> None:
        self._starts.discard(task)
        if not task.cancelled():
            task.exception()  # retrieve it: the caller may have been cancelled

    async def _drain(self, seconds: float) -> None:
        self.log.release()
        await self.worker.drain(seconds)

    def _lose_ownership(self, run_id: str) -> None:
        self.worker.lose_ownership(run_id)

    def _fail(self, run_id: str) -> None:
        self.worker.stop(run_id, InternalError())


def worker_name() -> str:
    """Return a name that no other worker has, at most 64 characters."""
    return f"{socket.gethostname()[:32]}:{os.getpid()}:{secrets.token_hex(4)}"
