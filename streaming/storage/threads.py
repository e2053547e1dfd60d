"""Threads that hold up no end: a function that hangs in one is left behind.

A thread cannot be killed, and Python waits at its end for those of a
`ThreadPoolExecutor` however long they take. A database that stalls would so keep a
process that was told to end.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import SimpleQueue
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class DaemonThreads(Executor):
    """So many threads, begun at the first call; `farewell` is called in each at its
    end."""

    def __init__(
        self, size: int, name: str, farewell: Callable[[], None] = lambda: None
    ) -> None:
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._farewell = farewell
        self._begin = threading.Lock()
        self._begun = False
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{at}", daemon=True)
            for at in range(size)
        ]

    def submit(
        self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]:
        """Call `fn` in the first thread that is free."""
        future: Future[T] = Future()

        def call() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(fn(*args, **kwargs))
                except BaseException as error:
                    future.set_exception(error)

        self._calls.put(call)
        self._start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the threads when they have done what was submitted."""
        for _ in self._threads:
            self._calls.put(None)
        if wait:
            self.join()

    def join(self, seconds: float | None = None) -> bool:
        """Wait so long at most for the threads' end; false when one goes on."""
        deadline = None if seconds is None else time.monotonic() + seconds
        for thread in self._threads:
            if thread.ident:
                thread.join(deadline and max(deadline - time.monotonic(), 0.0))
        return not any(thread.is_alive() for thread in self._threads)

    def _start(self) -> None:
        with self._begin:
            if not self._begun:
                self._begun = True
                for thread in self._threads:
                    thread.start()

    def _work(self) -> None:
        while call := self._calls.get():
            call()
            del call  # it may hold much, and the next may be long in coming
        self._farewell()
