"""Threads for functions that block.

A thread cannot be killed, and a function that never returns keeps its thread for ever.
Each call therefore has a thread of its own, and its caller can stop waiting. Threads
are daemons, so they do not delay the end of the process. `limit` bounds the threads of
a function that hangs; each tool has its own `Threads`, so other tools keep theirs.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import Context, ContextVar, copy_context
from typing import TypeVar

from asgiref.sync import sync_to_async

R = TypeVar("R")

_in_caller_thread: ContextVar[bool] = ContextVar("in_caller_thread", default=False)


class TooManyThreads(Exception):
    """The limit of concurrent calls is reached."""


class Threads:
    """A runner of functions in threads, at most `limit` at once."""

    def __init__(self, limit: int = 64) -> None:
        self._free = threading.Semaphore(limit)
        self._left: set[threading.Thread] = set()

    @property
    def abandoned(self) -> int:
        """The number of threads that still run after their callers stopped waiting."""
        for thread in list(self._left):  # a copy: event loops add to the set meanwhile
            if not thread.is_alive():
                self._left.discard(thread)
        return len(self._left)

    async def run(self, function: Callable[[], R]) -> R:
        """Call the function in a thread, in a copy of the caller's context.

        A cancelled caller stops waiting; the function continues and its result is
        dropped.
        """
        if _in_caller_thread.get():
            return await sync_to_async(function)()
        if not self._free.acquire(blocking=False):
            raise TooManyThreads
        future: Future[R] = Future()
        future.set_running_or_notify_cancel()

        def work() -> None:
            try:
                _set_result(future, function)
            finally:
                self._free.release()

        thread = threading.Thread(target=copy_context().run, args=(work,), daemon=True)
        try:
            thread.start()
        except RuntimeError:  # The system has no thread left.
            self._free.release()
            raise
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            if not future.done():
                self._left.add(thread)
            raise


def caller_context() -> Context:
    """Return a context in which functions run in the thread of the synchronous caller.

    For runs of tests, whose functions belong to the transaction of the test. The rest
    of the context is the caller's: functions may call agents with other models too.
    """
    context = copy_context()
    context.run(_in_caller_thread.set, True)
    return context


def _set_result(future: Future[R], function: Callable[[], R]) -> None:
    try:
        future.set_result(function())
    except StopIteration as error:  # asyncio's futures do not take it.
        future.set_exception(RuntimeError(f"{function!r} raised {error!r}"))
    except BaseException as error:
        future.set_exception(error)
