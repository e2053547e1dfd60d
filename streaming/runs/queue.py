"""The queue of runs that no process has claimed, and the task that claims some of them.

The queue is the rows of the runs that are `queued`. Synchronous code inserts them, in
any process; each process that serves looks for them at intervals.

Owners take turns: the first run of each is claimed before the second one of any, so
that a long queue of one owner delays no other. Within a turn, the runs of agents with a
higher priority come first, then the older ones. Neither the queue nor the requests can
take all places of a process (`RUN_MAX`) from the other.
"""

import asyncio
import logging
import random
import time
from collections.abc import Collection
from contextlib import suppress
from contextvars import Context

import msgspec
from django.db import Error
from django.db.models import Count, F, Min, Window
from django.db.models.functions import RowNumber

from streaming.agents.declaration import DEFAULT_QUEUE
from streaming.event_log import OwnershipLost
from streaming.models import Run, RunStatus
from streaming.runs import lifecycle
from streaming.runs.lifecycle import Claim
from streaming.runs.worker import Worker
from streaming.storage.errors import describe
from streaming.storage.pauses import pause_after
from streaming.storage.sql import database_time

logger = logging.getLogger(__name__)

#: Runs that one transaction claims: the other processes have their turn.
BATCH = 8
#: One of so many places is kept for requests, and another one for queued runs.
PLACES = 8
#: The first runs of the queue, among which owners take turns.
WINDOW = 10_000


class QueueState(msgspec.Struct, frozen=True):
    """The length of the queue, and the time that its oldest run has waited."""

    runs: int
    oldest_seconds: float


