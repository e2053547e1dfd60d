"""The way to the database from coroutines: short functions on threads of our own.

Django's own async ORM calls take the thread of the request they belong to; a run
outlives its request, and a connection would leak with each. One thread writes, since
SQLite's wait for a lock is unfair and one writer never waits for itself; a few read.
What waits for the writer is committed together. Nobody waits for ever: a database may
stall and say nothing at all.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import cache, partial
from typing import Any, Generic, ParamSpec, TypeVar, TypeVarTuple

from django.db import (
    Error,
    InterfaceError,
    OperationalError,
    close_old_connections,
    connections,
    transaction,
)

from streaming import conf
from streaming.storage.threads import DaemonThreads

logger = logging.getLogger(__name__)

A = TypeVar("A")
P = ParamSpec("P")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")

#: What waits together is committed together, up to so many.
MAX_BATCH = 32
#: How long anybody waits for a database that is away.
TIMEOUT_SECONDS = 30.0
RETRY_SECONDS = 0.25
#: What the threads may take to end: one that hangs is left behind.
CLOSE_SECONDS = 2.0


class DatabaseTimeout(OperationalError):
    """The database says nothing. What was asked of it may be done all the same."""


async def execute_read(
    function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Call `function`, which only reads. Raises `DatabaseTimeout`, too."""
    call = partial(with_fresh_connection, function, *args, **kwargs)
    async with _answering():
        return await asyncio.get_running_loop().run_in_executor(_readers(), call)


async def execute_write(
    function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Call `function` in a transaction. Once begun, it ends whoever is cancelled.

    Raises `DatabaseTimeout`, too.

    It shares the transaction with others that wait at the same time; when one of them
    fails, each is called again alone. So it must do nothing but work on the database.
    """
    return await execute_write_batched(_call_each, partial(function, *args, **kwargs))


async def execute_write_batched(
    function: Callable[[Sequence[A], *Ts], Sequence[T]], item: A, *shared: *Ts
) -> T:
    """The same for what many do alike, in fewer statements than one by one.

    `function` is called with the items of all who wait for it with the same `shared`,
    and returns what each of them gets.
    """
    write = _Write(function, shared, item)
    _waiting.append(write)
    if _called.acquire(blocking=False):  # else a call is coming, and takes it along
        _writer().submit(_write_waiting)
    async with _answering():
        return await write.done


async def retry_while_unavailable(call: Callable[[], Awaitable[T]]) -> T:
    """Await what `call` makes; again and again for a while, if the database is away.

    An attempt that failed may have been committed all the same, when only the answer
    was lost: `call` must bear that.
    """
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while True:
        try:
            return await call()
        except Error:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(RETRY_SECONDS)


def close() -> None:
    """End the threads and close their connections (at shutdown, after the last use)."""
    used = [kind for kind in (_readers, _writer) if kind.cache_info().currsize]
    for kind in used:
        kind().shutdown(wait=False)
    deadline = time.monotonic() + CLOSE_SECONDS
    for kind in used:
        if not kind().join(max(deadline - time.monotonic(), 0.0)):
            logger.warning("left behind: a database that does not answer")
        kind.cache_clear()


@asynccontextmanager
async def _answering() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            yield
    except TimeoutError:
        raise DatabaseTimeout(f"no answer in {TIMEOUT_SECONDS:g} seconds") from None


class _Write(Generic[T]):
    """A function that waits to be called, and who waits for it."""

    result: T

    def __init__(
        self,
        function: Callable[..., Sequence[T]],
        shared: tuple[Any, ...],
        item: object,
    ) -> None:
        self.done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.function = function
        self.shared = shared
        self.item = item
        self.error: Exception | None = None

    def tell(self) -> None:
        """Tell the one who waits."""
        if self.done.cancelled():
            return
        if self.error:
            self.done.set_exception(self.error)
        else:
            self.done.set_result(self.result)


#: Event loops append, the writing thread takes.
_waiting: deque[_Write[Any]] = deque()
#: Held from when the thread is called until it comes to look at what waits.
_called = threading.Lock()


def _write_waiting() -> None:
    _called.release()  # what comes from here on may be too late for this call
    while _waiting:
        group = [_waiting.popleft() for _ in range(min(len(_waiting), MAX_BATCH))]
        if writes := [write for write in group if not write.done.cancelled()]:
            _write_group(writes)


def _write_group(writes: Sequence[_Write[Any]]) -> None:
    try:
        with_fresh_connection(_write_together, writes)
    except Exception as error:  # whatever it is, somebody waits
        for write in writes:
            write.error = write.error or error
    for loop in {write.done.get_loop() for write in writes}:
        told = [write for write in writes if write.done.get_loop() is loop]
        with suppress(RuntimeError):  # it was closed meanwhile
            loop.call_soon_threadsafe(_tell, told)


def _write_together(writes: Sequence[_Write[Any]]) -> None:
    if len(writes) > 1:
        committing = False
        try:
            with transaction.atomic():
                _call(writes)
                committing = True
            return
        except (InterfaceError, OperationalError) as error:
            if committing:
                # Perhaps it was committed: only who asked knows how to ask again.
                for write in writes:
                    write.error = error
                return
        except Exception as error:
            logger.debug("a group of writes failed, each is done alone: %s", error)
    _write_each(writes)


def _write_each(writes: Sequence[_Write[Any]]) -> None:
    away: Exception | None = None
    for write in writes:
        try:
            if away is None:
                with transaction.atomic():
                    _call([write])
        except (InterfaceError, OperationalError) as error:
            away = error  # and would be for the rest, whom it would keep waiting
        except Exception as error:
            write.error = error
        write.error = write.error or away


def _call(writes: Sequence[_Write[Any]]) -> None:
    """Call each function once, with the items of all who wait for it."""
    alike: dict[tuple[object, ...], list[_Write[Any]]] = {}
    for write in writes:
        alike.setdefault((write.function, write.shared), []).append(write)
    for group in alike.values():
        first = group[0]
        results = first.function([write.item for write in group], *first.shared)
        for write, result in zip(group, results, strict=True):
            write.result = result


def _call_each(calls: Sequence[Callable[[], T]]) -> list[T]:
    return [call() for call in calls]


def _tell(writes: Sequence[_Write[Any]]) -> None:
    for write in writes:
        write.tell()


def with_fresh_connection(
    function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Call `function`, on no connection that is too old or broken; keep none such."""
    close_old_connections()
    try:
        return function(*args, **kwargs)
    finally:
        close_old_connections()


def _close_connections() -> None:
    with suppress(Error):  # it is away, and nobody is left to be told
        connections.close_all()


@cache
def _readers() -> DaemonThreads:
    return DaemonThreads(
        conf.get().database_read_threads, "db-read", _close_connections
    )


@cache
def _writer() -> DaemonThreads:
    return DaemonThreads(1, "db-write", _close_connections)
