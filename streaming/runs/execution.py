"""The execution of one claimed run, from its first model call to its last event.

A cancel reaches the provider here: `Execution.stop` cancels the task that reads the
provider's response, which closes the connection.
"""

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from functools import partial

from django.db import Error
from django.utils import timezone

from streaming.agent.loop import Agent, Progress
from streaming.event_log import EventLog, OwnershipLost
from streaming.events import Content, Event, Thinking
from streaming.exceptions import (
    AgentError,
    InternalError,
    Interrupted,
    ShuttingDown,
    database_unavailable,
)
from streaming.runs import store
from streaming.runs.ending import last_events
from streaming.runs.history import History
from streaming.runs.store import OwnedRun, RunResult
from streaming.runs.timings import Timings
from streaming.storage.database import Database

logger = logging.getLogger(__name__)


class Execution:
    """Runs the agent for one run, and writes the end of the run in every case.

    The agent works in a task of its own, which may be cancelled at any time. The task
    that awaits `execute` is never cancelled, so that it can always write the end.
    """

    def __init__(
        self,
        run: OwnedRun,
        history: History,
        agent: Agent,
        log: EventLog,
        database: Database,
        timings: Timings,
    ) -> None:
        self.run = run
        self.readers = 0
        #: Last time that a reader was connected to this process (time.monotonic()).
        self.last_reader_at = time.monotonic()
        self._history = history
        self._agent = agent
        self._log = log
        self._database = database
        self._timings = timings
        self._progress = Progress()
        #: How many messages are durable; None: the result of a checkpoint is unknown.
        self._saved_messages: int | None = 0
        self._error: AgentError | None = None
        self._lost = False
        self._work: asyncio.Task[None] | None = None
        self._stopped = False
        self._finished: asyncio.Future[None] = (
            asyncio.get_running_loop().create_future()
        )
        log.open(run.id, run.attempt)

    async def execute(self) -> None:
        """Run the agent to its end, and write the end."""
        self._work = asyncio.create_task(self._run_agent())
        self._work.add_done_callback(self._agent_ended)
        if self._stopped:
            self._cancel_agent(self._work)
        await self._finished
        self._stopped = True  # a later stop must not change the end
        try:
            await self._finish()
        except Exception:  # the last resort: readers would wait for ever otherwise
            logger.exception("run end not stored", extra={"run_id": self.run.id})
            self._abandon(InternalError())
        self._report()

    def stop(self, error: AgentError | None = None) -> None:
        """Stop the agent and its provider now: as cancelled, or with an error."""
        if self._stopped or self._finished.done():
            return
        self._stopped = True
        self._error = error
        if error is None:
            self._progress.stop_reason = "cancelled"
        if self._work:
            self._cancel_agent(self._work)

    def lose_ownership(self) -> None:
        """Stop now and write nothing: another process or a deletion ended the run."""
        self._lost = True
        self.stop()

    @contextmanager
    def reader(self) -> Iterator[None]:
        """Count a reader of this process for as long as it is connected."""
        self.readers += 1
        try:
            yield
        finally:
            self.readers -= 1
            self.last_reader_at = time.monotonic()

    def _cancel_agent(self, work: asyncio.Task[None]) -> None:
        work.cancel()
        loop = asyncio.get_running_loop()
        loop.call_later(self._timings.agent_stop, self._agent_ended)

    def _agent_ended(self, _work: asyncio.Task[None] | None = None) -> None:
        if not self._finished.done():
            self._finished.set_result(None)

    async def _run_agent(self) -> None:
        try:
            batches = self._agent.run(
                self._history(),
                self.run.context,
                max_iterations=self.run.max_iterations,
                progress=self._progress,
                checkpoint=self._checkpoint,
            )
            del self._history  # it may hold as much memory again
            async with aclosing(batches):
                async for events in batches:
                    self._publish(events)
        except AgentError as error:
            self._fail(error)
        except OwnershipLost:
            self._lost = True
        except Error:
            self._fail(database_unavailable())
        except Exception:  # a fault of this code or a provider: end the run with it
            logger.exception("run failed", extra={"run_id": self.run.id})
            self._fail(InternalError())

    def _fail(self, error: AgentError) -> None:
        if not self._stopped:  # a stopped agent fails because of that
            self._error = error

    def _publish(self, events: list[Event]) -> None:
        if self._finished.done():  # the agent did not stop in time
            raise OwnershipLost(self.run.id)
        if logger.isEnabledFor(logging.DEBUG):
            for event in events:
                logger.debug("%s %s", self.run.id, event)
        self._log.append(self.run.id, events)
        if not self.run.first_token_at and isinstance(events[0], Content | Thinking):
            self.run.first_token_at = timezone.now()

    async def _checkpoint(self) -> None:
        if self._finished.done():
            raise OwnershipLost(self.run.id)
        messages = list(self._progress.messages)
        commit = partial(store.checkpoint, self.run, messages)
        self._saved_messages = None
        await self._database.retry_while_unavailable(
            lambda: self._log.checkpoint(self.run.id, commit)
        )
        self._saved_messages = len(messages)

    async def _finish(self) -> None:
        """Write the end; retry for a while if the database is unavailable."""
        # The events are made once: an attempt that failed may have been committed.
        events = last_events(self._progress, self._error)
        result = RunResult(self.run, self._progress, self._error, self._saved_messages)
        close = partial(self._log.close, self.run.id, events, result, store.finish_runs)
        try:
            async with asyncio.timeout(self._finish_seconds()):
                await self._database.retry_while_unavailable(close)
        except OwnershipLost:
            cancelled = self._progress.stop_reason == "cancelled" and not self._lost
            self._abandon(None if cancelled else Interrupted())
        except (Error, TimeoutError):
            logger.exception("run end not stored", extra={"run_id": self.run.id})
            self._abandon(database_unavailable())

    def _finish_seconds(self) -> float:
        """Return the time limit for the end, less the time of an outage until now."""
        least = self._timings.least_finish
        if isinstance(self._error, ShuttingDown):
            return least
        since = self._log.failing_since
        failing = time.monotonic() - since if since else 0.0
        return max(self._database.timeout_seconds - failing, least)

    def _abandon(self, error: AgentError | None) -> None:
        """Send the end to this process's readers only.

        The process that ends the run in the database ends it for all other readers.
        """
        self._error = error
        self._log.abandon(self.run.id, last_events(self._progress, error))

    def _report(self) -> None:
        progress = self._progress
        outcome = self._error.code if self._error else progress.stop_reason
        fields = {
            "run_id": self.run.id,
            "org_id": self.run.context.org_id,
            "outcome": outcome,
            "duration_ms": progress.summary().execution_time_ms,
            "input_tokens": progress.usage.input_tokens,
            "output_tokens": progress.usage.output_tokens,
        }
        logger.info("run ended: %s", outcome, extra=fields)