class QueueClaims:
    """Claims queued runs and executes them, until `aclose` or the drain.

    `has_requests` tells whether requests take places of the same worker.
    """

    def __init__(self, worker: Worker, *, has_requests: bool) -> None:
        self._worker = worker
        self._has_requests = has_requests
        self._database = worker.database
        self._timings = worker.timings
        self._wake = asyncio.Event()
        #: True while one place is kept for a queued run that waits for it.
        self._has_reserved = False
        #: The runs of a claim whose result is unknown; each has a place.
        self._claiming: list[str] = []
        self._executing: set[asyncio.Task[None]] = set()
        self._late_runs = LateRuns(worker)
        # An empty context: the task outlives the request that first uses the service.
        self._task = asyncio.create_task(self._claim_forever(), context=Context())

    def wake(self) -> None:
        """Look at the queue now."""
        self._wake.set()

    async def aclose(self) -> None:
        """Stop claiming, after the drain of the worker.

        A claim in progress is awaited, and repeated if it fails, so that its runs
        return to the queue: otherwise no process has them until their leases expire.
        """
        self._wake.set()
        _, late = await asyncio.wait([self._task], timeout=self._timings.run_stop)
        for task in late:
            task.cancel()
        # A run that does not stop must not keep the process: its lease expires.
        rest = [self._task, *self._executing]
        await asyncio.wait(rest, timeout=self._timings.run_stop)

    async def _claim_forever(self) -> None:
        while self._claiming or not self._worker.draining:
            self._wake.clear()
            started, claimed = time.monotonic(), 0
            try:
                claimed = await self._claim()
                await self._late_runs.report()
            except Error as error:  # the heartbeat and the event log report an outage
                logger.debug("queue not read: %s", describe(error))
            except Exception:  # the task must go on: no other one would restart it
                logger.exception("queue not read")
            # A random interval: processes that start together do not all look at once.
            idle = self._timings.queue * random.uniform(0.5, 1.5)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_after(started) if claimed else idle):
                    await self._wake.wait()

    async def _claim(self) -> int:
        """Claim the next runs of the queue; return their number.

        A claim that failed is repeated first: it may have been committed.
        """
        worker = self._worker
        self._claiming = self._claiming or await self._take_places()
        if not self._claiming:
            return 0
        claims = await self._database.execute_write(
            lifecycle.claim_all, self._claiming, worker.name
        )
        worker.coming -= len(self._claiming) - len(claims)
        self._claiming = []
        for claim in claims:
            task = asyncio.create_task(self._execute(claim), context=Context())
            self._executing.add(task)
            task.add_done_callback(self._executing.discard)
        return len(claims)

    async def _take_places(self) -> list[str]:
        """Return the next runs of the queue, and take a place for each."""
        worker = self._worker
        limit = self._limit()
        worker.on_free = None if limit else self.wake
        found: list[str] = []
        if limit:
            found = await self._database.execute_read(
                next_in_queue, limit, worker.agents.keys, worker.queues
            )
        if not found or worker.draining:
            self._reserve(False)
            return []
        if worker.free_places + self._has_reserved < 1:
            self._reserve(True)
            return []
        self._reserve(False)
        # A run of this process that another one returned to the queue ends here first.
        found = [run_id for run_id in found if run_id not in worker.executions]
        run_ids = found[: worker.free_places]
        worker.coming += len(run_ids)
        return run_ids

    def _limit(self) -> int:
        """Return the number of queued runs that this process may claim now.

        Queued runs leave some places free for requests. As long as they have few
        places themselves they are entitled to one more, even if there is none yet.
        """
        worker = self._worker
        if worker.draining:
            return 0
        if not worker.run_max:
            return BATCH
        share = max(worker.run_max // PLACES, 1)
        kept = share if self._has_requests else 0
        free = worker.free_places + self._has_reserved - kept
        entitled = len(self._executing) < share
        return max(min(free, BATCH), int(entitled))

    def _reserve(self, wanted: bool) -> None:
        """Keep one place for a queued run, or give it up."""
        if wanted:
            self._worker.on_free = self.wake
        self._worker.coming += wanted - self._has_reserved
        self._has_reserved = wanted

    async def _execute(self, claim: Claim) -> None:
        self._worker.coming -= 1  # the worker counts it from here on
        await execute_claimed(self._worker, claim)
        if task := asyncio.current_task():
            self._executing.discard(task)  # its place is free for the next look
        if self._worker.on_free:
            self._worker.on_free()


class LateRuns:
    """The reports of runs that have been in the queue for long."""

    def __init__(self, worker: Worker) -> None:
        self._database = worker.database
        self._seconds = worker.timings.late_claim
        self._reported_at = time.monotonic()

    async def report(self) -> None:
        """Log such runs, once in the time after which a run counts as late."""
        if time.monotonic() - self._reported_at < self._seconds:
            return
        self._reported_at = time.monotonic()
        state = await self._database.execute_read(queue_state)
        if state.oldest_seconds >= self._seconds:
            fields = msgspec.structs.asdict(state)
            logger.warning("queued runs not claimed for long", extra=fields)


async def execute_claimed(worker: Worker, claim: Claim) -> None:
    """Execute a claimed run. If that fails, its lease expires."""
    fields = {"run_id": claim.id}
    try:
        await worker.execute(claim)
    except OwnershipLost:
        logger.info("claimed run lost", extra=fields)
    except Error as error:
        logger.warning("claimed run not loaded: %s", describe(error), extra=fields)
    except Exception:  # it would be lost with this task, which nothing awaits
        logger.exception("claimed run not executed", extra=fields)


def queue_state() -> QueueState:
    """Return the state of the queue.

    A run without an owner had its last heartbeat when it entered the queue, or before.
    """
    queued = Run.objects.filter(status=RunStatus.QUEUED)
    found = queued.aggregate(runs=Count("id"), oldest=Min("heartbeat_at"))
    if found["oldest"] is None:
        return QueueState(0, 0.0)
    waited = (database_time() - found["oldest"]).total_seconds()
    return QueueState(found["runs"], max(waited, 0.0))


def next_in_queue(
    limit: int, agents: Collection[str], queues: Collection[str] = ()
) -> list[str]:
    """Return the queued runs of some agents that are to be claimed next.

    Those of other agents wait for a process that has them, such as a newer version.
    `queues` selects runs by their queues; empty: those of all queues.
    """
    queued = Run.objects.filter(status=RunStatus.QUEUED, agent__in=agents)
    if queues:
        # Runs of the previous version name no queue.
        names = {*queues, ""} if DEFAULT_QUEUE in queues else queues
        queued = queued.filter(queue__in=names)
    turn = Window(
        RowNumber(),
        partition_by=[F("organization"), F("owner")],
        order_by=[F("priority").desc(), F("created_at").asc(), F("id").asc()],
    )
    first = queued.order_by("-priority", "created_at", "id").values("id")[:WINDOW]
    in_turn = queued.filter(id__in=first).annotate(turn=turn)
    in_turn = in_turn.order_by("turn", "-priority", "created_at", "id")
    return list(in_turn.values_list("id", flat=True)[:limit])
