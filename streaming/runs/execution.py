"""The execution of one claimed run, from its first model call to its last event.

The end of a run is derived from the task of its agent: the task returned, this module
stopped it, or the run failed. Nothing else ends a run.

A cancel reaches the provider here: `Execution.stop` cancels the task that reads the
provider's response, which closes the connection.
"""

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import aclosing, contextmanager
from functools import partial

from django.db import Error
from django.utils import timezone

from streaming.agent.loop import Agent, Progress
from streaming.aio.outlast import outlast
from streaming.event_log import EventLog, OwnershipLost
from streaming.events import Content, Event, Thinking
from streaming.exceptions import (
    AgentError,
    DatabaseUnavailable,
    InternalError,
    Interrupted,
    ShuttingDown,
)
from streaming.runs import store
from streaming.runs.ending import last_events
from streaming.runs.history import History
from streaming.runs.store import OwnedRun, RunResult
from streaming.runs.timings import Timings
from streaming.storage.database import Database
from streaming.storage.errors import describe, is_rejection, is_temporary

logger = logging.getLogger(__name__)

#: Attempts to write a run's end while other code cancels the task that writes it.
END_ATTEMPTS = 3


class Execution:
    """Runs the agent for one run, and writes the end of the run in every case.

    The agent works in a task of its own, which may be cancelled at any time. A
    cancellation of the task that awaits `execute` stops the agent; the end is written
    nevertheless.
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
        #: True if the agent has returned: only then its own stop reason counts.
        self._returned = False
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
        await outlast(self._finished, self._cancelled_by_other_code)
        self._settle_end()
        events = last_events(self._progress, self._error)
        for _ in range(END_ATTEMPTS):
            writing = asyncio.create_task(self._finish(events))
            try:
                await outlast(writing, lambda: None)
                break
            except asyncio.CancelledError:
                logger.warning("run end cancelled", extra={"run_id": self.run.id})
        else:
            self._abandon(InternalError())
        self._report()

    def stop(self, error: AgentError | None = None) -> None:
        """Stop the agent and its provider now: as cancelled, or with an error."""
        if self._stopped or self._returned or self._finished.done():
            return
        self._stopped = True
        self._error = error
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

    def _cancelled_by_other_code(self) -> None:
        """Stop as failed; a tool or a server may cancel all tasks of the event loop."""
        fields = {"run_id": self.run.id}
        logger.error("run failed: task cancelled", extra=fields)
        self.stop(InternalError())

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
            self._returned = not self._stopped
        except AgentError as error:
            self._fail(error)
        except OwnershipLost:
            self._lost = True
        except asyncio.CancelledError:
            raise  # by `stop`, or by other code: `_settle_end` tells them apart
        except BaseException as error:
            # Not only an Exception: KeyboardInterrupt would end the event loop.
            fields = {"run_id": self.run.id}
            if is_temporary(error):
                logger.warning("run failed: %s", describe(error), extra=fields)
                self._fail(DatabaseUnavailable())
            else:
                logger.exception("run failed: %s", describe(error), extra=fields)
                self._fail(InternalError())

    def _settle_end(self) -> None:
        """Derive the end of the run from the task of its agent, for good."""
        if self._lost:
            self._error = Interrupted()
        elif self._stopped and not self._error:
            self._progress.stop_reason = "cancelled"
        elif not (self._returned or self._error):
            logger.error("run failed: task cancelled", extra={"run_id": self.run.id})
            self._error = InternalError()
        self._stopped = True  # a later stop must not change the end

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

    async def _finish(self, events: Sequence[Event]) -> None:
        """Write the end; retry for a while if the database is unavailable."""
        result = RunResult(self.run, self._progress, self._error, self._saved_messages)
        # The events are made once: an attempt that failed may have been committed.
        close = partial(self._log.close, self.run.id, events, result, store.finish_runs)
        try:
            async with asyncio.timeout(self._finish_seconds()):
                await self._database.retry_while_unavailable(close)
        except OwnershipLost:
            cancelled = self._progress.stop_reason == "cancelled"
            self._abandon(None if cancelled else Interrupted())
        except Exception as error:
            reason, fields = describe(error), {"run_id": self.run.id}
            logger.exception("run end not stored: %s", reason, extra=fields)
            if is_rejection(error):
                await self._finish_without_result()
            else:
                is_outage = isinstance(error, Error | TimeoutError)
                self._abandon(DatabaseUnavailable() if is_outage else InternalError())

    async def _finish_without_result(self) -> None:
        """Write the least of an end: the database rejected a value of the full one.

        The pending events are left out if they contain a rejected value too.
        """
        self._error = InternalError()
        events = last_events(self._progress, self._error)
        for drop_pending in (False, True):
            close = partial(
                self._log.close,
                self.run.id,
                events,
                self.run,
                store.fail_runs,
                drop_pending=drop_pending,
            )
            try:
                async with asyncio.timeout(self._finish_seconds()):
                    await self._database.retry_while_unavailable(close)
                return
            except OwnershipLost:
                self._abandon(Interrupted())
                return
            except Exception as error:
                reason, fields = describe(error), {"run_id": self.run.id}
                logger.exception("run end not stored: %s", reason, extra=fields)
        self._abandon(InternalError())

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
