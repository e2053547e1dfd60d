"""The durable logs of all runs, as rows in the user's own database."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from functools import reduce
from operator import or_

import msgspec
from django.db.models import Q, QuerySet
from django.utils import timezone

from streaming.event_log import compaction, segments
from streaming.event_log.options import LogOptions
from streaming.event_log.segments import Segment, row_entries
from streaming.events import Entry, Event, encode_all
from streaming.models import IS_ACTIVE, EventSegment, LogState, Run

#: Leap of the numbers past a dead process's last durable one: beyond all that it may
#: have shown to its readers without making it durable.
ORPHAN_LEAP = 1_000_000
#: Runs that one query covers: SQLite's expressions are at most a thousand deep.
RUNS_PER_QUERY = 100


class _Content(msgspec.Struct):
    """The only field that `text` decodes."""

    content: str = ""


class DatabaseStoredLog:
    """Implements `StoredLog` over the `EventSegment` rows."""

    def __init__(self, options: LogOptions | None = None) -> None:
        self._options = options or LogOptions()

    def read(self, run_id: str, after: int = 0) -> list[Entry]:
        """Return the next durable entries of a run after a number."""
        options = self._options
        rows = _rows(run_id, after)
        near = rows.filter(first_id__lte=after + options.read_numbers)
        # After a crash the numbers leap: then the next row is further on.
        page = list(near[: options.read_rows]) or list(rows[:1])
        return [entry for row in page for entry in row_entries(*row, after)]

    def read_all(self, run_id: str, after: int = 0) -> Iterator[Entry]:
        """Yield all durable entries of a run after a number, from one query."""
        for row in _rows(run_id, after).iterator(self._options.read_rows):
            yield from row_entries(*row, after)

    def read_new(
        self, positions: Mapping[str, int]
    ) -> tuple[dict[str, list[Entry]], set[str]]:
        """Return entries of several runs, each after a number; and the ended runs' ids.

        A run that was deleted counts as ended.
        """
        # This query comes first: all entries of an ended run precede the second one.
        active = Run.objects.filter(IS_ACTIVE, id__in=positions)
        ended = set(positions) - set(active.values_list("id", flat=True))
        found: dict[str, list[Entry]] = {}
        wanted = list(positions.items())
        for start in range(0, len(wanted), RUNS_PER_QUERY):
            _read_new(dict(wanted[start : start + RUNS_PER_QUERY]), found)
        return found, ended

    def newest(self, run_id: str) -> Entry | None:
        """Return a run's newest durable entry."""
        return segments.newest(run_id)

    def text(self, run_id: str, *, since_tool: bool = False) -> str:
        """Return the text of a run's log, or only that after its last tool."""
        pieces: list[str] = []
        for entry in self.read_all(run_id):
            if since_tool and entry.type in ("tool_call", "tool_result"):
                pieces.clear()
            elif entry.type == "content":
                pieces.append(msgspec.json.decode(entry.data, type=_Content).content)
        return "".join(pieces)

    def count_segments(self, runs: QuerySet[Run]) -> int:
        """Return the number of rows of the logs of `runs`."""
        return EventSegment.objects.filter(run__in=runs).count()

    def delete_segments(self, runs: QuerySet[Run], limit: int) -> int:
        """Delete at most `limit` rows of the logs of `runs`; return their number."""
        rows = EventSegment.objects.filter(run__in=runs).order_by()
        keys = list(rows.values_list("pk", flat=True)[:limit])
        EventSegment.objects.filter(pk__in=keys).delete()
        return len(keys)

    def compaction_due(self, ended_before: datetime, limit: int) -> list[str]:
        """Return runs that ended before a time and whose log is not compacted yet."""
        return compaction.due(ended_before, limit)

    def compact(self, run_id: str, after: int = 0) -> int | None:
        """Join the next rows of an ended run's log after a number."""
        options = self._options
        return compaction.compact(
            run_id, after, options.compact_chars, options.compact_rows
        )

    def delete(self, run_ids: Collection[str]) -> set[str]:
        """Delete the logs of runs, except rows that another transaction has locked."""
        rows = EventSegment.objects.filter(run__in=run_ids)
        # A locked row belongs to a conversation that is being deleted as a whole.
        free = rows.select_for_update(skip_locked=True).values_list("pk", flat=True)
        EventSegment.objects.filter(pk__in=list(free)).delete()
        deleted = set(run_ids) - set(rows.values_list("run", flat=True))
        Run.objects.filter(pk__in=deleted).update(log_state=LogState.REMOVED)
        return deleted

    def end_orphan(
        self, run_id: str, events: Sequence[Event], *, leap: bool = True
    ) -> None:
        """Append the last events of a run without an owner."""
        last = segments.newest(run_id)
        first = (last.number if last else 0) + (ORPHAN_LEAP if leap else 1)
        row = Segment(run_id, first, encode_all(events)).row(timezone.now())
        row.save(force_insert=True)


def _rows(run_id: str, after: int) -> "QuerySet[EventSegment, tuple[int, str]]":
    """Select the first number and the events of a run's rows after a number."""
    found = EventSegment.objects.filter(run_id=run_id, last_id__gt=after)
    return found.order_by("last_id").values_list("first_id", "events")


def _read_new(positions: Mapping[str, int], found: dict[str, list[Entry]]) -> None:
    # Each run has its own number: one that is far ahead is not read again each time.
    new = [Q(run_id=run_id, last_id__gt=after) for run_id, after in positions.items()]
    rows = EventSegment.objects.filter(reduce(or_, new)).order_by("run_id", "last_id")
    for run_id, first, events in rows.values_list("run_id", "first_id", "events"):
        entries = row_entries(first, events, positions[run_id])
        found.setdefault(run_id, []).extend(entries)
