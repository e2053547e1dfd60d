"""The event log's rows: stretches of encoded events, one JSON document a line."""

from collections.abc import Collection, Iterable, Iterator, Sequence

import msgspec

from streaming.event_log.base import Entry, make_entry
from streaming.models import EventSegment, LogState, Run, RunStatus
from streaming.statements import insert_all

#: Rows that one read takes at most. A row holds what one flush interval brought.
READ_ROWS = 200
#: Ids that one read covers, but for what its last row goes beyond them.
READ_IDS = 4000


class Segment(msgspec.Struct, frozen=True):
    """Entries of one run that follow on each other, about to be written."""

    run_id: str
    entries: Sequence[Entry]

    def row(self) -> EventSegment:
        """The segment as a database row."""
        return EventSegment(
            run_id=self.run_id,
            first_id=self.entries[0].number,
            last_id=self.entries[-1].number,
            events=b"\n".join(entry.data for entry in self.entries).decode(),
        )


def save(segments: Iterable[Segment], worker: str) -> set[str]:
    """Write segments of runs that `worker` still owns; return the runs it lost."""
    by_run = {segment.run_id: segment for segment in segments}
    lost = set(by_run) - _owned(by_run, worker)
    rows = [s.row() for run_id, s in by_run.items() if run_id not in lost]
    insert_all(rows)
    return lost


def load(run_id: str, after: int) -> list[Entry]:
    """The next durable entries of a run after a number."""
    segments = EventSegment.objects.filter(run_id=run_id, last_id__gt=after)
    rows = segments.order_by("last_id").values_list("first_id", "events")
    near = rows.filter(first_id__lte=after + READ_IDS)[:READ_ROWS]
    # Over a crash ids leap: then the next row is further on.
    found = list(near) or list(rows[:1])
    return [e for row in found for e in _entries(run_id, *row, after)]


def load_new(positions: dict[str, int]) -> dict[str, list[Entry]]:
    """The durable entries of several runs, each after a number, in one query."""
    rows = EventSegment.objects.filter(
        run_id__in=positions, last_id__gt=min(positions.values(), default=0)
    )
    columns = rows.order_by("run_id", "last_id").values_list(
        "run_id", "first_id", "last_id", "events"
    )
    found: dict[str, list[Entry]] = {}
    for run_id, first, last, events in columns:
        if last > (after := positions[run_id]):
            news = _entries(run_id, first, events, after)
            found.setdefault(run_id, []).extend(news)
    return found


def gone(run_ids: Collection[str]) -> set[str]:
    """Those of the runs that were deleted, or whose log was."""
    kept = Run.objects.filter(id__in=run_ids).exclude(log_state=LogState.REMOVED)
    return set(run_ids) - set(kept.values_list("id", flat=True))


def newest(run_id: str) -> Entry | None:
    """A run's newest durable entry."""
    rows = EventSegment.objects.filter(run_id=run_id).order_by("-last_id")
    if row := rows.values_list("first_id", "last_id", "events").first():
        first, last, events = row
        return next(_entries(run_id, first, events, last - 1))
    return None


class _Said(msgspec.Struct):
    content: str = ""


def unsaved_text(run_id: str) -> str:
    """The answer under way: what was said since the last tool.

    All that was said before a tool is in a message; this is not before the run ends.
    """
    said: list[str] = []
    after = 0
    while entries := load(run_id, after):
        for entry in entries:
            if entry.type in ("tool_call", "tool_result"):
                said.clear()
            elif entry.type == "content":
                said.append(msgspec.json.decode(entry.data, type=_Said).content)
        after = entries[-1].number
    return "".join(said)


def _owned(run_ids: Collection[str], worker: str) -> set[str]:
    owned = Run.objects.filter(id__in=run_ids, worker=worker, status=RunStatus.RUNNING)
    return set(owned.values_list("id", flat=True))


def _entries(run_id: str, first: int, events: str, after: int) -> Iterator[Entry]:
    """The entries of a row after a number."""
    known = max(after - first + 1, 0)
    lines = events.encode().split(b"\n")[known:]
    for number, data in enumerate(lines, first + known):
        yield make_entry(run_id, number, data)
