"""The execution of one claimed run, from its first model call to its last event.

The end of a run is derived from the task of its agent: the task returned, this module
stopped it, or the run failed. Nothing else ends a run. At the end of a drain the run
returns to the queue instead, and another process continues it.

A cancel reaches the provider here: `Execution.stop` cancels the task that reads the
provider's response, which closes the connection.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import partial

from django.utils import timezone

from streaming.agent.progress import BudgetReached, Progress
from streaming.agents.loops import AgentLoops
from streaming.aio.outlast import outlast
from streaming.budgets.limits import CallerLimit
from streaming.budgets.meter import ModelPrices, RunMeter
from streaming.event_log import EventLog, OwnershipLost
from streaming.events import (
    Content,
    Event,
    Input,
    Thinking,
    ToolCallEvent,
    ToolResultEvent,
)
from streaming.exceptions import (
    AgentError,
    DatabaseUnavailable,
    InternalError,
    Interrupted,
    ShuttingDown,
)
from streaming.messages import steering_message
from streaming.runs import lifecycle
from streaming.runs.attempts import Attempt
from streaming.runs.checkpoints import Checkpoint
from streaming.runs.conclusion import Conclusion
from streaming.runs.inputs import Untaken
from streaming.runs.observation import (
    HANDED_OVER,
    NOT_STORED,
    OWNERSHIP_LOST,
    Observation,
)
from streaming.runs.pending import Enqueue
from streaming.runs.store import RunResult, State
from streaming.runs.timings import Timings
from streaming.storage.database import Database
from streaming.storage.errors import describe, is_temporary

logger = logging.getLogger(__name__)


class Execution:
    """Runs the agent for one run, and writes the end of the run in every case.

    The agent works in a task of its own, which may be cancelled at any time. A
    cancellation of the task that awaits `execute` stops the agent; the end is written
    nevertheless.
    """

    def __init__(
        self,
        attempt: Attempt,
        agents: AgentLoops,
        log: EventLog,
        database: Database,
        timings: Timings,
        find_limits: Callable[[], Awaitable[Sequence[CallerLimit]]],
        enqueue: Enqueue,
    ) -> None:
        self.run = attempt.run
        #: Last time that a reader was connected to this process (time.monotonic()).
        self.last_reader_at = time.monotonic()
        #: Least time in seconds for the database to accept the end of this execution.
        self.least_finish = timings.least_finish
        self._attempt = attempt
        self._agents = agents
        self._log = log
        self._database = database
        self._timings = timings
        self._find_limits = find_limits
        self._enqueue = enqueue
        self._observation = Observation(self.run, agents)
        earlier = attempt.earlier
        self._progress = earlier.progress() if earlier else Progress()
        #: How many messages are durable; None: the result of a checkpoint is unknown.
        self._saved_messages: int | None = self._progress.settled
        #: True if text was shown that no settled message has.
        self._has_shown = False
        #: Events of tools, which readers see once they are durable.
        self._held: list[Event] = []
        self._error: AgentError | None = None
        self._lost = False
        #: True if the agent has returned: only then its own stop reason counts.
        self._returned = False
        self._work: asyncio.Task[None] | None = None
        self._stopped = False
        #: True if the run returns to the queue, as far as that is possible.
        self._hands_over = False
        #: True once this execution has written the end of the run.
        self.is_stored = False
        #: The run that inputs of this one have become; empty: none.
        self.next_run = ""
        #: True if the run was cancelled, and the database was unavailable.
        self.lost_cancel = False
        self._finished: asyncio.Future[None] = (
            asyncio.get_running_loop().create_future()
        )
        #: Done when the execution has ended, and holds no part of the run.
        self.ended = asyncio.Event()
        log.open(self.run.id, self.run.attempt, self.run.log_number)

    async def execute(self) -> None:
        """Run the agent to its end, and write that; or return the run to the queue."""
        self._observation.enter()
        self._work = asyncio.create_task(self._run_agent())
        self._work.add_done_callback(self._agent_ended)
        if self._stopped:
            self._cancel_agent(self._work)
        await outlast(self._finished, self._cancelled_by_other_code)
        self._settle_end()
        if self._held and not self._lost:  # stopped before their checkpoint
            self._log.append(self.run.id, self._take_held())
        ending = Conclusion(
            RunResult(self.run, self._progress, self._error, self._saved_messages),
            self._log,
            self._database,
            self.least_finish,
            self._enqueue,
        )
        if self._lost:
            await ending.give_up()
            self._observation.left(OWNERSHIP_LOST)
        elif self._hands_over:
            await ending.hand_over(self._has_shown, is_working=not self._work.done())
            self._observation.left(HANDED_OVER)
        else:
            await ending.finish()
            self._report(ending)
        self.is_stored, self.lost_cancel = ending.is_stored, ending.lost_cancel
        self.next_run = ending.next_run

    def stop(self, error: AgentError | None = None) -> None:
        """Stop the agent and its provider now: as cancelled, or with an error."""
        if self._stopped or self._returned or self._finished.done():
            return
        self._stopped = True
        self._error = error
        if self._work:
            self._cancel_agent(self._work)

    def hand_over(self) -> None:
        """Stop now, so that another process continues the run.

        A run whose client would see text twice is failed instead, as by a shutdown.
        """
        if not (self._stopped or self._returned or self._finished.done()):
            self._hands_over = True
            self.stop()

    @property
    def is_handed_over(self) -> bool:
        """True if the run has returned to the queue, as far as that was possible."""
        return self._hands_over and not self._lost

    def lose_ownership(self) -> None:
        """Stop now and write nothing: another process or a deletion took the run."""
        self._lost = True
        self.stop()

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
            agent, context = await self._agents.prepare(
                self.run.agent, self.run.context
            )
            self._progress.meter = RunMeter(
                self.run.id,
                self._find_limits,
                ModelPrices(agent.provider),
                agent.max_output_tokens,
                self._database,
                check_owned=partial(lifecycle.check_held, self.run),
                cost=self._progress.cost_before if self._attempt.earlier else 0,
            )
            batches = agent.run(
                self._attempt.begin(self._progress),
                context,
                max_iterations=self.run.max_iterations,
                progress=self._progress,
                checkpoint=self._checkpoint,
            )
            del self._attempt  # it may hold as much memory again
            async with aclosing(batches):
                async for events in batches:
                    self._publish(events)
            self._returned = not self._stopped
        except BudgetReached:
            self._progress.stop_reason = "budget"
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
        elif self._hands_over:
            if self._has_shown:
                self._hands_over = self.run.restarts
            if not self._hands_over:
                self._error = ShuttingDown()
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
        if self._lost or self._finished.done():  # the agent did not stop in time
            raise OwnershipLost(self.run.id)
        if logger.isEnabledFor(logging.DEBUG):
            for event in events:
                logger.debug("%s %s", self.run.id, event)
        if isinstance(events[0], ToolCallEvent | ToolResultEvent):
            # Another attempt may make other results of calls that are not durable.
            self._held += events
            return
        self._has_shown = True
        self._log.append(self.run.id, events)
        if not self.run.first_token_at and isinstance(events[0], Content | Thinking):
            self.run.first_token_at = timezone.now()
            self._observation.first_token()

    async def _checkpoint(self) -> None:
        if self._finished.done():
            raise OwnershipLost(self.run.id)
        messages = self._progress.settled = len(self._progress.messages)
        # Together with `settled`: if this write is stopped, the hand-over makes it.
        self._has_shown = False
        state = State.of(self.run, self._progress, messages)
        checkpoint = Checkpoint(state, tuple(self._progress.taken))
        self._saved_messages = None
        await self._database.retry_while_unavailable(
            lambda: self._log.checkpoint(self.run.id, checkpoint, self._take_held())
        )
        self._saved_messages = messages
        self._progress.taken.clear()
        if checkpoint.untaken:
            await self._take_inputs(checkpoint.untaken)

    async def _take_inputs(self, found: Sequence[Untaken]) -> None:
        """Append inputs as messages of the user; return once they are durable.

        If this is stopped, the end or the hand-over writes them and marks them as
        taken: the progress has both.
        """
        if self._finished.done():  # the end is being written without them
            raise OwnershipLost(self.run.id)
        progress = self._progress
        for each in found:
            progress.messages.append(steering_message(each.text))
            progress.added_chars += len(each.text)
            self._held.append(Input(input=each.text, message_id=each.id))
        progress.taken += [each.id for each in found]
        await self._checkpoint()

    def _take_held(self) -> list[Event]:
        held, self._held = self._held, []
        return held

    def _report(self, ending: Conclusion) -> None:
        error = ending.error
        progress = self._progress
        outcome = error.code if error else progress.stop_reason
        fields = {
            "run_id": self.run.id,
            "org_id": self.run.context.organization,
            "outcome": outcome,
            "duration_ms": progress.summary().execution_time_ms,
            "input_tokens": progress.usage.input_tokens,
            "output_tokens": progress.usage.output_tokens,
        }
        logger.info("run ended: %s", outcome, extra=fields)
        if ending.is_stored:
            self._observation.ended(progress, error, ending.status.value)
        else:
            self._observation.left(NOT_STORED)
