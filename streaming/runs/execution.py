"""One run under way in this process, from its first model call to its last event."""

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
from streaming.events import (
    Complete,
    CompleteInfo,
    Content,
    Done,
    ErrorEvent,
    ErrorInfo,
    Event,
    Thinking,
)
from streaming.exceptions import (
    AgentError,
    InternalError,
    Interrupted,
    ShuttingDown,
    database_unavailable,
)
from streaming.runs import store
from streaming.runs.history import History
from streaming.runs.store import OwnedRun, RunResult
from streaming.storage import database

logger = logging.getLogger(__name__)

#: What the database may take for a run's end, however long it has been away.
LEAST_PATIENCE_SECONDS = 4.0
#: What the agent may take to stop: a tool may not heed that it is cancelled.
AGENT_STOP_SECONDS = 2.0


class Execution:
    """Runs the agent for one run and sees to it that the run ends, whatever comes.

    The agent works in a task of its own, which may be cancelled at any time; the task
    that awaits `execute` never is, so that it can always write how the run ended.
    """

    def __init__(
        self, run: OwnedRun, history: History, agent: Agent, log: EventLog
    ) -> None:
        self.run = run
        self.readers = 0
        #: When a reader here was last heard (time.monotonic()).
        self.last_reader_at = time.monotonic()
        self._history = history
        self._agent = agent
        self._log = log
        self._progress = Progress()
        #: How many of its messages are durable; None: a checkpoint did not end.
        self._saved_messages: int | None = 0
        self._error: AgentError | None = None
        self._lost = False
        self._work: asyncio.Task[None] | None = None
        self._stopped = False
        self._finished: asyncio.Future[None] = (
            asyncio.get_running_loop().create_future()
        )
        log.open(run.id)

    async def execute(self) -> None:
        """Run to the end."""
        self._work = asyncio.create_task(self._run_agent())
        self._work.add_done_callback(self._work_ended)
        if self._stopped:
            self._cancel_work(self._work)
        await self._finished
        self._stopped = True  # what comes now comes too late to change the end
        try:
            await self._finish()
        except Exception:  # the last resort: else readers would wait for ever
            logger.exception("run not stored", extra={"run_id": self.run.id})
            self._end_unstored(InternalError())
        self._report()

    def stop(self, error: AgentError | None = None) -> None:
        """Stop now: as cancelled, or with an error."""
        if self._stopped or self._finished.done():
            return
        self._stopped = True
        self._error = error
        if error is None:
            self._progress.stop_reason = "cancelled"
        if self._work:
            self._cancel_work(self._work)

    def lose_ownership(self) -> None:
        """Stop now and write nothing: the run is no longer ours."""
        self._lost = True
        self.stop()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """While somebody in this process follows the run."""
        self.readers += 1
        try:
            yield
        finally:
            self.readers -= 1
            self.last_reader_at = time.monotonic()

    def _cancel_work(self, work: asyncio.Task[None]) -> None:
        work.cancel()
        loop = asyncio.get_running_loop()
        loop.call_later(AGENT_STOP_SECONDS, self._work_ended)

    def _work_ended(self, _work: asyncio.Task[None] | None = None) -> None:
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
            del self._history  # it may hold as much again
            async with aclosing(batches):
                async for events in batches:
                    self._publish(events)
        except AgentError as error:
            self._fail(error)
        except OwnershipLost:
            self._lost = True
        except Error:
            self._fail(database_unavailable())
        except Exception:  # ours or a provider's fault: readers must be told
            logger.exception("run failed", extra={"run_id": self.run.id})
            self._fail(InternalError())

    def _fail(self, error: AgentError) -> None:
        if not self._stopped:  # else it fails because it was stopped
            self._error = error

    def _publish(self, events: list[Event]) -> None:
        if self._finished.done():  # it did not stop in time, and the end is written
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
        said = list(self._progress.messages)
        commit = partial(store.checkpoint, self.run, said)
        self._saved_messages = None
        await database.retry_while_unavailable(
            lambda: self._log.checkpoint(self.run.id, commit)
        )
        self._saved_messages = len(said)

    async def _finish(self) -> None:
        """Write the end; while the database is away, try again for a while."""
        # Made once: an attempt that failed may have been committed all the same.
        events = self._last_events()
        ending = RunResult(self.run, self._progress, self._error, self._saved_messages)
        close = partial(self._log.close, self.run.id, events, ending, store.finish_runs)
        try:
            async with asyncio.timeout(self._patience()):
                await database.retry_while_unavailable(close)
        except OwnershipLost:
            cancelled = self._progress.stop_reason == "cancelled" and not self._lost
            self._end_unstored(None if cancelled else Interrupted())
        except (Error, TimeoutError):
            logger.exception("run not stored", extra={"run_id": self.run.id})
            self._end_unstored(database_unavailable())

    def _patience(self) -> float:
        """How long the end may wait for a database that may be away already."""
        if isinstance(self._error, ShuttingDown):
            return LEAST_PATIENCE_SECONDS  # the process will not wait for longer
        since = self._log.failing_since
        waited = time.monotonic() - since if since else 0.0
        return max(database.default.timeout_seconds - waited, LEAST_PATIENCE_SECONDS)

    def _end_unstored(self, error: AgentError | None) -> None:
        """Tell this process's readers; whoever ends the run for good tells the rest."""
        self._error = error
        self._log.abandon(self.run.id, self._last_events())

    def _last_events(self) -> list[Event]:
        if self._error:
            info = ErrorInfo(self._error.code, self._error.retryable)
            return [ErrorEvent(error=self._error.message, metadata=info), Done()]
        progress = self._progress
        ending = CompleteInfo(
            progress.stop_reason, progress.wire_usage(), progress.summary()
        )
        return [Complete(metadata=ending), Done()]

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
