"""A time limit for a task that waits again and again.

`asyncio.timeout` sets and cancels a timer of the event loop at each use, which costs
more than all other work on a delta in the agent. Here one timer stays set: if it fires
early, because the limit was moved in the meantime, it is set again. A use in which the
timer does not fire only assigns numbers.
"""

import asyncio
import math
from types import TracebackType


class Deadline:
    """A reusable `asyncio.timeout` for one task; call `close` after the last use.

    `with deadline.within(30): await …` raises `error` after 30 seconds.
    """

    __slots__ = (
        "_cancelling",
        "_due",
        "_error",
        "_expired",
        "_fires_at",
        "_loop",
        "_task",
        "_timer",
    )

    def __init__(self, error: type[Exception] = TimeoutError) -> None:
        self._error = error
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[object] | None = None
        #: The task's pending cancellations at the start of the block.
        self._cancelling = 0
        self._expired = False
        #: The limit of the current block; infinite outside of a block.
        self._due = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._fires_at = math.inf

    def within(self, seconds: float) -> "Deadline":
        """Set the limit of the following block, from the present time."""
        return self.at(self._loop.time() + seconds)

    def at(self, time: float) -> "Deadline":
        """Set the limit of the following block, by the event loop's clock."""
        self._due = time
        if time < self._fires_at:
            self._set_timer()
        return self

    def suspend(self) -> None:
        """Remove the limit within a block, until it is set again."""
        self._due = math.inf
        if self._expired and self._task:  # the block swallowed the cancellation
            self._expired = False
            self._task.uncancel()

    def close(self) -> None:
        """Cancel the timer."""
        self._due = self._fires_at = math.inf
        if self._timer:
            self._timer.cancel()

    def __enter__(self) -> None:
        self._task = task = asyncio.current_task(self._loop)
        self._cancelling = task.cancelling() if task else 0

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._due = math.inf
        task, self._task = self._task, None
        if self._expired and task:
            self._expired = False
            # If more cancellations remain, another caller cancelled the task as well.
            only_ours = task.uncancel() <= self._cancelling
            if only_ours and kind is asyncio.CancelledError:
                raise self._error from error

    def _set_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._fires_at = self._due
        self._timer = self._loop.call_at(self._due, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._fires_at = math.inf
        if self._loop.time() < self._due < math.inf:
            self._set_timer()
        elif self._task and self._due < math.inf:
            self._expired = True
            self._task.cancel()
