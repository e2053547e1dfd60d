"""A run's event log as rows: one row for each event, or for a sequence of deltas.

Times are milliseconds since the creation of the run.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import msgspec

from streaming.admin.display import number
from streaming.event_log import stored_log
from streaming.events import (
    Complete,
    Connected,
    Content,
    Done,
    ErrorEvent,
    Event,
    Input,
    Restarted,
    Thinking,
    ToolCallEvent,
    ToolCallInfo,
    ToolResultEvent,
)
from streaming.models import Run

MOST_CHARACTERS = 300
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_decoder = msgspec.json.Decoder(Event)


@dataclass(slots=True, kw_only=True)
class Row:
    """One event, or consecutive deltas of one type."""

    kind: str
    first_id: int
    last_id: int
    start: int
    end: int
    #: The beginning of the text, and the number of characters of all of it.
    text: str
    length: int
    #: For a tool call and its result.
    name: str = ""
    call_id: str = ""
    is_error: bool = False
    #: Whether a further attempt has made it void.
    is_void: bool = False
    #: Silence before the row.
    gap: int = 0
    #: Ids missing before the row, as after a crash of the server.
    lost: int = 0
    #: For a tool call: the time until its result.
    took: int | None = None
    #: Start and width of the bar.
    bar: tuple[int, int] = (0, 0)

    @property
    def count(self) -> int:
        """Return the number of events."""
        return self.last_id - self.first_id + 1

    @property
    def hidden(self) -> int:
        """Return the number of characters that are not shown."""
        return self.length - len(self.text)

    @property
    def lasted(self) -> int:
        """Return the duration: a tool call's ends with its result."""
        return self.end - self.start if self.took is None else self.took

    @property
    def is_delta(self) -> bool:
        """Return true for a part of a longer text."""
        return self.kind in ("content", "thinking")

    def absorb(self, delta: "Row") -> None:
        """Append the delta that follows."""
        self.last_id, self.end = delta.last_id, max(self.end, delta.end)
        self.text += delta.text[: MOST_CHARACTERS - len(self.text)]
        self.length += delta.length


@dataclass
class Timeline:
    """The rows of a log, in order, and their totals."""

    running: bool
    #: From the run's creation to its end, or to its last heartbeat.
    span: int
    rows: list[Row] = field(default_factory=list)
    events: int = 0
    #: The time of the model's first output.
    first_token: int | None = None
    _calls: dict[str, Row] = field(default_factory=dict)

    def draw(self, rows: Iterable[Row]) -> None:
        """Compute the bars of some of the rows, each with a visible width."""
        for row in rows:
            waits = self.running and row.kind == "tool_call" and row.took is None
            lasted = self.span - row.start if waits else row.lasted
            width = max(lasted, self.span // 200, 1)
            row.bar = (min(row.start, self.span - width), width)

    def add(self, row: Row) -> None:
        """Add the next event of the log."""
        self.events += 1
        self.span = max(self.span, row.end)
        if self.first_token is None and (row.is_delta or row.kind == "tool_call"):
            self.first_token = row.start
        if row.kind == "tool_call":
            self._calls[row.call_id] = row
        elif call := self._calls.pop(row.call_id, None):
            call.took = row.start - call.start
        self._place(row)

    def discard(self, after: int) -> None:
        """Mark the rows after a number as void."""
        for row in reversed(self.rows):
            if row.last_id <= after:
                break
            row.is_void = True

    def _place(self, row: Row) -> None:
        last = self.rows[-1] if self.rows else None
        row.lost = max(row.first_id - (last.last_id if last else 0) - 1, 0)
        row.gap = max(row.start - (last.end if last else 0), 0)
        if last and row.is_delta and row.kind == last.kind and not row.lost:
            last.absorb(row)
        else:
            self.rows.append(row)


def timeline(run: Run) -> Timeline:
    """Read the log of a run, which may still be active."""
    zero = _milliseconds(run.created_at)
    span = _milliseconds(run.ended_at or run.heartbeat_at) - zero
    drawn = Timeline(running=not run.has_ended, span=max(span, 1))
    at = zero
    for entry in stored_log().read_all(run.id):
        try:
            event = _decoder.decode(entry.data)
        except msgspec.MsgspecError:
            # Of another version, or damaged: show it at the time of the event before.
            kind, summary = "unreadable", _Summary(entry.data.decode())
        else:
            at = event.timestamp
            if isinstance(event, Restarted):
                drawn.discard(event.metadata.discard_after)
            kind, summary = str(event.__struct_config__.tag), _summary(event)
        offset = max(at - zero, 0)
        drawn.add(
            Row(
                kind=kind,
                first_id=entry.number,
                last_id=entry.number,
                start=offset,
                end=offset,
                text=summary.text[:MOST_CHARACTERS],
                length=len(summary.text),
                name=summary.name,
                call_id=summary.call_id,
                is_error=summary.is_error,
            )
        )
    return drawn


@dataclass(slots=True)
class _Summary:
    text: str
    name: str = ""
    call_id: str = ""
    is_error: bool = False


def _summary(event: Event) -> _Summary:
    match event:
        case Content():
            return _Summary(event.content)
        case Thinking():
            return _Summary(event.thinking_step)
        case ToolCallEvent(tool_call=ToolCallInfo() as call):
            return _Summary(call.arguments, call.name, call.id)
        case ToolResultEvent(tool_call=ToolCallInfo() as call):
            result = call.result or ""
            return _Summary(result, call.name, call.id, call.status == "error")
        case Input():
            return _Summary(event.input)
        case Restarted(metadata=info):
            return _Summary(f"attempt {info.attempt}, void after {info.discard_after}")
        case ErrorEvent():
            return _Summary(f"{event.metadata.code}: {event.error}", is_error=True)
        case Complete():
            return _Summary(_outcome(event))
        case Connected() | Done():
            return _Summary("")


def _outcome(event: Complete) -> str:
    usage, summary = event.metadata.usage, event.metadata.execution_summary
    model = f", answered by {event.metadata.model}" if event.metadata.model else ""
    return (
        f"{event.metadata.stop_reason}: {number(usage.total_tokens)} tokens,"
        f" {summary.llm_calls} model calls, {summary.tool_calls} tool calls{model}"
    )


def _milliseconds(at: datetime) -> int:
    return (at - EPOCH) // timedelta(milliseconds=1)
