"""Daemon threads as an executor: a call that hangs does not delay the process's end.

Python cannot kill a thread, and at exit it waits for the threads of a
`ThreadPoolExecutor` without a limit. A database that hangs would so keep a process
alive that was told to end.
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
    """A fixed number of threads, started at the first call.

    Each thread calls `at_start` before its first call, and `at_end` after its last one.
    """

    def __init__(
        self,
        size: int,
        name: str,
        at_end: Callable[[], None] = lambda: None,
        *,
        at_start: Callable[[], None] = lambda: None,
    ) -> None:
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._at_end = at_end
        self._at_start = at_start
        self._lock = threading.Lock()
        self._started = False
        #: True once no more calls are taken: none would be called.
        self._ending = False
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{at}", daemon=True)
            for at in range(size)
        ]

    def submit(
        self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]:
        """Call `fn` in the first free thread. Raises `RuntimeError` after the end."""
        future: Future[T] = Future()

        def call() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(fn(*args, **kwargs))
                except BaseException as error:
                    future.set_exception(error)

        with self._lock:
            if self._ending:
                raise RuntimeError("the threads end")
            self._calls.put(call)
            self._start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the threads after the calls submitted so far."""
        with self._lock:
            self._ending = True
            for _ in self._threads:
                self._calls.put(None)
        if wait:
            self.join()

    def join(self, seconds: float | None = None) -> bool:
        """Wait at most `seconds` for the threads; return true if all have ended."""
        deadline = None if seconds is None else time.monotonic() + seconds
        for thread in self._threads:
            if thread.ident:
                thread.join(deadline and max(deadline - time.monotonic(), 0.0))
        return not any(thread.is_alive() for thread in self._threads)

    def _start(self) -> None:
        if not self._started:
            self._started = True
            for thread in self._threads:
                thread.start()

    def _work(self) -> None:
        self._at_start()
        while call := self._calls.get():
            call()
            del call  # frees its arguments while the thread waits for the next call
        self._at_end()
