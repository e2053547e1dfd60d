"""The runs of this process: started here, watched here, stopped here."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from contextvars import Context

from streaming.agent.loop import Agent
from streaming.conf import AgentConf
from streaming.event_log import DatabaseLog
from streaming.events import Entry
from streaming.exceptions import ShuttingDown
from streaming.models import Run
from streaming.runs.execution import Execution
from streaming.runs.heartbeat import Heartbeat
from streaming.runs.history import History
from streaming.runs.maintenance import Maintenance
from streaming.runs.store import OwnedRun

#: What a run may take to write its end after it was stopped.
STOP_SECONDS = 5.0


class InProcessExecutor:
    """Runs each run as a task of this process and event loop."""

    def __init__(self, agent: Agent, conf: AgentConf, worker: str) -> None:
        self.agent = agent
        self.worker = worker
        self._drain_task: asyncio.Task[None] | None = None
        self.log = DatabaseLog(worker, conf.event_flush_ms / 1000, self._lose_ownership)
        self._conf = conf
        self._executions: dict[str, Execution] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._heartbeat = Heartbeat(self._executions, self.log, conf, worker)
        self._maintenance = Maintenance(conf)

    def submit(self, run: Run, history: History) -> None:
        """Start a run that was just created for this worker."""
        execution = Execution(OwnedRun.of(run), history, self.agent, self.log)
        self._executions[run.id] = execution
        # An empty one: a run must not hold on to the request that started it.
        context = Context()
        task = asyncio.create_task(self._execute(execution), context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard, context=context)
        if self.draining:  # it was being created when that began
            execution.stop(ShuttingDown())

    def stop(self, run_id: str) -> bool:
        """Cancel a run that is under way here; false when none is."""
        execution = self._executions.get(run_id)
        if execution:
            execution.stop()
        return execution is not None

    @asynccontextmanager
    async def following(
        self, run_id: str, after: int
    ) -> AsyncIterator[AsyncGenerator[list[Entry]]]:
        """The run's events after a number; an empty batch now and then in silence.

        While somebody follows, the run is not given up.
        """
        batches = self.log.follow(run_id, after, self._conf.stream_heartbeat_seconds)
        execution = self._executions.get(run_id)
        with execution.listening() if execution else self._heartbeat.listening(run_id):
            async with aclosing(batches):
                yield batches

    @property
    def draining(self) -> bool:
        """Whether no more runs are taken."""
        return self._drain_task is not None

    async def drain(self, seconds: float) -> None:
        """Take no more runs, give those under way some time, then stop them.

        The first call sets the time; each returns when all runs have ended.
        """
        if self._drain_task is None:
            self._drain_task = asyncio.create_task(self._drain(seconds))
        await asyncio.shield(self._drain_task)

    async def aclose(self) -> None:
        """Drain, and leave nothing open."""
        await self.drain(self._conf.drain_seconds)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=STOP_SECONDS)
        await self._maintenance.aclose()
        await self._heartbeat.aclose()
        await self.log.aclose()
        await self.agent.provider.aclose()

    async def _drain(self, seconds: float) -> None:
        self.log.release()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        for execution in list(self._executions.values()):
            execution.stop(ShuttingDown())
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=STOP_SECONDS)

    async def _execute(self, execution: Execution) -> None:
        try:
            await execution.execute()
        finally:
            del self._executions[execution.run.id]

    def _lose_ownership(self, run_id: str) -> None:
        if execution := self._executions.get(run_id):
            execution.lose_ownership()
