"""An executor for tests that queues its runs; a loop claims and executes them."""

import asyncio
from collections.abc import Collection, Sequence
from contextlib import suppress
from contextvars import Context
from typing import ClassVar

from streaming.models import Run, RunStatus
from streaming.runs import lifecycle
from streaming.runs.history import History
from streaming.runs.lifecycle import Claim
from streaming.runs.worker import Worker


class QueueExecutor:
    """Claims the runs that any process has queued, the oldest first."""

    claims_at_start = False
    #: The ids of the runs of each call of `enqueue`.
    enqueued: ClassVar[list[list[str]]] = []

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._wake = asyncio.Event()
        self._executing: set[asyncio.Task[None]] = set()
        self._claiming = asyncio.create_task(self._claim_forever(), context=Context())
        #: While true, queued runs stay queued.
        self.paused = False
        self.enqueued.clear()

    @property
    def executes_queued(self) -> bool:
        return True

    @classmethod
    def enqueue(cls, runs: Sequence[Run]) -> None:
        cls.enqueued.append([run.id for run in runs])

    @classmethod
    def cancel(cls, run_ids: Collection[str]) -> None:
        pass

    def started(self, run: Run, prepared: History) -> None:
        self._wake.set()

    def serve(self) -> None:
        pass

    def work(self) -> None:
        pass

    def wake(self) -> None:
        self._wake.set()

    def stop(self, run_id: str) -> bool:
        return self._worker.stop(run_id)

    async def execute(self, run_id: str, attempt: int) -> None:
        await self._worker.execute(Claim(run_id, self._worker.name, attempt))

    async def aclose(self) -> None:
        self._claiming.cancel()
        await asyncio.wait([self._claiming, *self._executing])

    async def _claim_forever(self) -> None:
        while not self._worker.draining:
            self._wake.clear()
            claim = None
            if not self.paused:
                claim = await self._worker.database.execute_write(
                    claim_oldest, self._worker.name
                )
            if claim:
                task = asyncio.create_task(self.execute(claim.id, claim.attempt))
                self._executing.add(task)
                task.add_done_callback(self._executing.discard)
                continue
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), 0.05)


def claim_oldest(worker: str) -> Claim | None:
    queued = Run.objects.filter(status=RunStatus.QUEUED).order_by("created_at", "id")
    for run_id in queued.values_list("id", flat=True):
        if claim := lifecycle.claim(run_id, worker):
            return claim
    return None
