"""The worker of this process: it executes the runs that were claimed for it."""

import asyncio
import sys
from collections.abc import Callable, Collection, Mapping
from contextvars import Context
from functools import partial
from types import MappingProxyType

from streaming.agents.loops import AgentLoops
from streaming.auth.revocation import is_revoked
from streaming.budgets.callers import CallerLimits
from streaming.event_log import EventLog, OwnershipLost
from streaming.exceptions import AgentError, Forbidden, InternalError, ShuttingDown
from streaming.runs import attempts, recovery
from streaming.runs.attempts import Attempt
from streaming.runs.execution import Execution
from streaming.runs.lifecycle import Claim
from streaming.runs.pending import Enqueue
from streaming.runs.signal_sender import SignalSender
from streaming.runs.timings import Timings
from streaming.storage.database import Database

REVOKED = "The credentials that requested this run are no longer valid."


class Worker:
    """Executes each run as a task of this process and event loop."""

    def __init__(
        self,
        name: str,
        agents: AgentLoops,
        log: EventLog,
        database: Database,
        *,
        history_chars: int,
        timings: Timings,
        enqueue: Enqueue,
        run_max: int = 0,
        queues: Collection[str] = (),
        make_context: Callable[[], Context] = Context,
        hands_over: bool = True,
    ) -> None:
        #: The name of this process in the runs that it claims.
        self.name = name
        self.agents = agents
        self.database = database
        #: The number of runs that it executes at most; 0: no limit.
        self.run_max = run_max
        #: The queues of the queued runs that it claims; empty: all.
        self.queues = queues
        #: Runs that it is about to execute: they are being inserted, claimed or loaded.
        self.coming = 0
        self.signals = SignalSender(database)
        #: The durations of its executor's work.
        self.timings = timings
        self.limits = CallerLimits(database, agents.limits)
        self._log = log
        self._history_chars = history_chars
        self._enqueue = enqueue
        self._hands_over = hands_over
        # Empty by default: a run must not hold the request that started it.
        self._make_context = make_context
        self._executions: dict[str, Execution] = {}
        #: Attempts that began here and whose end the database may lack.
        self._begun: set[tuple[str, int]] = set()
        #: Runs that were cancelled here, which no other process has been told.
        self.lost_cancels: set[str] = set()
        #: Called with the id of a run that inputs of a run here have become.
        self.on_next_run: Callable[[str], object] = bool
        self._tasks: set[asyncio.Task[None]] = set()
        #: Called when a run has ended here: the queue waits for its place.
        self.on_free: Callable[[], None] | None = None
        #: Set when no more runs may be claimed.
        self.drain_begun = asyncio.Event()

    @property
    def executions(self) -> Mapping[str, Execution]:
        """The executions of this process by the ids of their runs."""
        return MappingProxyType(self._executions)

    @property
    def draining(self) -> bool:
        """Whether no more runs may be claimed."""
        return self.drain_begun.is_set()

    def take_place(self) -> "Place":
        """Keep a place for a run that is about to be executed here."""
        return Place(self)

    @property
    def free_places(self) -> int:
        """The number of runs that it may still take."""
        if not self.run_max:
            return sys.maxsize
        return self.run_max - len(self._executions) - self.coming

    def launch(self, attempt: Attempt) -> asyncio.Task[None]:
        """Execute a run that this worker has claimed, in a task of its own."""
        run = attempt.run
        execution = Execution(
            attempt,
            self.agents,
            self._log,
            self.database,
            self.timings,
            partial(self.limits.of, run.context.principal, run.agent),
            self._enqueue,
        )
        self._executions[run.id] = execution
        task = self._begin(execution)
        if attempt.is_first:
            self.signals.started(run.id)
        if self.draining:  # the run was inserted when the drain began
            self._end_early(execution)
        return task

    def _begin(self, execution: Execution) -> asyncio.Task[None]:
        context = self._make_context()
        task = asyncio.create_task(self._execute(execution), context=context)
        self._tasks.add(task)
        task.add_done_callback(partial(self._ended, execution), context=context)
        return task

    def _ended(self, execution: Execution, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._executions.get(execution.run.id) is execution:
            # Other code cancelled the task before its first step: none has been run,
            # and the run would never end.
            execution.stop(InternalError())
            self._begin(execution)

    async def execute(self, claim: Claim) -> None:
        """Load a claimed run, execute it to its end. Raises `OwnershipLost`.

        If the drain begins before the execution, the run returns to the queue. If its
        caller's credentials were revoked in the meantime, it fails as forbidden.
        """
        begun = (claim.id, claim.attempt)
        if begun in self._begun:  # a repeated claim returns it again
            raise OwnershipLost(claim.id)
        self._begun.add(begun)
        try:
            execution = await self._launch_or_release(claim)
        except BaseException:
            self._begun.discard(begun)
            raise
        if execution:
            await asyncio.shield(execution)

    async def _launch_or_release(self, claim: Claim) -> asyncio.Task[None] | None:
        """Return the task of a claimed run; None: the run returned to the queue."""
        self.coming += 1
        try:
            attempt, is_refused = await self.database.retry_while_unavailable(
                lambda: self.database.execute_read(self._load, claim)
            )
            while earlier := self._executions.get(claim.id):
                # This process had lost the run, and has not noticed that yet.
                earlier.lose_ownership()
                await earlier.ended.wait()
        finally:
            self.coming -= 1
        if self.draining:
            release = recovery.release
            await self.database.execute_write(release, claim, self._enqueue)
            # A run that was cancelled meanwhile has ended.
            self.signals.ended(claim.id, unclaimed=True)
            return None
        ended = self.launch(attempt)
        if is_refused:
            self.stop(claim.id, Forbidden(REVOKED))
        return ended

    def _load(self, claim: Claim) -> tuple[Attempt, bool]:
        """Return a claimed run, and whether its caller lost access in the queue."""
        attempt = attempts.load(claim, self._history_chars)
        return attempt, is_revoked(attempt.run.context.principal)

    def stop(self, run_id: str, error: AgentError | None = None) -> bool:
        """Stop a run, as cancelled or with an error; False if none is executed here."""
        execution = self._executions.get(run_id)
        if execution:
            execution.stop(error)
        return execution is not None

    def lose_ownership(self, run_id: str) -> None:
        """Stop a run that another process or a deletion has taken."""
        if execution := self._executions.get(run_id):
            execution.lose_ownership()

    def begin_drain(self) -> None:
        """Claim no more runs from now on."""
        self.drain_begun.set()

    async def drain(self, seconds: float) -> None:
        """Wait for the runs to end; hand over those that have not ended in time."""
        await self._wait(seconds)
        for execution in list(self._executions.values()):
            self._end_early(execution)
        await self._wait(self.timings.run_stop + self._more_seconds)

    @property
    def _more_seconds(self) -> float:
        """The time that the runs of a drain take together: one thread writes."""
        return self.timings.drain_per_run * len(self._executions)

    def _end_early(self, execution: Execution) -> None:
        execution.least_finish = self.timings.least_finish + self._more_seconds
        if self._hands_over:
            execution.hand_over()
        else:
            execution.stop(ShuttingDown())

    async def _wait(self, seconds: float) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)

    async def _execute(self, execution: Execution) -> None:
        try:
            await execution.execute()
        finally:
            run = execution.run
            del self._executions[run.id]
            if execution.is_stored:
                self._begun.discard((run.id, run.attempt))
            execution.ended.set()
            if execution.next_run:
                self.on_next_run(execution.next_run)
            if self.on_free:
                self.on_free()
            if execution.lost_cancel:
                self.lost_cancels.add(run.id)
            # A run that was cancelled meanwhile ends with its hand-over.
            handed_over = execution.is_handed_over
            if execution.is_stored or handed_over:
                self.signals.ended(run.id, unclaimed=handed_over)


class Place:
    """A place of a worker for a run that is being inserted; `release` counts once."""

    def __init__(self, worker: Worker) -> None:
        self._worker: Worker | None = worker
        worker.coming += 1

    def release(self) -> None:
        """Give the place up: the run is executed, or will not be."""
        if self._worker:
            self._worker.coming -= 1
            self._worker = None
