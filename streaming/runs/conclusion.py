"""The conclusion of an attempt: the end of its run, or the run's return to the queue.

It is written by a task that no other code can cancel, and within a time limit.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial

from django.db import Error
from msgspec import structs

from streaming.agent.tool_calls import result_event
from streaming.event_log import EventLog, OwnershipLost
from streaming.events import Event
from streaming.exceptions import (
    AgentError,
    DatabaseUnavailable,
    InternalError,
    Interrupted,
    ShuttingDown,
)
from streaming.models import RunStatus, new_run_id
from streaming.runs import recovery, store
from streaming.runs.ending import last_events
from streaming.runs.ends import FailRuns, FinishRuns
from streaming.runs.inputs import NextRunNeeded
from streaming.runs.pending import Enqueue
from streaming.runs.recovery import HandOver
from streaming.runs.store import RunResult, State
from streaming.storage.database import Database
from streaming.storage.errors import describe, is_rejection
from streaming.telemetry.metrics import OWNERSHIP_LOST, RESTARTS

logger = logging.getLogger(__name__)

#: Attempts to write a run's end while other code cancels the task that writes it.
END_ATTEMPTS = 3


class Conclusion:
    """Writes the conclusion of an attempt whose agent has stopped.

    `least_finish` is the least time in seconds for the database to accept it.
    """

    def __init__(
        self,
        result: RunResult,
        log: EventLog,
        database: Database,
        least_finish: float,
        enqueue: Enqueue,
    ) -> None:
        #: The error that the readers here receive; None: the run has not failed.
        self.error = result.error
        #: True once the end of the run is written.
        self.is_stored = False
        #: True if the run was cancelled, and the database was unavailable.
        self.lost_cancel = False
        self._result = result
        self._run = result.run
        self._progress = result.progress
        self._log = log
        self._database = database
        self._least_finish = least_finish
        self._enqueue = enqueue

    @property
    def status(self) -> RunStatus:
        """The final state of the run."""
        return RunStatus.FAILED if self.error else self._result.status

    @property
    def next_run(self) -> str:
        """The run that inputs of this one have become; empty: none."""
        return self._result.next_run

    async def finish(self) -> None:
        """Write the end of the run."""
        events = last_events(self._progress, self.error)
        await self._persist(partial(self._finish, events))

    async def hand_over(self, has_shown: bool, *, is_working: bool) -> None:
        """Return the run to the queue; if that fails, its lease expires.

        `has_shown`: readers have text that no checkpoint covers. `is_working`: the
        agent did not stop in time, so that its model call is not counted.
        """
        await self._persist(partial(self._hand_over, has_shown, is_working))

    async def give_up(self) -> None:
        """Leave the run to the process that took it; its readers follow that one.

        The readers of a run that was deleted have no other source of an end.
        """
        OWNERSHIP_LOST.add(1)
        exists = True
        with suppress(Error):
            exists = await self._database.execute_read(store.exists, self._run.id)
        if exists:
            self._log.hand_over(self._run.id)
            logger.warning("run lost", extra={"run_id": self._run.id})
        else:
            is_cancelled = self._result.status == RunStatus.CANCELLED
            self._abandon(self.error or (None if is_cancelled else Interrupted()))

    async def _persist(self, write: Callable[[], Awaitable[None]]) -> None:
        """Await a write, although other code may cancel this task meanwhile."""
        task = asyncio.current_task()
        assert task
        for _ in range(END_ATTEMPTS):
            try:
                return await write()
            except asyncio.CancelledError:
                logger.warning("run end cancelled", extra={"run_id": self._run.id})
                while task.cancelling():
                    task.uncancel()
        self._abandon(InternalError())

    async def _finish(self, events: Sequence[Event]) -> None:
        """Write the end; retry for a while if the database is unavailable."""
        # The events are made once: an attempt that failed may have been committed.
        close = partial(
            self._log.close,
            self._run.id,
            events,
            self._result,
            FinishRuns(self._enqueue),
        )
        try:
            async with asyncio.timeout(self._finish_seconds()):
                await self._database.retry_while_unavailable(close)
            self.is_stored = True
        except NextRunNeeded:  # nothing was written: repeat it with events that name it
            self._result = structs.replace(self._result, next_run=new_run_id())
            events = last_events(self._progress, self.error, self._result.next_run)
            await self._finish(events)
        except OwnershipLost:
            await self.give_up()
        except Exception as error:
            reason, fields = describe(error), {"run_id": self._run.id}
            logger.exception("run end not stored: %s", reason, extra=fields)
            if is_rejection(error):
                await self._finish_without_result()
            else:
                self._leave_unstored(isinstance(error, Error | TimeoutError))

    def _leave_unstored(self, is_outage: bool) -> None:
        """Give up a run whose end the database did not store: its lease expires.

        Another attempt continues it then, if its client accepts that.
        """
        self.lost_cancel = self._result.status == RunStatus.CANCELLED
        if is_outage and self._run.restarts and not self.lost_cancel:
            self.error = DatabaseUnavailable()
            self._log.hand_over(self._run.id)
        else:
            self._abandon(DatabaseUnavailable() if is_outage else InternalError())

    async def _hand_over(self, has_shown: bool, is_working: bool) -> None:
        progress, fields = self._progress, {"run_id": self._run.id}
        if late := progress.unsent:
            calls = {c.id: c for m in progress.messages for c in m.tool_calls}
            self._log.append(self._run.id, [result_event(calls[r.id], r) for r in late])
            progress.unsent = []
        state = State.of(self._run, progress, progress.settled)
        rest = progress.messages[progress.settled :]
        given = HandOver(state, rest, progress, has_shown, is_working)
        commit = partial(recovery.hand_over, given, self._enqueue)
        try:
            async with asyncio.timeout(self._least_finish):
                await self._database.retry_while_unavailable(
                    lambda: self._log.checkpoint(self._run.id, commit)
                )
            logger.info("run handed over", extra=fields)
            RESTARTS.add(1, "hand_over")
        except OwnershipLost:
            logger.info("run lost before its hand-over", extra=fields)
        except Exception as error:
            logger.exception("hand-over not stored: %s", describe(error), extra=fields)
        self._log.hand_over(self._run.id)

    async def _finish_without_result(self) -> None:
        """Write the least of an end: the database rejected a value of the full one.

        The pending events are left out if they contain a rejected value too.
        """
        self.error = InternalError()
        events = last_events(self._progress, self.error)
        for drop_pending in (False, True):
            close = partial(
                self._log.close,
                self._run.id,
                events,
                self._run,
                FailRuns(self._enqueue),
                drop_pending=drop_pending,
            )
            try:
                async with asyncio.timeout(self._finish_seconds()):
                    await self._database.retry_while_unavailable(close)
                self.is_stored = True
                return
            except OwnershipLost:
                await self.give_up()
                return
            except Exception as error:
                reason, fields = describe(error), {"run_id": self._run.id}
                logger.exception("run end not stored: %s", reason, extra=fields)
        self._abandon(InternalError())

    def _finish_seconds(self) -> float:
        """Return the time limit for the end, less the time of an outage until now."""
        if isinstance(self.error, ShuttingDown):
            return self._least_finish
        since = self._log.failing_since
        failing = time.monotonic() - since if since else 0.0
        return max(self._database.timeout_seconds - failing, self._least_finish)

    def _abandon(self, error: AgentError | None) -> None:
        """Send the end to this process's readers only: the database cannot store it."""
        self.error = error
        self._log.abandon(self._run.id, last_events(self._progress, error))
