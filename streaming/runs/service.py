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
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from contextlib import aclosing, asynccontextmanager
from contextvars import Context
from functools import partial

from django.db import Error, IntegrityError
from msgspec import structs

from streaming.agents.loops import AgentLoops
from streaming.app_options import AgentConf
from streaming.budgets.meter import ModelPrices, check_price
from streaming.conf import import_named
from streaming.event_log import DatabaseLog, choose_live
from streaming.events import Entry
from streaming.exceptions import InternalError, RateLimited, ShuttingDown
from streaming.models import Run, RunStatus
from streaming.runs import lifecycle, pending
from streaming.runs.cancelling import cancel_runs
from streaming.runs.executors.base import Executor, make_executor
from streaming.runs.heartbeat import Heartbeat
from streaming.runs.idempotency import find_run
from streaming.runs.maintenance import Maintenance
from streaming.runs.recovery import Policy
from streaming.runs.start import (
    FULL,
    MAX_START_ATTEMPTS,
    RunDefaults,
    RunRequest,
    StartResult,
    start_runs,
)
from streaming.runs.telemetry import ServiceTelemetry
from streaming.runs.timings import Timings
from streaming.runs.turns import Turns
from streaming.runs.wakes import connect
from streaming.runs.worker import Place, Worker
from streaming.storage.database import Database, use_in_task
from streaming.tools.threads import caller_context


