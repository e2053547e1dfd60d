"""The logs of ended runs made compact: many small rows joined into few.

While a run is under way each flush leaves a row. Later the rows are joined, never the
events in them, so that a stream resumed years later is, byte for byte, what it was. A
reader in the middle of a log notices nothing: it asks for what comes after a number,
and each of its queries sees either the old rows or the joined one.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime

from streaming.models import EventSegment, LogState, Run, RunStatus

#: Text of a joined row, at most; what was written as one row stays one.
ROW_CHARS = 64 * 1024
#: Rows that one transaction takes, so that none is long.
BATCH_ROWS = 100


def due(ended_before: datetime, limit: int) -> list[str]:
    """Runs that ended before a time and whose log is still as it was written."""
    runs = Run.objects.filter(log_state=LogState.WRITTEN, ended_at__lt=ended_before)
    return list(runs.order_by("ended_at").values_list("id", flat=True)[:limit])


def compact(run_id: str, after: int = 0) -> int | None:
    """Join the next rows of an ended run's log after a number, in one transaction.

    Returns the number to go on after; None when there is nothing more to do, or when
    somebody else has the run in hand.
    """
    # It never waits for a lock, so that it can be no part of a deadlock.
    ended = Run.objects.filter(pk=run_id, log_state=LogState.WRITTEN).exclude(
        status=RunStatus.RUNNING
    )
    if not ended.select_for_update(skip_locked=True, no_key=True).exists():
        return None
    segments = EventSegment.objects.filter(run_id=run_id, last_id__gt=after)
    locked = segments.order_by("last_id").select_for_update(skip_locked=True)
    rows = list(locked[:BATCH_ROWS])
    groups = list(_groups(rows))
    for group in groups:
        _join(group)
    if len(rows) < BATCH_ROWS:
        ended.update(log_state=LogState.COMPACTED)
        return None
    return groups[-1][0].first_id - 1  # it may have room for more


def _groups(rows: Iterable[EventSegment]) -> Iterator[list[EventSegment]]:
    """Rows that fit into one and whose numbers follow on each other."""
    group: list[EventSegment] = []
    size = 0
    for row in rows:
        size += len(row.events) + 1
        # Over a crash the numbers leap, and a row counts them from its first.
        if group and (size > ROW_CHARS or row.first_id != group[-1].last_id + 1):
            yield group
            group, size = [], len(row.events) + 1
        group.append(row)
    if group:
        yield group


def _join(group: list[EventSegment]) -> None:
    *others, last = group
    if others:
        gone = [row.pk for row in others]
        EventSegment.objects.filter(pk__in=gone).delete()
        last.first_id = group[0].first_id
        last.events = "\n".join(row.events for row in group)
        last.save(update_fields=["first_id", "events"])
