"""A background task that exists as long as there is work for it."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context


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
            self._task.cancel()
            await asyncio.wait([self._task])
