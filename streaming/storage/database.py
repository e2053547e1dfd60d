"""Access to the database from coroutines: short functions on threads of the app's own.

Django's async ORM calls run on the thread of their request; a run outlives its request,
so each would leave a connection behind. One thread writes: SQLite's wait for a lock is
unfair, and a single writer never waits for itself. A few threads read. Pending writes
are committed in one transaction.

A database can hang without an error, and Python cannot kill a thread. Callers therefore
time out.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, ParamSpec, TypeVar, TypeVarTuple

from django.db import Error, OperationalError, close_old_connections, connections

from streaming import conf
from streaming.storage.batches import PendingWrite, commit, resolve
from streaming.storage.threads import DaemonThreads

logger = logging.getLogger(__name__)

A = TypeVar("A")
P = ParamSpec("P")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")

#: The highest number of writes in one transaction.
MAX_BATCH = 32


class DatabaseTimeout(OperationalError):
    """The database did not respond in time. The operation may still be completed."""


class Database:
    """The threads through which a process uses the database, and their time limits.

    The threads start at the first use. `timeout_seconds` limits each wait for the
    database, `retry_seconds` is the pause between two attempts, and `close_seconds`
    limits the wait for the threads at shutdown, since a hanging thread cannot be ended.
    """

    def __init__(
        self,
        *,
        timeout_seconds: float = 30.0,
        retry_seconds: float = 0.25,
        close_seconds: float = 2.0,
    ) -> None:
        self.timeout_seconds = timeout_seconds
        self.retry_seconds = retry_seconds
        self.close_seconds = close_seconds
        #: Event loops append, the writer thread takes. A deque needs no lock for this.
        self.pending: deque[PendingWrite[Any]] = deque()
        # Held from the wake-up of the writer thread until it starts to take writes, so
        # that writes which arrive together wake it once.
        self._woken = threading.Lock()
        self._starting = threading.Lock()
        self._readers: DaemonThreads | None = None
        self._writer: DaemonThreads | None = None

    async def execute_read(
        self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call `function`, which only reads. Raises `DatabaseTimeout`."""
        call = partial(with_fresh_connection, function, *args, **kwargs)
        readers = self._readers or self._start_readers()
        async with self._time_limit():
            return await asyncio.get_running_loop().run_in_executor(readers, call)

    async def execute_write(
        self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call `function` in a transaction. Raises `DatabaseTimeout`.

        The transaction is shared with other pending writes. If one of them fails, the
        transaction is rolled back and each function is called again in its own:
        `function` must therefore have no effect outside the database. Once its batch
        has started it is completed, even if the caller is cancelled.
        """
        call = partial(function, *args, **kwargs)
        return await self.execute_write_batched(_call_each, call)

    async def execute_write_batched(
        self, function: Callable[[Sequence[A], *Ts], Sequence[T]], item: A, *shared: *Ts
    ) -> T:
        """Write `item` by the same statements as other pending items.

        `function` is called with the items of all pending writes that have the same
        `function` and `shared`; it returns one result for each item. Otherwise like
        `execute_write`.
        """
        write = PendingWrite(function, shared, item)
        self.pending.append(write)
        # If the lock is held, the writer has yet to look: it will find this write.
        if self._woken.acquire(blocking=False):
            (self._writer or self._start_writer()).submit(self._commit_pending)
        async with self._time_limit():
            return await write.done

    async def retry_while_unavailable(self, call: Callable[[], Awaitable[T]]) -> T:
        """Await `call()`; while the database fails, repeat it until the time limit.

        A failed attempt may have been committed if only the response was lost: `call`
        must be safe to repeat.
        """
        deadline = time.monotonic() + self.timeout_seconds
        while True:
            try:
                return await call()
            except Error:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(self.retry_seconds)

    def close(self) -> None:
        """End the threads and close their connections, after the last use."""
        used = [threads for threads in (self._readers, self._writer) if threads]
        for threads in used:
            threads.shutdown(wait=False)
        deadline = time.monotonic() + self.close_seconds
        for threads in used:
            if not threads.join(max(deadline - time.monotonic(), 0.0)):
                logger.warning("database thread left behind: no response")
        self._readers = self._writer = None

    @asynccontextmanager
    async def _time_limit(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self.timeout_seconds):
                yield
        except TimeoutError:
            message = f"no response within {self.timeout_seconds:g} seconds"
            raise DatabaseTimeout(message) from None

    def _start_readers(self) -> DaemonThreads:
        with self._starting:
            if self._readers is None:
                size = conf.get().database_read_threads
                self._readers = DaemonThreads(size, "db-read", _close_connections)
            return self._readers

    def _start_writer(self) -> DaemonThreads:
        with self._starting:
            if self._writer is None:
                self._writer = DaemonThreads(1, "db-write", _close_connections)
            return self._writer

    def _commit_pending(self) -> None:
        """Commit all pending writes, in the writer thread."""
        self._woken.release()  # a write from here on may be missed: it wakes again
        while self.pending:
            size = min(len(self.pending), MAX_BATCH)
            taken = [self.pending.popleft() for _ in range(size)]
            if writes := [write for write in taken if not write.done.cancelled()]:
                try:
                    with_fresh_connection(commit, writes)
                except Exception as error:  # of any kind: callers wait for a result
                    for write in writes:
                        write.error = write.error or error
                resolve(writes)


def with_fresh_connection(
    function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Call `function` without connections that are too old or broken; keep none."""
    close_old_connections()
    try:
        return function(*args, **kwargs)
    finally:
        close_old_connections()


def _call_each(calls: Sequence[Callable[[], T]]) -> list[T]:
    return [call() for call in calls]


def _close_connections() -> None:
    with suppress(Error):  # the database is unavailable, and the thread ends anyway
        connections.close_all()


#: The database access of this process; the functions below are its methods.
default = Database()
execute_read = default.execute_read
execute_write = default.execute_write
execute_write_batched = default.execute_write_batched
retry_while_unavailable = default.retry_while_unavailable
close = default.close
