"""The pending runs of a process that executes no queued runs, such as a command."""

import asyncio
import logging
from contextlib import suppress
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
        """Leave the runs that are still pending to other processes, after the drain.

        A claim in progress is awaited, so that its run returns to the queue: otherwise
        no process has it until its lease expires.
        """
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._worker.timings.run_stop)
        await end_tasks(list(self._tasks))

    async def _is_over(self, run_id: str) -> bool:
        """Return whether a run is no more pending, as far as that can be read."""
        try:
            return not await self._worker.database.execute_read(pending.find, [run_id])
        except Error as error:
            logger.debug("turn not looked up: %s", describe(error))
            return False

    async def _await_turn(self, run_id: str) -> None:
        worker = self._worker
        while not await self._is_over(run_id):
            with suppress(TimeoutError):
                async with asyncio.timeout(worker.timings.queue):
                    await worker.drain_begun.wait()
            if worker.draining:
                return
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
