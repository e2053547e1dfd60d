"""Access to the database from coroutines: short functions on threads of the app's own.

Django's async ORM calls run on the thread of their request; a run outlives its request,
so each would leave a connection behind. One thread writes: SQLite's wait for a lock is
unfair, and a single writer never waits for itself. A few threads read. Pending writes
are committed in one transaction.

A write that another transaction blocks delays no other write: after a short time on the
writer thread it continues on a thread for blocked writes.

A database can hang without an error, and Python cannot kill a thread. Callers therefore
time out.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from functools import partial
from typing import Any, ParamSpec, TypeVar, TypeVarTuple

from django.db import Error, OperationalError

from streaming import conf
from streaming.storage.batches import PendingWrite, commit, resolve
from streaming.storage.connections import (
    Limits,
    close_connections,
    keep_own_connection,
    read_within,
    with_fresh_connection,
)
from streaming.storage.errors import is_temporary
from streaming.storage.threads import DaemonThreads

logger = logging.getLogger(__name__)

A = TypeVar("A")
P = ParamSpec("P")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")

#: The highest number of writes in one transaction.
MAX_BATCH = 32
#: The lanes of reads: short ones, which runs and resumes wait for; authentication, by
#: functions that may be the host project's; the readiness probe; searches and whole
#: conversations, which may take long. Each of the last three has one thread, and so
#: have the receivers of signals.
READ, AUTH, PROBE = "read", "auth", "probe"
SEARCH, CONVERSATIONS = "search", "conversations"
SIGNALS = "signals"
#: Threads for writes that another transaction blocks.
BLOCKED_THREADS = 4
#: Most transactions take some milliseconds; all other writes wait for this one.
WRITER_LIMITS = Limits(lock=0.1, statement=5.0)
#: No other write waits for this one.
BLOCKED_LIMITS = Limits(lock=15.0, statement=30.0)


class DatabaseTimeout(OperationalError):
    """The database did not respond in time. The operation may still be completed."""


class Database:
    """The threads through which a process uses the database, and their time limits.

    The threads start at the first use. `timeout_seconds` limits each wait for the
    database, `retry_seconds` is the pause between two attempts, and `close_seconds`
    limits the wait for the threads at shutdown, since a hanging thread cannot be ended.

    On PostgreSQL, `writer_limits` apply to the transactions of the writer thread, which
    all writes share, and `blocked_limits` to a write that exceeded them.
    """

    def __init__(
        self,
        *,
        timeout_seconds: float = 30.0,
        retry_seconds: float = 0.25,
        close_seconds: float = 2.0,
        writer_limits: Limits = WRITER_LIMITS,
        blocked_limits: Limits = BLOCKED_LIMITS,
    ) -> None:
        self.timeout_seconds = timeout_seconds
        self.retry_seconds = retry_seconds
        self.close_seconds = close_seconds
        self._writer_limits = writer_limits
        self._blocked_limits = blocked_limits
        #: Event loops append, the writer thread takes. A deque needs no lock for this.
        self.pending: deque[PendingWrite[Any]] = deque()
        # Held from the wake-up of the writer thread until it starts to take writes, so
        # that writes which arrive together wake it once.
        self._woken = threading.Lock()
        self._starting = threading.Lock()
        self._readers: dict[str, DaemonThreads] = {}
        self._writer: DaemonThreads | None = None
        self._blocked: DaemonThreads | None = None

    async def execute_read(
        self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call `function`, which only reads. Raises `DatabaseTimeout`."""
        return await self.execute_read_in(READ, function, *args, **kwargs)

    async def execute_read_in(
        self, lane: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Like `execute_read`, on the threads of a lane; lanes do not share threads."""
        limited = partial(read_within, self.timeout_seconds, function, *args, **kwargs)
        async with self._time_limit():
            return await self.call_in(lane, limited)

    async def call_in(self, lane: str, function: Callable[[], T]) -> T:
        """Call `function` on a thread of a lane, without limits."""
        call = partial(with_fresh_connection, function)
        calling = _submit(partial(self._start_readers, lane), call)
        return await asyncio.wrap_future(calling)

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
        self,
        function: Callable[[Sequence[A], *Ts], Sequence[T]],
        item: A,
        *shared: *Ts,
        on_blocked: Callable[[], object] = bool,
    ) -> T:
        """Write `item` by the same statements as other pending items.

        `function` is called with the items of all pending writes that have the same
        `function` and `shared`; it returns one result for each item. `on_blocked` is
        called if the write has to wait for another transaction, and may take long for
        that reason. Otherwise like `execute_write`.
        """
        write = PendingWrite(function, shared, item, on_blocked)
        self.pending.append(write)
        # If the lock is held, the writer has yet to look: it will find this write.
        if self._woken.acquire(blocking=False):
            _submit(self._start_writer, self._commit_pending)
        async with self._time_limit():
            return await write.done

    async def retry_while_unavailable(self, call: Callable[[], Awaitable[T]]) -> T:
        """Await `call()`; while the database fails, repeat it until the time limit.

        An error of the statement itself, such as a rejected value, is raised at once.
        A failed attempt may have been committed if only the response was lost: `call`
        must be safe to repeat.
        """
        deadline = time.monotonic() + self.timeout_seconds
        while True:
            try:
                return await call()
            except Error as error:
                if not is_temporary(error) or time.monotonic() > deadline:
                    raise
                await asyncio.sleep(self.retry_seconds)

    def close(self) -> None:
        """End the threads and close their connections, after the last use.

        A call that comes meanwhile, or later, is made in new threads.
        """
        with self._starting:
            started = (*self._readers.values(), self._writer, self._blocked)
            self._readers = {}
            self._writer = self._blocked = None
        used = [threads for threads in started if threads]
        for threads in used:
            threads.shutdown(wait=False)
        deadline = time.monotonic() + self.close_seconds
        for threads in used:
            if not threads.join(max(deadline - time.monotonic(), 0.0)):
                logger.warning("database thread left behind: no response")

    @asynccontextmanager
    async def _time_limit(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self.timeout_seconds):
                yield
        except TimeoutError:
            message = f"no response within {self.timeout_seconds:g} seconds"
            raise DatabaseTimeout(message) from None

    def _start_readers(self, lane: str) -> DaemonThreads:
        with self._starting:
            if lane not in self._readers:
                many = lane in (READ, AUTH)
                size = conf.get().database_read_threads if many else 1
                self._readers[lane] = _database_threads(size, f"db-{lane}")
            return self._readers[lane]

    def _start_writer(self) -> DaemonThreads:
        with self._starting:
            if self._writer is None:
                self._writer = _database_threads(1, "db-write")
            return self._writer

    def _start_blocked(self) -> DaemonThreads:
        with self._starting:
            if self._blocked is None:
                self._blocked = _database_threads(BLOCKED_THREADS, "db-blocked")
            return self._blocked

    def _commit_pending(self) -> None:
        """Commit all pending writes, in the writer thread."""
        self._woken.release()  # a write from here on may be missed: it wakes again
        while taken := self._take_pending():
            self._commit(taken, self._writer_limits)
            blocked = [write for write in taken if write.is_blocked]
            for write in blocked:
                write.report_blocked()
            resolve([write for write in taken if not write.is_blocked])
            for write in blocked:
                _submit(self._start_blocked, partial(self._commit_blocked, write))

    def _take_pending(self) -> list[PendingWrite[Any]]:
        """Take the next writes; a writer thread that ends may take some as well."""
        taken: list[PendingWrite[Any]] = []
        with suppress(IndexError):
            while len(taken) < MAX_BATCH:
                taken.append(self.pending.popleft())
        return taken

    def _commit_blocked(self, write: PendingWrite[Any]) -> None:
        """Commit a write that exceeded the limits of the writer thread."""
        write.error = None
        self._commit([write], self._blocked_limits)
        resolve([write])

    def _commit(self, taken: Sequence[PendingWrite[Any]], limits: Limits) -> None:
        if writes := [write for write in taken if not write.done.cancelled()]:
            try:
                with_fresh_connection(commit, writes, limits)
            except Exception as error:  # of any kind: callers wait for a result
                for write in writes:
                    write.error = write.error or error


def _call_each(calls: Sequence[Callable[[], T]]) -> list[T]:
    return [call() for call in calls]


def _submit(start: Callable[[], DaemonThreads], call: Callable[[], T]) -> Future[T]:
    """Make a call in threads that `start` returns, and starts if there are none."""
    try:
        return start().submit(call)
    except RuntimeError:  # another thread has ended them in the meantime
        return start().submit(call)


def _database_threads(size: int, name: str) -> DaemonThreads:
    return DaemonThreads(size, name, close_connections, at_start=keep_own_connection)


#: The database access of this process.
default = Database()
#: The access of a task that does not use that of the process.
_of_task: ContextVar[Database | None] = ContextVar("database", default=None)


def use_in_task(database: Database) -> None:
    """Have the reads below, in this context, use another access to the database."""
    _of_task.set(database)


def execute_read(
    function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> Coroutine[Any, Any, T]:
    """Read by the access of the task or the process. See `Database.execute_read`."""
    return (_of_task.get() or default).execute_read(function, *args, **kwargs)


execute_read_in = default.execute_read_in
execute_write = default.execute_write
execute_write_batched = default.execute_write_batched
retry_while_unavailable = default.retry_while_unavailable
close = default.close