class RunService:
    """The runs of one process and event loop, with all that they need.

    It owns the event log, the worker, the executor, the heartbeat and the maintenance.
    Without `threads` it uses no thread beside those of its database, the functions of
    the project included, maintains nothing, and hands no run over to other processes.
    `queues` selects the queued runs that it executes; empty: those of all queues.
    """

    def __init__(
        self,
        agents: AgentLoops,
        conf: AgentConf,
        database: Database,
        *,
        name: str = "",
        timings: Timings | None = None,
        threads: bool = True,
        queues: Collection[str] = (),
    ) -> None:
        timings = timings or Timings()
        name = name or worker_name()
        self.agents = agents
        executor: type[Executor] = import_named("RUN_EXECUTOR", conf.executor_path)
        self.log = self._make_log(name, conf, database, executor)
        self.worker = Worker(
            name,
            agents,
            self.log,
            database,
            history_chars=conf.agent_history_chars,
            timings=timings,
            enqueue=executor.enqueue,
            run_max=conf.run_max,
            queues=queues,
            make_context=Context if threads else partial(_caller_context, database),
            hands_over=threads and conf.run_max_attempts > 1,
        )
        self.executor = make_executor(conf.executor_path, self.worker)
        self._wake = connect(self.executor.wake)
        #: Whether it takes part in the work on queued runs of other processes.
        self.is_serving = False
        self._conf = conf
        self._database = database
        self._timings = timings
        self._defaults = RunDefaults(
            worker=name if self.executor.claims_at_start else "",
            agents=agents,
            history_chars=conf.agent_history_chars,
            max_runs_per_org=conf.run_max_per_org,
            max_pending=conf.run_max_pending,
        )
        self._turns = Turns(self.worker)
        self.worker.on_next_run = self._await_turn
        self._starts: set[asyncio.Task[StartResult]] = set()
        self._drain_task: asyncio.Task[None] | None = None
        self._drained = asyncio.Event()
        self._telemetry = ServiceTelemetry(self.worker, self.executor, conf, database)
        self._heartbeat = Heartbeat(
            self.worker,
            self.log,
            conf,
            timings,
            Policy(conf.run_max_attempts, executor.enqueue),
            self.executor.wake,
            threads=threads,
            report=self._telemetry.report(partial(self.drain, conf.drain_seconds)),
        )
        self._maintenance = Maintenance(conf, database, timings) if threads else None

    def _make_log(
        self, name: str, conf: AgentConf, database: Database, executor: type[Executor]
    ) -> DatabaseLog:
        return DatabaseLog(
            name,
            conf.event_flush_ms / 1000,
            self._lose_ownership,
            on_rejected=self._fail,
            database=database,
            live=choose_live(conf.event_live, conf.redis_url),
            live_seconds=conf.event_live_ms / 1000,
            shares_all=not executor.claims_at_start,  # the requests are elsewhere
        )

    async def start(self, request: RunRequest) -> Run:
        """Start a run as `begin` does, and return it."""
        return (await self.begin(request)).run

    async def begin(self, request: RunRequest) -> StartResult:
        """Start a run, or return the one that the request's idempotency key names.

        When this returns, the run and the user's message are durable. If the caller is
        cancelled meanwhile, the run starts nevertheless. Raises `ShuttingDown`,
        `ConversationBusy`, `IdempotencyConflict`, `RateLimited`, `BudgetExhausted`, or
        `Forbidden` if a limit of cost applies and the price of the model is unknown.
        """
        if limits := await self.worker.limits.of(request.principal, request.agent):
            provider = self.agents.find(request.agent).loop.provider
            check_price(limits, ModelPrices(provider))
            request = structs.replace(request, limits=limits)
        if self.draining:
            raise ShuttingDown
        if self._is_full:
            # A refusal in the transaction would repeat all starts that share it.
            if request.on_busy == "reject" or not await self._database.execute_read(
                pending.is_busy, request.principal, request.conversation_id
            ):
                return StartResult(await self._find_repeated(request), None)
            request = structs.replace(request, must_wait=True)
        place = self.worker.take_place()
        # A task of its own: an inserted run must be executed if its client disconnects.
        task = asyncio.create_task(self._start(request, place))
        self._starts.add(task)
        task.add_done_callback(partial(self._start_ended, place))
        return await asyncio.shield(task)

    def serve(self) -> None:
        """Take part in the work on queued runs, in a process that serves requests."""
        self.is_serving = True
        self.executor.serve()
        self._telemetry.serve()

    def work(self) -> None:
        """Begin to execute queued runs, in a process that serves no requests."""
        self.is_serving = True
        self.executor.work()
        self._telemetry.serve()

    async def execute_queued(self, run_id: str) -> None:
        """Execute a run to its end if it is queued."""
        claim = await self._database.execute_write(
            lifecycle.claim, run_id, self.worker.name
        )
        if claim:
            await self.executor.execute(claim.id, claim.attempt)

    async def cancel(self, *run_ids: str) -> set[str]:
        """Cancel runs of any process; return those that had not ended."""
        # Stop the executions here first: the database may be slow or unavailable.
        stopped = {run_id for run_id in run_ids if self.executor.stop(run_id)}
        try:
            active = await self._database.execute_write(
                cancel_runs, run_ids, self.executor.cancel, self.executor.enqueue
            )
        except Error:
            if stopped != {*run_ids}:
                raise
            return stopped
        self.worker.signals.ended(*active - stopped, unclaimed=True)
        return stopped | active

    async def cancel_pending(self, conversation: int) -> None:
        """Cancel the pending runs of a conversation."""
        cancelled = await self._database.execute_write(pending.clear, conversation)
        self.worker.signals.ended(*cancelled, unclaimed=True)

    @asynccontextmanager
    async def following(
        self, run_id: str, after: int, *, is_active: bool
    ) -> AsyncIterator[AsyncGenerator[list[Entry]]]:
        """Follow a run's events after a number; silence yields empty batches.

        A run is not abandoned while a reader follows it. The reader of a run that had
        ended (`is_active` is false) is not counted, which costs no write. The reader
        stays when another process continues the run.
        """
        batches = self.log.follow(run_id, after, self._conf.stream_heartbeat_seconds)
        async with aclosing(batches):
            if is_active:
                with self._heartbeat.reader(run_id):
                    yield batches
            else:
                yield batches

    async def wait_for_end(self, run: Run) -> None:
        """Return when a run has ended; its reader counts until then."""
        async with self.following(run.id, 0, is_active=not run.has_ended) as batches:
            async for batch in batches:
                if batch and batch[-1].is_last:
                    return

    @property
    def draining(self) -> bool:
        """Whether no more runs are started."""
        return self.worker.draining

    async def drain(self, seconds: float) -> None:
        """Start no more runs, give the active ones some time, then hand them over.

        The first call sets the time; each call returns when all runs here have ended.
        """
        if self._drain_task is None:
            self.worker.begin_drain()
            self._drain_task = asyncio.create_task(self._drain(seconds))
        await asyncio.shield(self._drain_task)

    async def wait_for_drain(self) -> None:
        """Return when a drain has ended, such as one that an operator requested."""
        await self._drained.wait()

    async def aclose(self) -> None:
        """Drain, and leave nothing open."""
        if self._starts:  # the runs that are being inserted are drained as well
            await asyncio.wait(self._starts, timeout=self._timings.run_stop)
        await self.drain(self._conf.drain_seconds)
        await self.executor.aclose()
        await self._turns.aclose()
        await self.worker.signals.aclose(self._timings.receivers)
        if self._maintenance:
            await self._maintenance.aclose()
        await self._heartbeat.aclose()
        await self.log.aclose()
        await self.agents.aclose()
        # Last: a collector that does not respond delays nothing else.
        await self._telemetry.aclose()

    async def _start(self, request: RunRequest, place: Place) -> StartResult:
        result = await self._insert(request)
        place.release()  # the worker counts the run from here on
        if result.history is not None:
            self.executor.started(result.run, result.history)
        if result.interrupts:
            await self._interrupt(result.interrupts)
        if result.run.status == RunStatus.PENDING:
            self._await_turn(result.run.id)
        return structs.replace(result, history=None)  # it may hold much memory

    def _await_turn(self, run_id: str) -> None:
        """Execute a pending run in its turn, unless this process looks at its queue."""
        if self.executor.claims_at_start and not self.executor.executes_queued:
            self._turns.add(run_id)

    async def _interrupt(self, run_id: str) -> None:
        """Cancel a run for a pending one, now or with the next heartbeat."""
        try:
            await self.cancel(run_id)
        except Error:
            self.worker.lost_cancels.add(run_id)

    @property
    def _is_full(self) -> bool:
        """True if this process executes, or will at once, as many runs as it may."""
        return self.executor.claims_at_start and self.worker.free_places < 1

    async def _find_repeated(self, request: RunRequest) -> Run:
        """Return the run of a repeated request. Raises `RateLimited` for a new one."""
        if (key := request.run_key) and (
            run := await self._database.execute_read(find_run, key)
        ):
            return run
        raise RateLimited(FULL)

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

    def _start_ended(self, place: Place, task: asyncio.Task[StartResult]) -> None:
        # Also here: a task that is cancelled before its first step has no other end.
        place.release()
        self._starts.discard(task)
        if not task.cancelled():
            task.exception()  # retrieve it: the caller may have been cancelled

    async def _drain(self, seconds: float) -> None:
        self.log.release()
        await self.worker.drain(seconds)
        self._drained.set()

    def _lose_ownership(self, run_id: str) -> None:
        self.worker.lose_ownership(run_id)

    def _fail(self, run_id: str) -> None:
        self.worker.stop(run_id, InternalError())


def _caller_context(database: Database) -> Context:
    """Return a context in which code of the project runs in the caller's thread."""
    context = caller_context()
    context.run(use_in_task, database)
    return context


def worker_name() -> str:
    """Return a name that no other worker has, at most 64 characters."""
    return f"{socket.gethostname()[:32]}:{os.getpid()}:{secrets.token_hex(4)}"
