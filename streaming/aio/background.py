"""Tasks in the background, and their end."""

import asyncio
from collections.abc import Callable, Collection, Coroutine
from contextvars import Context

#: Interval between two cancellations of a task, in seconds: time to end in order.
CANCEL_SECONDS = 5.0


async def end_tasks(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancel tasks, and return when they have ended.

    The cancellation is repeated, since libraries may lose one: `asyncio.wait_for` does
    in Python 3.11, and psycopg uses it.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCEL_SECONDS)


class BackgroundTask:
    """A task that is started when work arrives, and returns when none is left."""

    def __init__(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        self._work = work
        self._task: asyncio.Task[None] | None = None

    def ensure(self) -> None:
        """Start the task unless it runs."""
        if self._task is None or self._task.done():
            # An empty context: the task outlives the request that starts it.
            self._task = asyncio.create_task(self._work(), context=Context())

    async def aclose(self) -> None:
        """Cancel the task, and return when it has ended."""
        if self._task:
            await end_tasks([self._task])
