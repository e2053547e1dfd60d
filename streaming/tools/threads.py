"""Threads for functions that block.

A thread cannot be killed, and a function that never returns keeps its own for ever.
So each call has a thread of its own, a daemon one that does not hold up the end of the
process, and whoever waits for it may stop waiting. `limit` bounds what a function that
hangs can cost; as each tool has its own `Threads`, it takes none away from others.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from typing import TypeVar

R = TypeVar("R")


class TooManyThreads(Exception):
    """As many calls are under way as may be."""


class Threads:
    """Runs functions in threads, at most `limit` at once."""

    def __init__(self, limit: int = 64) -> None:
        self._free = threading.Semaphore(limit)

    async def run(self, function: Callable[[], R]) -> R:
        """Call the function in a thread, in a copy of the caller's context.

        When the caller is cancelled it stops waiting; the function goes on, and what
        comes of it is dropped.
        """
        if not self._free.acquire(blocking=False):
            raise TooManyThreads
        future: Future[R] = Future()
        future.set_running_or_notify_cancel()

        def work() -> None:
            try:
                _fulfil(future, function)
            finally:
                self._free.release()

        thread = threading.Thread(target=copy_context().run, args=(work,), daemon=True)
        try:
            thread.start()
        except RuntimeError:  # The system has no thread left.
            self._free.release()
            raise
        return await asyncio.wrap_future(future)


def _fulfil(future: Future[R], function: Callable[[], R]) -> None:
    try:
        future.set_result(function())
    except StopIteration as error:  # asyncio's futures refuse it.
        future.set_exception(RuntimeError(f"{function!r} raised {error!r}"))
    except BaseException as error:
        future.set_exception(error)
