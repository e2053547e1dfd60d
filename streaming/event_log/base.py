"""What an event log is, whatever it is made of."""

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Protocol

import msgspec

from streaming.events import Event
from streaming.wire import native


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One logged event: its number in the run, its JSON, and its frame.

    It becomes bytes once; each reader is sent the same `frame`.
    """

    number: int
    type: str
    data: bytes
    frame: bytes

    @property
    def is_last(self) -> bool:
        """Whether the run's log ends here."""
        return self.type == "done"


def make_entry(run_id: str, number: int, data: bytes) -> Entry:
    """An entry from an event's JSON."""
    type = native.type_of(data)
    return Entry(number, type, data, native.frame(run_id, number, type, data))


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

    async def keep(self, run_id: str, commit: Callable[[], None]) -> None:
        """Make a run's events durable, in one transaction with what `commit` writes.

        So nothing is told to the world that its log does not know. When `commit`
        raises, so does this. It may be called again, though it was committed.
        """
        ...

    async def close(
        self, run_id: str, events: Sequence[Event], commit: Callable[[], None]
    ) -> None:
        """Append the last events, `done` among them.

        They are shown to readers once they are durable, in one transaction with what
        `commit` writes to the database. When `commit` raises, so does this, and the
        log stays open.
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
