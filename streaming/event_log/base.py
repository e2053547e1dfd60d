"""What an event log is, whatever it is made of."""

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from typing import Protocol, TypeVar

import msgspec

from streaming.events import Event
from streaming.models import LogState
from streaming.wire import native

T = TypeVar("T")

#: How runs end, as whoever writes that has it, and the states of their logs then.
ClosedLogs = Sequence[tuple[T, LogState]]


class OwnershipLost(Exception):
    """Another process, or a deletion, has ended the run that this one still runs."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One logged event: its number in the run, and its frame.

    It becomes bytes once, and is held once; each reader is sent the same `frame`.
    """

    number: int
    frame: bytes

    @property
    def type(self) -> str:
        """The event's type."""
        return native.type_of(self.frame)

    @property
    def data(self) -> bytes:
        """The event's JSON."""
        return native.data_of(self.frame)

    @property
    def is_last(self) -> bool:
        """Whether the run's log ends here."""
        return native.is_done(self.frame)


def make_entries(run_id: str, first: int, lines: Iterable[bytes]) -> list[Entry]:
    """Entries from the JSON of events, numbered from `first` on."""
    run = run_id.encode()
    return [
        Entry(number, native.frame(run, number, data))
        for number, data in enumerate(lines, first)
    ]


class EventLog(Protocol):
    """Append on one side, follow on many.

    A run has one writer at a time: the process that opened it. Numbers only grow, and
    none is ever given to two different events.
    """

    def open(self, run_id: str) -> None:
        """Become the writer of a run that has no events yet."""
        ...

    def append(self, run_id: str, events: Sequence[Event]) -> None:
        """Number the events and show them to this process's readers at once.

        They become durable, and visible to other processes, within one flush interval.
        """
        ...

    async def checkpoint(self, run_id: str, commit: Callable[[], None]) -> None:
        """Make a run's events durable, in one transaction with what `commit` writes.

        So nothing is told to the world that its log does not know. When `commit`
        raises, so does this. It may be called again, though it was committed. Raises
        `OwnershipLost` when the run was abandoned.
        """
        ...

    async def close(
        self,
        run_id: str,
        events: Sequence[Event],
        end: T,
        commit: Callable[[ClosedLogs[T]], None],
    ) -> None:
        """Append the last events, `done` among them.

        They are shown to readers once they are durable, in one transaction with what
        `commit` writes to the database: it is called with the ends of all runs that
        end at the same time. When it raises for ours, so does this, and the log stays
        open.
        """
        ...

    def abandon(self, run_id: str, events: Sequence[Event]) -> None:
        """Stop writing a run, showing last events to this process's readers only.

        For a run that another process has taken over, or that the database cannot
        take: their numbers are never given again, since whoever ends the run for good
        leaps over them.
        """
        ...

    def release(self) -> None:
        """Let go the readers of runs that other processes write (at shutdown)."""
        ...

    async def aclose(self) -> None:
        """Make durable what is not, then stop."""
        ...

    @property
    def failing_since(self) -> float | None:
        """Since when nothing can be made durable (time.monotonic()), if so."""
        ...

    def follow(
        self, run_id: str, after: int, heartbeat: float
    ) -> AsyncGenerator[list[Entry]]:
        """The events after number `after`, in order, in batches, up to `done`.

        After `heartbeat` seconds of silence an empty batch comes.
        """
        ...
