"""The shutdown of a process: its runs are drained before its connections end.

Servers wait for open streams before they report a shutdown to an application, and
streams wait for their runs. The signal itself therefore starts the draining.
"""

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from types import FrameType

from streaming import runs
from streaming.storage import database

#: Time for clients to read their last events, after all runs have ended.
LINGER_SECONDS = 1.0


class Shutdown:
    """The draining of a process's runs, begun by a signal or by `begin_shutdown`."""

    def __init__(self, drain_seconds: float) -> None:
        self._drain_seconds = drain_seconds
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._draining = False
        self._closing = False
        #: A signal whose default action, the end of the process, is deferred.
        self._deferred: signal.Signals | None = None

    def begin_shutdown(self) -> None:
        """Start draining; may be called from any thread."""
        with suppress(RuntimeError):  # a signal after the end of the event loop
            if self._loop:
                self._loop.call_soon_threadsafe(self._begin_draining)

    def chain_signals(self) -> bool:
        """Start draining at SIGTERM and SIGINT; return false outside the main thread.

        Only the main thread receives signals.
        """
        if threading.current_thread() is not threading.main_thread():
            return False
        for number in (signal.SIGTERM, signal.SIGINT):
            self._chain_signal(number)
        return True

    def _chain_signal(self, number: signal.Signals) -> None:
        """Start draining at the signal, then call the server's handler."""
        previous = signal.getsignal(number)

        def handle(signum: int, frame: FrameType | None) -> None:
            self.begin_shutdown()
            if callable(previous):
                previous(signum, frame)
            elif previous == signal.SIG_DFL:
                self._deferred = number

        signal.signal(number, handle)

    def _begin_draining(self) -> None:
        if not self._draining:
            self._enter_draining()
            self._create_task(self._drain())

    async def _drain_when_terminated(
        self, wait: Callable[[], Awaitable[object]]
    ) -> None:
        await wait()
        self._begin_draining()

    def _enter_draining(self) -> None:
        self._draining = True

    async def _drain(self) -> None:
        """End the runs, then drop the remaining clients, which servers wait for."""
        await runs.get_service().drain(self._drain_seconds)
        await asyncio.sleep(LINGER_SECONDS)
        self._drop_clients()
        if self._deferred:
            await asyncio.sleep(LINGER_SECONDS)  # a server that shuts down needs less
            if not self._closing:
                await self._close()
                signal.signal(self._deferred, signal.SIG_DFL)
                signal.raise_signal(self._deferred)

    def _drop_clients(self) -> None:
        """Drop every client whose response has not ended, if they are known."""

    async def _close(self) -> None:
        self._closing = True
        await runs.aclose()
        database.close()

    def _create_task(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)  # a strong reference, which the event loop does not keep
        task.add_done_callback(self._tasks.discard)
