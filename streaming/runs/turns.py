"""The pending runs of a process that executes no queued runs, such as a command."""

import asyncio
import logging
from contextvars import Context

from django.db import Error

from streaming.aio.background import end_tasks
from streaming.runs import lifecycle, pending
from streaming.runs.queue import execute_claimed
from streaming.runs.worker import Worker
from streaming.storage.errors import describe

logger = logging.getLogger(__name__)


class Turns:
    """Executes pending runs of this process when it is their turn, until `aclose`."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, run_id: str) -> None:
        """Execute a run once it is queued, unless another process claims it first."""
        task = asyncio.create_task(self._await_turn(run_id), context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def aclose(self) -> None:
        """Leave the runs that are still pending to other processes."""
        await end_tasks(list(self._tasks))

    async def _await_turn(self, run_id: str) -> None:
        worker = self._worker
        while not worker.draining:
            try:
                if not await worker.database.execute_read(pending.find, [run_id]):
                    break
            except Error as error:
                logger.debug("turn not looked up: %s", describe(error))
            await asyncio.sleep(worker.timings.queue)
        database, fields = worker.database, {"run_id": run_id}
        try:
            claim = await database.retry_while_unavailable(
                lambda: database.execute_write(lifecycle.claim, run_id, worker.name)
            )
        except Error as error:
            logger.warning("queued run not claimed: %s", describe(error), extra=fields)
            return
        if claim:
            await execute_claimed(worker, claim)
