"""The event log's rows: stretches of encoded events, one JSON document a line."""

from collections.abc import (
    Callable,
    Collection,
    Iterable,
    Mapping,
    Sequence,
)
from datetime import datetime
from functools import reduce
from operator import or_
from typing import Generic, TypeVar

import msgspec
from django.db.models import Max, Q
from django.utils import timezone

from streaming.event_log.base import ClosedLogs, Entry, make_entries
from streaming.models import EventSegment, LogState, Run, RunStatus
from streaming.storage.sql import insert_all

T = TypeVar("T")

#: Rows that one read takes at most. A row holds what one flush interval brought.
READ_ROWS = 200
#: Ids that one read covers, but for what its last row goes beyond them.
READ_IDS = 4000
#: Runs that one query asks after: SQLite's expressions are a thousand deep at most.
RUNS_A_QUERY = 100


class Segment(msgspec.Struct, frozen=True):
    """The JSON of one run's events, numbered from `first` on, about to be written."""

    run_id: str
    first: int
    lines: Sequence[bytes]

    @property
    def last(self) -> int:
        """The number of its last event; that before `first` when it has none."""
        return self.first + len(self.lines) - 1

    def after(self, number: int) -> "Segment":
        """The segment without its events up to a number."""
        known = max(number - self.first + 1, 0)
        return Segment(self.run_id, self.first + known, self.lines[known:])

    def contains(self, entry: Entry) -> bool:
        """Whether an entry is of this segment."""
        place = entry.number - self.first
        return 0 <= place < len(self.lines) and self.lines[place] == entry.data

    def row(self, now: datetime) -> EventSegment:
        """The segment as a database row."""
        return EventSegment(
            run_id=self.run_id,
            first_id=self.first,
            last_id=self.last,
            events=b"\n".join(self.lines).decode(),
            created_at=now,
        )


def save(
    segments: Iterable[Segment], worker: str, maybe_committed: bool = False
) -> set[str]:
    """Write segments of runs that `worker` still owns; return the runs it lost.

    `maybe_committed` says that an earlier attempt failed and may have been committed:
    events that are stored already are not written again.
    """
    by_run = {segment.run_id: segment for segment in segments}
    owned = _lock_owned(by_run, worker)
    there = _last_numbers(owned) if maybe_committed else {}
    rest = [by_run[run_id].after(there.get(run_id, 0)) for run_id in owned]
    _insert(rest)
    return set(by_run) - owned


class PendingSegment(msgspec.Struct, Generic[T], frozen=True):
    """A segment, and what `commit` is to write along with it."""

    segment: Segment
    what: T
    #: Whether an earlier attempt failed, and may have been committed all the same.
    maybe_committed: bool


def _insert(segments: Iterable[Segment]) -> None:
    now = timezone.now()
    insert_all(segment.row(now) for segment in segments if segment.lines)


def save_and_commit(
    savings: Sequence[PendingSegment[T]],
    worker: str,
    commit: Callable[[ClosedLogs[T]], None],
) -> list[None]:
    """Write the segments, if they have events, and what `commit` writes.

    `commit` is told in what state each log is if it ends here. It is called again for
    a run of which we are maybe_committed, unless that has ended so.
    """
    left = [one for saving in savings if (one := _left_of(saving, worker))]
    # A log of one row is as compact as can be.
    compact, written = LogState.COMPACTED, LogState.WRITTEN
    if left:
        commit([(what, compact if s.first == 1 else written) for s, what in left])
        _insert(segment for segment, _ in left)
    return [None] * len(savings)


def _left_of(saving: PendingSegment[T], worker: str) -> tuple[Segment, T] | None:
    """What an earlier attempt left to write; None: nothing."""
    segment = saving.segment
    if saving.maybe_committed:
        # The lock makes us wait for that attempt, if it still goes on over there.
        _lock_owned([segment.run_id], worker)
        last = newest(segment.run_id)
        if last and last.is_last and segment.contains(last):
            return None
        segment = segment.after(last.number if last else 0)
    return segment, saving.what


def load(run_id: str, after: int) -> list[Entry]:
    """The next durable entries of a run after a number."""
    segments = EventSegment.objects.filter(run_id=run_id, last_id__gt=after)
    rows = segments.order_by("last_id").values_list("first_id", "events")
    near = rows.filter(first_id__lte=after + READ_IDS)[:READ_ROWS]
    # Over a crash ids leap: then the next row is further on.
    found = list(near) or list(rows[:1])
    return [e for row in found for e in _entries(run_id, *row, after)]


def read_new(positions: Mapping[str, int]) -> tuple[dict[str, list[Entry]], set[str]]:
    """The durable entries of several runs, each after a number; and which ended.

    A run that was deleted has ended too.
    """
    # Asked first: all that an ended run has is there when the second query is made.
    under_way = Run.objects.filter(id__in=positions, status=RunStatus.RUNNING)
    ended = set(positions) - set(under_way.values_list("id", flat=True))
    found: dict[str, list[Entry]] = {}
    wanted = list(positions.items())
    for start in range(0, len(wanted), RUNS_A_QUERY):
        _load_new(dict(wanted[start : start + RUNS_A_QUERY]), found)
    return found, ended


def _load_new(positions: Mapping[str, int], found: dict[str, list[Entry]]) -> None:
    # Each run after its own number: one that is far ahead is not read again and again.
    new = [Q(run_id=run_id, last_id__gt=after) for run_id, after in positions.items()]
    rows = EventSegment.objects.filter(reduce(or_, new)).order_by("run_id", "last_id")
    for run_id, first, events in rows.values_list("run_id", "first_id", "events"):
        entries = _entries(run_id, first, events, positions[run_id])
        found.setdefault(run_id, []).extend(entries)


def newest(run_id: str) -> Entry | None:
    """A run's newest durable entry."""
    rows = EventSegment.objects.filter(run_id=run_id).order_by("-last_id")
    if row := rows.values_list("first_id", "last_id", "events").first():
        first, last, events = row
        return _entries(run_id, first, events, last - 1)[0]
    return None


class _Said(msgspec.Struct):
    content: str = ""


def text(run_id: str, *, since_tool: bool = False) -> str:
    """All that was said; or only what was said since the last tool."""
    said: list[str] = []
    after = 0
    while entries := load(run_id, after):
        for entry in entries:
            if since_tool and entry.type in ("tool_call", "tool_result"):
                said.clear()
            elif entry.type == "content":
                said.append(msgspec.json.decode(entry.data, type=_Said).content)
        after = entries[-1].number
    return "".join(said)


def _lock_owned(run_ids: Collection[str], worker: str) -> set[str]:
    """Those of the runs that `worker` owns, and goes on to own in this transaction.

    Without the lock another process could end one between our look and our commit.
    """
    owned = Run.objects.filter(id__in=run_ids, worker=worker, status=RunStatus.RUNNING)
    locked = owned.select_for_update(no_key=True).order_by("id")
    return set(locked.values_list("id", flat=True))


def _last_numbers(run_ids: Collection[str]) -> dict[str, int]:
    rows = EventSegment.objects.filter(run_id__in=run_ids).order_by().values("run_id")
    return dict(rows.annotate(last=Max("last_id")).values_list("run_id", "last"))


def _entries(run_id: str, first: int, events: str, after: int) -> list[Entry]:
    """The entries of a row after a number."""
    known = max(after - first + 1, 0)
    lines = events.encode().split(b"\n")[known:]
    return make_entries(run_id, first + known, lines)
