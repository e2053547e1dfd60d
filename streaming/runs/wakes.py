"""The look at the queue that a process makes when it has enqueued a run."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from weakref import WeakSet

_lock = threading.Lock()
#: Each has a service of this process look at the queue; any thread may call it.
_wakes: WeakSet[Callable[[], object]] = WeakSet()


def connect(wake: Callable[[], None]) -> Callable[[], object]:
    """Call `wake` in this event loop whenever a run was enqueued here.

    The caller keeps the returned function for as long as it wants to be called.
    """
    loop = asyncio.get_running_loop()
    connected = partial(loop.call_soon_threadsafe, wake)
    with _lock:  # a set that changes cannot be read in another thread
        _wakes.add(connected)
    return connected


def wake_executors() -> None:
    """Have the services of this process look for queued runs now; from any thread."""
    with _lock:
        wakes = list(_wakes)
    for wake in wakes:
        with suppress(RuntimeError):  # the event loop was closed in the meantime
            wake()
