"""The durable logs of all runs, as rows in the user's own database."""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec
from django.db.models import QuerySet
from django.utils import timezone

from streaming.event_log import compaction, segments
from streaming.event_log.base import ORPHAN_LEAP
from streaming.event_log.options import LogOptions
from streaming.event_log.segments import Segment, row_entries
from streaming.events import Entry, Event, discard_after, encode_all
from streaming.models import EventSegment, LogState, Run
from streaming.storage.sql import insert_all


class _Content(msgspec.Struct):
    """The only field that `text` decodes."""

    content: str = ""


class _Piece(NamedTuple):
    """A piece of a run's text, or a tool call or result, which has none."""

    number: int
    text: str | None


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

    def newest(self, run_id: str) -> Entry | None:
        """Return a run's newest durable entry."""
        return segments.newest(run_id)

    def text(self, run_id: str, *, since_tool: bool = False) -> str:
        """Return the text of a run's log, or only that after its last tool."""
        pieces: list[_Piece] = []
        for entry in self.read_all(run_id):
            match entry.type:
                case "content":
                    decoded = msgspec.json.decode(entry.data, type=_Content)
                    pieces.append(_Piece(entry.number, decoded.content))
                case "tool_call" | "tool_result":
                    pieces.append(_Piece(entry.number, None))
                case "restarted":
                    valid = discard_after(entry)
                    while pieces and pieces[-1].number > valid:
                        pieces.pop()
        if since_tool:
            tools = [at for at, piece in enumerate(pieces, 1) if piece.text is None]
            del pieces[: tools[-1] if tools else 0]
        return "".join(piece.text for piece in pieces if piece.text)

    def count_segments(self, runs: QuerySet[Run], limit: int) -> int:
        """Return the number of rows of the logs of `runs`, or the limit if less."""
        return EventSegment.objects.filter(run__in=runs).order_by()[:limit].count()

    def delete_segments(self, runs: QuerySet[Run], limit: int) -> int:
        """Delete at most `limit` rows of the logs of `runs`; return their number."""
        rows = EventSegment.objects.filter(run__in=runs).order_by("pk")
        # A locked row is being deleted by another transaction, or with its run later.
        free = rows.select_for_update(skip_locked=True)
        keys = list(free.values_list("pk", flat=True)[:limit])
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

    def free_number(self, run_id: str, after: int, *, leap: bool) -> int:
        """Return the first number that no event of a run has been given."""
        newest = segments.newest(run_id)
        used = max(newest.number if newest else 0, after)
        return used + (ORPHAN_LEAP if leap else 1)

    def append(self, run_id: str, first: int, events: Sequence[Event]) -> None:
        """Append events to the log of a run without an owner."""
        insert_all([Segment(run_id, first, encode_all(events)).row(timezone.now())])


def _rows(run_id: str, after: int) -> "QuerySet[EventSegment, tuple[int, str]]":
    """Select the first number and the events of a run's rows after a number."""
    found = EventSegment.objects.filter(run_id=run_id, last_id__gt=after)
    return found.order_by("last_id").values_list("first_id", "events")
