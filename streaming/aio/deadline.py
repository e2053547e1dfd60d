"""A time limit for one who waits again and again, at next to no cost.

`asyncio.timeout` sets a timer of the event loop and takes it back at each use, which
costs more than a delta's whole way through the agent. Here one timer stays set: when it
goes off too early, since the limit was moved meanwhile, it is set anew.
"""

import asyncio
import math
from types import TracebackType


class Deadline:
    """Used like `asyncio.timeout`, again and again by one task; close it in the end.

    `with deadline.within(30): await …` raises `error` when it takes longer.
    """

    __slots__ = (
        "_cancelling",
        "_due",
        "_error",
        "_is_late",
        "_loop",
        "_fires_at",
        "_task",
        "_timer",
    )

    def __init__(self, error: type[Exception] = TimeoutError) -> None:
        self._error = error
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._is_late = False
        #: When the task that waits is late; infinite while none waits.
        self._due = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._fires_at = math.inf

    def within(self, seconds: float) -> "Deadline":
        """The limit of the block that follows, from now."""
        return self.at(self._loop.time() + seconds)

    def at(self, time: float) -> "Deadline":
        """The limit of the block that follows, by the event loop's clock."""
        self._due = time
        if time < self._fires_at:
            self._set_timer()
        return self

    def suspend(self) -> None:
        """Let nobody be late, in the midst of a block, until the limit is set again."""
        self._due = math.inf
        if self._is_late and self._task:  # whoever was told so has swallowed it
            self._is_late = False
            self._task.uncancel()

    def close(self) -> None:
        """Take back the timer."""
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
        if self._is_late and task:
            self._is_late = False
            # Else somebody else has cancelled it as well.
            ours = task.uncancel() <= self._cancelling
            if ours and kind is asyncio.CancelledError:
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
            self._is_late = True
            self._task.cancel()
