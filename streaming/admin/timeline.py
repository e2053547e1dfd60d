"""A run's event log as rows to read: a row for an event, or for a stretch of deltas.

Times are in milliseconds since the run was created.
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
    """One event, or several deltas of one kind that came one after another."""

    kind: str
    first_id: int
    last_id: int
    start: int
    end: int
    #: The beginning of what it says, and how many characters that is in all.
    text: str
    length: int
    #: Of a tool call and its result.
    name: str = ""
    call_id: str = ""
    is_error: bool = False
    #: How long nothing had come before it.
    gap: int = 0
    #: How many ids are missing before it, as after a crash of the server.
    lost: int = 0
    #: Of a tool call: how long until its result.
    took: int | None = None
    #: Where its bar begins, and how wide it is.
    bar: tuple[int, int] = (0, 0)

    @property
    def count(self) -> int:
        """How many events."""
        return self.last_id - self.first_id + 1

    @property
    def hidden(self) -> int:
        """How many characters are not shown."""
        return self.length - len(self.text)

    @property
    def lasted(self) -> int:
        """The length of its bar: a tool's ends with its result."""
        return self.end - self.start if self.took is None else self.took

    @property
    def is_delta(self) -> bool:
        """Whether it is part of something longer."""
        return self.kind in ("content", "thinking")

    def absorb(self, delta: "Row") -> None:
        """Take in the delta that follows."""
        self.last_id, self.end = delta.last_id, max(self.end, delta.end)
        self.text += delta.text[: MOST_CHARACTERS - len(self.text)]
        self.length += delta.length


@dataclass
class Timeline:
    """The rows of a log, in order, and what they add up to."""

    running: bool
    #: From the run's creation to its end, or to its last sign of life.
    span: int
    rows: list[Row] = field(default_factory=list)
    events: int = 0
    #: When the model first said something.
    first_token: int | None = None
    _calls: dict[str, Row] = field(default_factory=dict)

    def draw(self, rows: Iterable[Row]) -> None:
        """Measure the bars of some of the rows; a moment is seen too."""
        for row in rows:
            waits = self.running and row.kind == "tool_call" and row.took is None
            lasted = self.span - row.start if waits else row.lasted
            width = max(lasted, self.span // 200, 1)
            row.bar = (min(row.start, self.span - width), width)

    def add(self, row: Row) -> None:
        """The next event of the log."""
        self.events += 1
        self.span = max(self.span, row.end)
        if self.first_token is None and (row.is_delta or row.kind == "tool_call"):
            self.first_token = row.start
        if row.kind == "tool_call":
            self._calls[row.call_id] = row
        elif call := self._calls.pop(row.call_id, None):
            call.took = row.start - call.start
        self._place(row)

    def _place(self, row: Row) -> None:
        last = self.rows[-1] if self.rows else None
        row.lost = max(row.first_id - (last.last_id if last else 0) - 1, 0)
        row.gap = max(row.start - (last.end if last else 0), 0)
        if last and row.is_delta and row.kind == last.kind and not row.lost:
            last.absorb(row)
        else:
            self.rows.append(row)


def timeline(run: Run) -> Timeline:
    """Read the log of a run, which may still be growing."""
    zero = _milliseconds(run.created_at)
    span = _milliseconds(run.ended_at or run.heartbeat_at) - zero
    drawn = Timeline(running=run.is_active, span=max(span, 1))
    at = zero
    for entry in stored_log().read_all(run.id):
        try:
            event = _decoder.decode(entry.data)
        except msgspec.MsgspecError:
            # Of another version, or damaged: it takes the time of the one before.
            kind, said = "unreadable", _Said(entry.data.decode())
        else:
            at = event.timestamp
            kind, said = str(event.__struct_config__.tag), _said(event)
        offset = max(at - zero, 0)
        drawn.add(
            Row(
                kind=kind,
                first_id=entry.number,
                last_id=entry.number,
                start=offset,
                end=offset,
                text=said.text[:MOST_CHARACTERS],
                length=len(said.text),
                name=said.name,
                call_id=said.call_id,
                is_error=said.is_error,
            )
        )
    return drawn


@dataclass(slots=True)
class _Said:
    text: str
    name: str = ""
    call_id: str = ""
    is_error: bool = False


def _said(event: Event) -> _Said:
    match event:
        case Content():
            return _Said(event.content)
        case Thinking():
            return _Said(event.thinking_step)
        case ToolCallEvent(tool_call=ToolCallInfo() as call):
            return _Said(call.arguments, call.name, call.id)
        case ToolResultEvent(tool_call=ToolCallInfo() as call):
            result = call.result or ""
            return _Said(result, call.name, call.id, call.status == "error")
        case ErrorEvent():
            return _Said(f"{event.metadata.code}: {event.error}", is_error=True)
        case Complete():
            return _Said(_outcome(event))
        case Connected() | Done():
            return _Said("")


def _outcome(event: Complete) -> str:
    usage, summary = event.metadata.usage, event.metadata.execution_summary
    return (
        f"{event.metadata.stop_reason}: {number(usage.total_tokens)} tokens,"
        f" {summary.llm_calls} model calls, {summary.tool_calls} tool calls"
    )


def _milliseconds(at: datetime) -> int:
    return (at - EPOCH) // timedelta(milliseconds=1)
