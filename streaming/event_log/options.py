"""The parameters of the database log: sizes, timings, and access to the database."""

from collections.abc import Awaitable, Callable, Sequence
from typing import ParamSpec, Protocol, TypeVar, TypeVarTuple

import msgspec

A = TypeVar("A")
P = ParamSpec("P")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class LogOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes and timings. The defaults suit every deployment; tests use smaller ones."""

    #: Durable entries that stay in memory for readers that are slightly behind.
    tail_entries: int = 512
    #: Rows that one read fetches at most. One row holds the events of one flush.
    read_rows: int = 200
    #: Numbers that one read covers, apart from the excess of its last row.
    read_numbers: int = 4000
    #: Maximum length of a joined row's text; a longer single row stays as it is.
    compact_chars: int = 64 * 1024
    #: Rows that one transaction of the compaction reads, to keep it short.
    compact_rows: int = 100
    #: A write that takes longer counts as failing.
    slow_seconds: float = 2.0
    #: Time limit of the last write, at shutdown.
    close_seconds: float = 5.0
    #: Readers of other processes' runs are disconnected when reads have failed for this
    #: long. When they reconnect, they get an error response.
    disconnect_seconds: float = 30.0


class DatabaseAccess(Protocol):
    """The functions of `streaming.storage.database` that the log uses."""

    async def execute_read(
        self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call a function that only reads, on a database thread."""
        ...

    async def execute_write(
        self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call a function in a transaction, on the writer thread."""
        ...

    async def execute_write_batched(
        self,
        function: Callable[[Sequence[A], *Ts], Sequence[T]],
        item: A,
        *shared: *Ts,
    ) -> T:
        """Call a function in a transaction, with the items of all concurrent calls."""
        ...

    async def retry_while_unavailable(self, call: Callable[[], Awaitable[T]]) -> T:
        """Await the result of `call`, repeatedly while the database is unavailable."""
        ...
