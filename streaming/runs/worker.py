"""The worker of this process: it executes the runs that were claimed for it."""

import asyncio
from collections.abc import Mapping
from contextvars import Context
from types import MappingProxyType

from streaming.agent.loop import Agent
from streaming.event_log import EventLog
from streaming.exceptions import AgentError, ShuttingDown
from streaming.runs import store
from streaming.runs.execution import Execution
from streaming.runs.history import History
from streaming.runs.lifecycle import Claim
from streaming.runs.store import OwnedRun
from streaming.runs.timings import Timings
from streaming.storage.database import Database


class Worker:
    """Executes each run as a task of this process and event loop."""

    def __init__(
        self,
        name: str,
        agent: Agent,
        log: EventLog,
        database: Database,
        *,
        history_chars: int,
        timings: Timings,
    ) -> None:
        #: The name of this process in the runs that it claims.
        self.name = name
        self.agent = agent
        self.database = database
        self._log = log
        self._history_chars = history_chars
        self._timings = timings
        self._executions: dict[str, Execution] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._draining = False

    @property
    def executions(self) -> Mapping[str, Execution]:
        """The executions of this process by the ids of their runs."""
        return MappingProxyType(self._executions)

    @property
    def draining(self) -> bool:
        """Whether no more runs may be claimed."""
        return self._draining

    def launch(self, run: OwnedRun, history: History) -> asyncio.Task[None]:
        """Execute a run that this worker has claimed, in a task of its own."""
        execution = Execution(
            run, history, self.agent, self._log, self.database, self._timings
        )
        self._executions[run.id] = execution
        # An empty context: a run must not hold the request that started it.
        context = Context()
        task = asyncio.create_task(self._execute(execution), context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard, context=context)
        if self._draining:  # the run was inserted when the drain began
            execution.stop(ShuttingDown())
        return task

    async def execute(self, claim: Claim) -> None:
        """Load a claimed run, execute it to its end. Raises `OwnershipLost`."""
        run, history = await self.database.execute_read(
            store.load_claimed, claim, self._history_chars
        )
        await asyncio.shield(self.launch(run, history))

    def stop(self, run_id: str, error: AgentError | None = None) -> bool:
        """Stop a run, as cancelled or with an error; False if none is executed here."""
        execution = self._executions.get(run_id)
        if execution:
            execution.stop(error)
        return execution is not None

    def lose_ownership(self, run_id: str) -> None:
        """Stop a run that another process or a deletion has ended."""
        if execution := self._executions.get(run_id):
            execution.lose_ownership()

    def begin_drain(self) -> None:
        """Claim no more runs from now on."""
        self._draining = True

    async def drain(self, seconds: float) -> None:
        """Wait for the runs to end; stop those that have not ended in time."""
        await self._wait(seconds)
        for execution in list(self._executions.values()):
            execution.stop(ShuttingDown())
        await self._wait(self._timings.run_stop)

    async def _wait(self, seconds: float) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)

    async def _execute(self, execution: Execution) -> None:
        try:
            await execution.execute()
        finally:
            del self._executions[execution.run.id]
