"""The fetching of jobs, which goes on over lost connections.

procrastinate's worker ends when its connection breaks in a query, and then waits for
its jobs; its listener may end for good. Here a worker that ended is replaced by a new
one with new connections, while the runs of its jobs go on: they are tasks of this
process. The row of a run, and not its job, says which process executes it.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from contextvars import Context
from functools import partial
from typing import Any, LiteralString, TypeVar

import psycopg
from procrastinate import App, PsycopgConnector
from procrastinate.contrib.django.utils import connector_params
from procrastinate.exceptions import ConnectorException
from psycopg_pool import PoolTimeout

from streaming.runs.executors.procrastinate.jobs import TASK, job_queue
from streaming.storage.alias import app_alias
from streaming.storage.errors import describe

logger = logging.getLogger(__name__)

#: Pause before new connections after the old ones were lost.
RECONNECT_SECONDS = 0.5
#: Interval at which jobs are looked for beside the notifications. The worker forgets a
#: notification that comes while it fetches.
POLL_SECONDS = 1.0
#: Options of the pool. A pool that waits longer stays stuck after an outage: only a new
#: request for a connection makes it try again.
POOL: dict[str, Any] = {
    "min_size": 1,
    "max_size": 2,
    "timeout": 3.0,
    "reconnect_timeout": 2.0,
}

#: Usual time for a statement to get a connection.
TURN_SECONDS = 30.0

T = TypeVar("T")
RunJob = Callable[..., Awaitable[None]]


class JobFetcher:
    """Fetches the jobs of some queues from construction to `aclose`.

    `run_job` is called with each job's context and arguments, for at most `concurrency`
    jobs at a time.
    """

    def __init__(
        self, run_job: RunJob, queues: Iterable[str], concurrency: int
    ) -> None:
        self._queues = sorted(map(job_queue, queues))
        self._concurrency = concurrency
        self._run_job = run_job
        self._closing = False
        self._connector: PatientConnector | None = None
        self._task = asyncio.create_task(self._fetch_forever(), context=Context())

    async def aclose(self) -> None:
        """Fetch no more jobs. The runs of the fetched ones go on.

        The worker writes to the database before it ends; if the caller is cancelled
        meanwhile, it stops waiting for that.
        """
        self._closing = True  # a worker that fails as it ends hides the cancellation
        self._task.cancel()
        try:
            await asyncio.wait([self._task])
        except asyncio.CancelledError:
            if self._connector:  # procrastinate goes on after some cancellations
                self._connector.turn_seconds = 0.0
            self._task.cancel()
            raise

    async def _fetch_forever(self) -> None:
        while not self._closing:
            try:
                await self._fetch()
            except (ConnectorException, psycopg.Error) as error:
                logger.warning("jobs not fetched: %s", describe(error))
            except Exception:  # the task must go on: no other one would restart it
                logger.exception("jobs not fetched")
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _fetch(self) -> None:
        """Fetch jobs with a new worker of procrastinate, until it ends."""
        params = connector_params(app_alias())
        self._connector = PatientConnector(kwargs=params, **POOL)
        app = App(connector=self._connector)
        app.task(name=TASK, pass_context=True)(self._run_job)
        async with app.open_async():
            await app.run_worker_async(
                queues=self._queues,
                concurrency=self._concurrency,
                install_signal_handlers=False,
                shutdown_graceful_timeout=0.1,
                fetch_job_polling_interval=POLL_SECONDS,
                delete_jobs="always",
            )


class PatientConnector(PsycopgConnector):
    """A connector that waits for its turn, and listens again after a lost connection.

    Hundreds of jobs may end at the same moment. A request for a connection that the
    pool did not serve in time is repeated, which is safe: no statement was sent.
    """

    #: Time for a statement to get a connection; less at the end of the process.
    turn_seconds = TURN_SECONDS

    async def execute_query_async(self, query: LiteralString, **values: Any) -> None:  # noqa: ANN401
        """Execute a statement."""
        await self._in_turn(partial(super().execute_query_async, query, **values))

    async def execute_query_one_async(
        self,
        query: LiteralString,
        **values: Any,  # noqa: ANN401
    ) -> dict[str, Any]:
        """Execute a statement and return its one row."""
        return await self._in_turn(
            partial(super().execute_query_one_async, query, **values)
        )

    async def execute_query_all_async(
        self,
        query: LiteralString,
        **values: Any,  # noqa: ANN401
    ) -> list[dict[str, Any]]:
        """Execute a statement and return its rows."""
        return await self._in_turn(
            partial(super().execute_query_all_async, query, **values)
        )

    async def listen_notify(self, on_notification: Any, channels: Any) -> None:  # noqa: ANN401  (of procrastinate)
        """Listen until the task is cancelled."""
        names = list(channels)
        while True:
            with suppress(ConnectorException):
                await super().listen_notify(on_notification, names)
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _in_turn(self, call: Callable[[], Awaitable[T]]) -> T:
        """Await `call()`, again if its pool had no connection, for a while."""
        began = time.monotonic()
        while True:
            try:
                return await call()
            except ConnectorException as error:
                is_late = isinstance(error.__cause__, PoolTimeout)
                if not is_late or time.monotonic() - began > self.turn_seconds:
                    raise
