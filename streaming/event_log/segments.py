"""The rows of the event log: each is a range of a run's events, one JSON a line."""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from typing import Generic, TypeVar

import msgspec
from django.db.models import Max, QuerySet
from django.utils import timezone

from streaming.event_log.base import ClosedLogs
from streaming.events import Entry, make_entries
from streaming.models import EventSegment, LogState, Run, RunStatus
from streaming.storage.sql import insert_all

T = TypeVar("T")


class Segment(msgspec.Struct, frozen=True):
    """The JSON of one run's events, numbered from `first` on, about to be written."""

    run_id: str
    first: int
    lines: Sequence[bytes]
    #: The attempt of the owner that writes it; 0: the run has no owner.
    attempt: int = 0

    @property
    def last(self) -> int:
        """The number of the last event; `first - 1` if there are none."""
        return self.first + len(self.lines) - 1

    def after(self, number: int) -> "Segment":
        """Return the segment without its events up to a number."""
        known = max(number - self.first + 1, 0)
        return Segment(
            self.run_id, self.first + known, self.lines[known:], self.attempt
        )

    def contains(self, entry: Entry) -> bool:
        """Return True if an entry is one of this segment's events, byte for byte."""
        index = entry.number - self.first
        return 0 <= index < len(self.lines) and self.lines[index] == entry.data

    def row(self, now: datetime) -> EventSegment:
        """Return the segment as a database row."""
        return EventSegment(
            run_id=self.run_id,
            first_id=self.first,
            last_id=self.last,
            events=b"\n".join(self.lines).decode(),
            created_at=now,
        )


class PendingSegment(msgspec.Struct, Generic[T], frozen=True):
    """A segment, and the item that `commit` writes along with it."""

    segment: Segment
    item: T
    #: True if an earlier attempt failed, and its transaction may still be committed.
    maybe_committed: bool


class Saved(msgspec.Struct, frozen=True):
    """The outcome of a write for those of its runs that it left out."""

    #: Runs that the worker no longer owns.
    lost: set[str]
    #: Runs that another transaction has locked: their events were not written.
    locked: set[str]


def save(
    segments: Iterable[Segment], worker: str, maybe_committed: bool = False
) -> Saved:
    """Write segments of runs that `worker` still owns, and that are not locked.

    `maybe_committed=True`: an earlier attempt failed, and its transaction may be
    committed. Events that are stored already are then not written again.
    """
    by_run = {segment.run_id: segment for segment in segments}
    # This transaction waits for no run: one locked run must not delay the others.
    free = _lock_owned(by_run.values(), worker, skip_locked=True)
    rest = [segment for run_id, segment in by_run.items() if run_id not in free]
    locked = _matching(_owned_runs(rest, worker), rest) if rest else set()
    stored: dict[str, int] = {}
    if maybe_committed:
        rows = EventSegment.objects.filter(run_id__in=free).order_by()
        last = rows.values("run_id").annotate(last=Max("last_id"))
        stored = dict(last.values_list("run_id", "last"))
    _insert(by_run[run_id].after(stored.get(run_id, 0)) for run_id in free)
    return Saved(set(by_run) - free - locked, locked)


def save_and_commit(
    pending: Sequence[PendingSegment[T]],
    worker: str,
    commit: Callable[[ClosedLogs[T]], None],
) -> list[None]:
    """Write the segments, if they have events, and the writes of `commit`.

    `commit` receives each item with the state of the run's log if it ends here. For
    a run whose earlier attempt may be committed, it is called again unless the log is
    found to end with this segment.
    """
    unsaved = [rest for each in pending if (rest := _unsaved_part(each, worker))]
    # A log of one row cannot be compacted further.
    compact, written = LogState.COMPACTED, LogState.WRITTEN
    if unsaved:
        commit([(item, compact if s.first == 1 else written) for s, item in unsaved])
        _insert(segment for segment, _ in unsaved)
    return [None] * len(pending)


def newest(run_id: str) -> Entry | None:
    """Return a run's newest durable entry."""
    rows = EventSegment.objects.filter(run_id=run_id).order_by("-last_id")
    if row := rows.values_list("first_id", "last_id", "events").first():
        first, last, events = row
        return row_entries(first, events, last - 1)[0]
    return None


def row_entries(first: int, events: str, after: int) -> list[Entry]:
    """Return the entries of a row that starts at number `first`, after a number."""
    known = max(after - first + 1, 0)
    return make_entries(first + known, events.encode().split(b"\n")[known:])


def _insert(segments: Iterable[Segment]) -> None:
    now = timezone.now()
    insert_all(segment.row(now) for segment in segments if segment.lines)


def _unsaved_part(pending: PendingSegment[T], worker: str) -> tuple[Segment, T] | None:
    """Return the part that an earlier attempt did not write; None: all was written."""
    segment = pending.segment
    if pending.maybe_committed:
        # The lock waits for that attempt if its transaction is still open.
        _lock_owned([segment], worker)
        last = newest(segment.run_id)
        if last and last.is_last and segment.contains(last):
            return None
        segment = segment.after(last.number if last else 0)
    return segment, pending.item


def _lock_owned(
    segments: Collection[Segment], worker: str, *, skip_locked: bool = False
) -> set[str]:
    """Return the runs that `worker` owns in the attempts of segments; lock them.

    Without the lock, another process could end a run between this query and the commit.
    """
    owned = _owned_runs(segments, worker)
    locked = owned.select_for_update(no_key=True, skip_locked=skip_locked)
    return _matching(locked.order_by("id"), segments)


def _owned_runs(segments: Collection[Segment], worker: str) -> QuerySet[Run]:
    run_ids = [segment.run_id for segment in segments]
    return Run.objects.filter(id__in=run_ids, worker=worker, status=RunStatus.RUNNING)


def _matching(runs: QuerySet[Run], segments: Collection[Segment]) -> set[str]:
    """Return the ids of runs whose attempt is that of their segment."""
    attempts = {segment.run_id: segment.attempt for segment in segments}
    rows = runs.values_list("id", "attempt")
    return {run_id for run_id, attempt in rows if attempt == attempts[run_id]}
