"""The ports of the event log: `EventLog` of one process, `StoredLog` of all runs.

A log is the sequence of a run's entries. Numbers start at 1 and increase by 1; if the
run's owner dies they leap. The last entry of an ended run's log is `done`.
"""

from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Sequence
from datetime import datetime
from typing import Protocol, TypeVar

from django.db.models import QuerySet

from streaming.events import Entry, Event
from streaming.models import LogState, Run

T = TypeVar("T")

#: The ends of runs, as `EventLog.close` received them, each with its log's final state.
ClosedLogs = Sequence[tuple[T, LogState]]


#: Leap of the numbers past a dead owner's last durable one: beyond all that it may have
#: shown to its readers without making it durable.
ORPHAN_LEAP = 1_000_000


class OwnershipLost(Exception):
    """Another process, or a deletion, took a run from this process."""


class EventLog(Protocol):
    """The logs of the runs that one process owns, and its readers of any run.

    One instance belongs to one event loop. A run has one owner at a time: the process
    that opened its log. No number is ever given to two different events.
    """

    def open(self, run_id: str, attempt: int, after: int = 0) -> None:
        """Become the owner of the log of a run; its next entry follows number `after`.

        No later number was given to an event, and all entries up to it are durable.
        Nothing is written once the run has another worker or attempt.
        """
        ...

    def append(self, run_id: str, events: Sequence[Event]) -> None:
        """Number events and show them to the readers in this process at once.

        They become durable, and visible to other processes, within one flush interval;
        earlier to other processes if the log is shared.
        Raises `KeyError` if this process does not own the run's log.
        """
        ...

    async def checkpoint(
        self,
        run_id: str,
        commit: Callable[[int], None],
        events: Sequence[Event] = (),
    ) -> None:
        """Make a run's entries durable, in one transaction with the writes of `commit`.

        Further `events` are part of it: readers see them once they are durable. After
        any exception but `OwnershipLost` they count as appended.
        `commit` is called on a database thread, with the number of the last entry (or
        that after which the log was opened). If it raises, nothing is written and
        the same exception is raised here. After a `django.db.Error` the outcome is
        unknown: the caller may call again, and `commit` must then tolerate that its
        earlier writes exist. Raises `OwnershipLost` if the log was given up.
        """
        ...

    async def close(
        self,
        run_id: str,
        events: Sequence[Event],
        end: T,
        commit: Callable[[ClosedLogs[T]], None],
        *,
        drop_pending: bool = False,
    ) -> None:
        """Append the last events, `done` at the end, and give up the log.

        Readers see them once they are durable, in one transaction with the writes of
        `commit`. Runs that close at the same time share that transaction: `commit` is
        called on a database thread, once, with the `end` of each of them. If it raises,
        nothing is written, the same exception is raised here, and the log stays open.
        After a `django.db.Error` the outcome is unknown: the caller calls again with
        the same events, and what is already stored is not written twice. If the
        database rejected the end, the caller calls again with one that it accepts;
        `drop_pending=True` leaves out events that are not durable yet.
        """
        ...

    def abandon(self, run_id: str, events: Sequence[Event]) -> None:
        """Give up a log, showing last events to the readers in this process only.

        For a run that was deleted, or whose end the database cannot store. The numbers
        of these events are never reused, because the numbers of an orphan leap. Has no
        effect if this process does not own the log.
        """
        ...

    def hand_over(self, run_id: str) -> None:
        """Give up a log that another owner continues; pending entries are dropped.

        The readers in this process follow that owner from now on, through the database.
        After `release` they are disconnected. Has no effect if this process does not
        own the log.
        """
        ...

    def share(self, run_id: str, wanted: bool) -> None:
        """Bring an owned run's events to readers in other processes earlier, or not.

        Earlier than the next flush, at some cost for each event. Has no effect on the
        events themselves, nor if this process does not own the log.
        """
        ...

    def follow(
        self, run_id: str, after: int, heartbeat: float
    ) -> AsyncGenerator[list[Entry]]:
        """Yield the entries after number `after`, in order, in batches, up to `done`.

        After `heartbeat` seconds without entries an empty batch is yielded. Each reader
        sees each entry once. Following an ended run only reads. The batches end without
        `done` if the log was removed, after `release`, or if the database fails.
        """
        ...

    def release(self) -> None:
        """Disconnect the readers of runs that other processes own (at shutdown)."""
        ...

    async def flush(self) -> None:
        """Make all pending entries durable now, in one transaction.

        Raises `django.db.Error`; the entries then stay pending.
        """
        ...

    async def aclose(self) -> None:
        """Make pending entries durable if possible, then stop all background tasks."""
        ...

    @property
    def failing_since(self) -> float | None:
        """The start of the oldest unanswered write (`time.monotonic()`), if it is late.

        None if all writes are answered in time. A rejection is an answer.
        """
        ...

    def unanswered(self, seconds: float) -> list[str]:
        """Return the runs with a write that has been unanswered for so long."""
        ...


class StoredLog(Protocol):
    """The durable part of the logs of all runs; stateless.

    Every method is synchronous and works on the calling thread's database connection.
    Async code passes the reading methods to `database.execute_read`, the others to
    `database.execute_write`. Methods that need a transaction say so.
    """

    def read(self, run_id: str, after: int = 0) -> list[Entry]:
        """Return the next entries after a number, a bounded page; empty: no more."""
        ...

    def read_all(self, run_id: str, after: int = 0) -> Iterator[Entry]:
        """Yield all entries after a number, holding only a part of them in memory."""
        ...

    def newest(self, run_id: str) -> Entry | None:
        """Return the entry with the highest number; None if the log is empty."""
        ...

    def text(self, run_id: str, *, since_tool: bool = False) -> str:
        """Return the text of all `content` events that are not void, joined.

        `since_tool=True` returns only the text after the last `tool_call` or
        `tool_result`.
        """
        ...

    def count_segments(self, runs: QuerySet[Run], limit: int) -> int:
        """Return the number of stored segments (rows) of the logs of `runs`.

        Counting ends at `limit`.
        """
        ...

    def delete_segments(self, runs: QuerySet[Run], limit: int) -> int:
        """Delete at most `limit` segments of the logs of `runs`; return their number.

        For runs or logs that are about to be deleted, so that each transaction is
        short. Must be called in a transaction.
        """
        ...

    def compaction_due(self, ended_before: datetime, limit: int) -> list[str]:
        """Return ids of at most `limit` ended runs whose log is not compacted yet.

        Only runs that ended before the given time, the oldest first.
        """
        ...

    def compact(self, run_id: str, after: int = 0) -> int | None:
        """Join the next segments after a number of an ended run's log.

        The entries do not change. Must be called in a transaction, one per call; takes
        only locks that are free. Returns the number to continue after, in another
        transaction; None when the log is compacted, or locked by another process.
        """
        ...

    def delete(self, run_ids: Collection[str]) -> set[str]:
        """Delete the logs of ended runs; return the ids of those that are deleted.

        The others are locked by another process: call again later. Must be called in a
        transaction that has locked the runs. Deleting a run's row deletes its log too,
        by foreign key.
        """
        ...

    def free_number(self, run_id: str, after: int, *, leap: bool) -> int:
        """Return the first number, after `after` too, that no event has been given.

        If the owner died, it leaps beyond all that the owner may have shown to its
        readers without making it durable. `leap=False`: the run had no owner since its
        last durable event.
        """
        ...

    def append(self, run_id: str, first: int, events: Sequence[Event]) -> None:
        """Append events to the log of a run without an owner, from a free number on.

        Must be called in the transaction that ends the run or returns it to the queue.
        """
        ...
