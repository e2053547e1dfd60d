"""The search for queued runs that have no job: no worker would ever look at them.

A worker that is killed between the fetch of a job and the claim of its run leaves such
a run. So does another executor that was configured before. Jobs that were fetched for
runs which have ended, or have a newer job, are deleted.
"""

import asyncio
import logging
import random
from contextvars import Context

from django.db import Error

from streaming.aio.background import end_tasks
from streaming.runs.executors.procrastinate import jobs
from streaming.runs.queue import LateRuns
from streaming.runs.worker import Worker
from streaming.storage.errors import describe

logger = logging.getLogger(__name__)


class JobRepair:
    """Looks for queued runs without a job, and jobs without a run, until `aclose`.

    Two looks in a row must have the same result: a worker that has fetched a job claims
    its run in the meantime, and one whose run has ended deletes its job.
    """

    def __init__(self, worker: Worker) -> None:
        self._database = worker.database
        self._interval = worker.timings.job_repair
        self._late_runs = LateRuns(worker)
        #: The results of the last look.
        self._found: dict[str, int | None] = {}
        self._left_over: set[int] = set()
        self._task = asyncio.create_task(self._look_forever(), context=Context())

    async def aclose(self) -> None:
        """Stop looking."""
        await end_tasks([self._task])

    async def _look_forever(self) -> None:
        while True:
            # A random interval: processes that start together do not all look at once.
            await asyncio.sleep(self._interval * random.uniform(0.75, 1.25))
            try:
                await self._look()
                await self._late_runs.report()
            except Error as error:  # the heartbeat and the event log report an outage
                self._found.clear()
                self._left_over.clear()
                logger.debug("jobs not repaired: %s", describe(error))
            except Exception:  # the task must go on: no other one would restart it
                logger.exception("jobs not repaired")

    async def _look(self) -> None:
        database = self._database
        found = await database.execute_read(jobs.find_without_job)
        for run_id, job_id in found.items() & self._found.items():
            if await database.execute_write(jobs.defer_again, run_id, job_id):
                fields = {"run_id": run_id}
                logger.warning("queued run enqueued again: no job", extra=fields)
        left_over = await database.execute_read(jobs.find_left_over)
        if both := left_over & self._left_over:
            await database.execute_write(jobs.delete, both)
        self._found, self._left_over = found, left_over
