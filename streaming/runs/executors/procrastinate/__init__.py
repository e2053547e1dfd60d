"""The executor of runs as jobs of procrastinate, in worker processes of their own.

A process that serves requests only enqueues runs and follows them. `manage.py
agent_worker` fetches their jobs. A job starts its run and waits for its end: liveness,
attempts and fencing belong to the row of the run, as with every executor.
"""

import asyncio
import logging
import sys
from collections.abc import Collection, Sequence
from contextvars import Context

from django.db import Error

try:
    from procrastinate import JobContext
except ImportError as error:
    raise ImportError("install agent-stream[procrastinate]") from error
from procrastinate.job_context import AbortReason

from streaming.models import Run
from streaming.runs import lifecycle
from streaming.runs.executors.procrastinate import jobs
from streaming.runs.executors.procrastinate.fetching import JobFetcher
from streaming.runs.executors.procrastinate.repair import JobRepair
from streaming.runs.history import History
from streaming.runs.lifecycle import Claim
from streaming.runs.queue import execute_claimed
from streaming.runs.worker import Worker
from streaming.storage.errors import describe

logger = logging.getLogger(__name__)


class ProcrastinateExecutor:
    """Enqueues a job for each run; in an agent worker, it also executes runs."""

    claims_at_start = False

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._repair: JobRepair | None = None
        self._fetching: asyncio.Task[None] | None = None
        #: The runs of fetched jobs, which outlive the jobs after a lost connection.
        self._executing: set[asyncio.Task[None]] = set()
        self._concurrency = worker.run_max or sys.maxsize
        #: Places of runs. After a lost connection some are taken by runs without a job.
        self._places = asyncio.Semaphore(self._concurrency)

    @property
    def executes_queued(self) -> bool:
        """True from `work` on: a process that serves requests executes nothing."""
        return self._fetching is not None

    @classmethod
    def enqueue(cls, runs: Sequence[Run]) -> None:
        """Insert a job for each run."""
        jobs.defer(runs)

    @classmethod
    def cancel(cls, run_ids: Collection[str]) -> None:
        """Delete the waiting jobs of runs, and have the other ones aborted."""
        jobs.cancel(run_ids)

    def started(self, run: Run, prepared: History) -> None:
        """Do nothing: the commit has notified the workers."""

    def serve(self) -> None:
        """Enqueue queued runs again that have lost their jobs; execute none."""
        if self._repair is None:
            self._repair = JobRepair(self._worker)

    def work(self) -> None:
        """Execute the runs of the worker's queues from now on."""
        self.serve()
        if self._fetching is None:
            self._fetching = asyncio.create_task(
                self._fetch_until_drain(), context=Context()
            )

    def wake(self) -> None:
        """Do nothing: the commit of a job notifies the workers."""

    def stop(self, run_id: str) -> bool:
        """Cancel a run; return False if this process does not execute it."""
        return self._worker.stop(run_id)

    async def execute(self, run_id: str, attempt: int) -> None:
        """Execute a claimed run, loaded from the database."""
        await self._worker.execute(Claim(run_id, self._worker.name, attempt))

    async def aclose(self) -> None:
        """Stop fetching and looking for lost jobs; an outage does not delay it."""
        if self._fetching:  # it ends by itself: the drain has begun before
            await self._end([self._fetching])
        if self._repair:
            await self._repair.aclose()
        await self._end(self._executing)

    async def _end(self, tasks: Collection[asyncio.Task[None]]) -> None:
        """Wait for tasks to end, for a while; cancel those that wait for the database.

        What they leave is found: `JobRepair` of other processes looks for queued runs
        and left-over jobs, and the leases of claimed runs expire.
        """
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=self._worker.timings.run_stop)
        for task in late:
            task.cancel()
        if late:
            logger.warning("jobs left to other workers: no response of the database")

    async def _fetch_until_drain(self) -> None:
        worker = self._worker
        queues = worker.queues or worker.agents.queues
        fetcher = JobFetcher(self._run_job, queues, self._concurrency)
        await worker.drain_begun.wait()
        await fetcher.aclose()

    async def _run_job(self, context: JobContext, run_id: str, agent: str) -> None:
        """Execute the run of a job, in a task that ends with the run."""
        job_id = context.job.id
        execution = asyncio.create_task(
            self._execute_in_place(run_id, agent, job_id), context=Context()
        )
        self._executing.add(execution)
        execution.add_done_callback(self._executing.discard)
        try:
            await asyncio.shield(execution)
        except asyncio.CancelledError:
            if context.abort_reason() is not AbortReason.USER_REQUEST:
                raise  # the fetching ended; the run goes on
            self._worker.stop(run_id)
            await asyncio.wait([execution])

    async def _execute_in_place(
        self, run_id: str, agent: str, job_id: int | None
    ) -> None:
        async with self._places:
            await self._execute_queued(run_id, agent, job_id)

    async def _execute_queued(
        self, run_id: str, agent: str, job_id: int | None
    ) -> None:
        """Claim a run if it is queued, and execute it to its end."""
        if agent not in self._worker.agents.keys:
            # Another process may have it, such as a newer version: `JobRepair` asks it.
            logger.info("queued run left: no such agent", extra={"run_id": run_id})
            return
        database = self._worker.database
        try:
            if self._worker.draining:
                await database.execute_write(jobs.defer_again, run_id, job_id)
                return
            claim = await database.retry_while_unavailable(
                lambda: database.execute_write(
                    lifecycle.claim, run_id, self._worker.name
                )
            )
        except Error as error:
            fields = {"run_id": run_id}
            logger.warning("queued run not claimed: %s", describe(error), extra=fields)
            return
        if claim:
            await execute_claimed(self._worker, claim)


executor = ProcrastinateExecutor
