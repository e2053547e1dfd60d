"""The life of a run: started by one request, followed by many, ended once.

`get_service()` returns the service of this process (`service.RunService`): coroutines
start, follow and cancel runs of any process through it. Synchronous code enqueues runs
(`enqueue`) and cancels them (`cancel_from_thread`).
"""

import asyncio
import threading
from collections.abc import Collection
from weakref import WeakKeyDictionary

from django.db import transaction

from streaming import conf
from streaming.agents.loops import make_loops
from streaming.aio.loop_end import close_with_loop
from streaming.runs.cancelling import cancel_runs
from streaming.runs.enqueueing import enqueue, requeue
from streaming.runs.executors.base import executor_class
from streaming.runs.service import RunService
from streaming.runs.signal_sender import send_ended_on_commit
from streaming.runs.start import RunRequest
from streaming.runs.wakes import wake_executors
from streaming.storage import database
from streaming.storage.alias import app_alias

__all__ = [
    "RunRequest",
    "RunService",
    "aclose",
    "cancel_from_thread",
    "enqueue",
    "get_own_service",
    "get_service",
    "install",
    "requeue",
    "serving_loop",
    "wake_executors",
]

#: The service of each event loop of this process, with the generator that closes it.
_services: WeakKeyDictionary[asyncio.AbstractEventLoop, RunService] = (
    WeakKeyDictionary()
)
#: Held while services are added, removed or listed: event loops of several threads do.
_listing = threading.Lock()


def get_service() -> RunService:
    """Return the service of this process and event loop, created at the first call.

    From now on it also executes queued runs of other processes.
    """
    service = get_own_service()
    if not service.is_serving:
        service.serve()
    return service


def get_own_service() -> RunService:
    """Return the service of this event loop, for the runs that are started in it.

    A management command ends too soon to execute the runs of other processes.
    """
    loop = asyncio.get_running_loop()
    return _services.get(loop) or install(
        RunService(make_loops(), conf.get(), database.default)
    )


def install(service: RunService) -> RunService:
    """Make a service that of this process and event loop, before its first use.

    It is closed by `aclose`, at the latest when the event loop ends. Raises
    `RuntimeError` if there is one.
    """
    loop = asyncio.get_running_loop()
    with _listing:
        if loop in _services:
            raise RuntimeError("this event loop has a run service already")
        _services[loop] = service
    close_with_loop(aclose)
    return service


async def aclose() -> None:
    """End the runs of this process and event loop, and leave nothing open."""
    with _listing:
        service = _services.pop(asyncio.get_running_loop(), None)
    if service:
        await service.aclose()


def serving_loop() -> asyncio.AbstractEventLoop | None:
    """Return an event loop of this process that serves, if it has one."""
    with _listing:
        present = list(_services.items())
    for loop, service in present:
        if service.is_serving and loop.is_running() and not service.draining:
            return loop
    return None


def cancel_from_thread(run_ids: Collection[str]) -> set[str]:
    """Cancel runs from synchronous code; return those that had not ended.

    The request is written by the calling thread, in its transaction if it has one. The
    owner of each running run reads it with its next heartbeat.
    """
    with transaction.atomic(app_alias()):
        executor = executor_class()
        active = cancel_runs(run_ids, executor.cancel, executor.enqueue)
        send_ended_on_commit(active)
        return active
