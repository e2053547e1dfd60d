"""The compaction of ended runs' logs: many small rows are joined into few.

Each flush of a running run leaves a row. Compaction joins the rows, never the events in
them: a stream that is resumed years later is, byte for byte, the original one. A reader
in the middle of a log notices nothing: it asks for the entries after a number, and each
of its queries sees either the old rows or the joined one.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime

from streaming.models import HAS_NOT_ENDED, EventSegment, LogState, Run


def due(ended_before: datetime, limit: int) -> list[str]:
    """Return runs that ended before a time and whose log is not compacted yet."""
    runs = Run.objects.filter(log_state=LogState.WRITTEN, ended_at__lt=ended_before)
    return list(runs.order_by("ended_at").values_list("id", flat=True)[:limit])


def compact(run_id: str, after: int, max_chars: int, max_rows: int) -> int | None:
    """Join the next `max_rows` rows of an ended run's log into rows of `max_chars`.

    Returns the number to continue after; None when nothing remains to be done, or when
    another process has locked the run.
    """
    # This transaction never waits for a lock, and is thus no part of a deadlock.
    written = Run.objects.filter(pk=run_id, log_state=LogState.WRITTEN)
    ended = written.exclude(HAS_NOT_ENDED)
    if not ended.select_for_update(skip_locked=True, no_key=True).exists():
        return None
    rest = EventSegment.objects.filter(run_id=run_id, last_id__gt=after)
    locked = rest.order_by("last_id").select_for_update(skip_locked=True)
    rows = list(locked[:max_rows])
    groups = list(_groups(rows, max_chars))
    for group in groups:
        _join(group)
    if len(rows) < max_rows:
        ended.update(log_state=LogState.COMPACTED)
        return None
    return groups[-1][0].first_id - 1  # the last group may have room for more


def _groups(
    rows: Iterable[EventSegment], max_chars: int
) -> Iterator[list[EventSegment]]:
    """Yield rows that fit into one and whose numbers are consecutive."""
    group: list[EventSegment] = []
    size = 0
    for row in rows:
        size += len(row.events) + 1
        # Numbers leap after a crash, and a row counts its events from its first number.
        if group and (size > max_chars or row.first_id != group[-1].last_id + 1):
            yield group
            group, size = [], len(row.events) + 1
        group.append(row)
    if group:
        yield group


def _join(group: list[EventSegment]) -> None:
    *others, last = group
    if others:
        joined = [row.pk for row in others]
        EventSegment.objects.filter(pk__in=joined).delete()
        last.first_id = group[0].first_id
        last.events = "\n".join(row.events for row in group)
        last.save(update_fields=["first_id", "events"])
