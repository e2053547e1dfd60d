"""The events of a run: one closed union, their JSON, and entries (numbered events).

Each event has `type`, `is_final` and `timestamp` (ms since the epoch); empty fields are
omitted. The names of types and fields are the wire contract and never change.
"""

import time
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

EventType = Literal[
    "connected",
    "content",
    "thinking",
    "tool_call",
    "tool_result",
    "input",
    "restarted",
    "error",
    "complete",
    "done",
]
EVENT_TYPES: tuple[EventType, ...] = EventType.__args__  # type: ignore[attr-defined]
#: These types are sent to every client despite its filter.
ALWAYS_SENT: frozenset[EventType] = frozenset(
    {"connected", "restarted", "error", "complete", "done"}
)

StopReason = Literal[
    "end_turn", "max_tokens", "max_iterations", "refusal", "cancelled", "budget"
]


def now_ms() -> int:
    """Return the wall clock's time in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class Usage(msgspec.Struct):
    """Token counts. `input_tokens` includes cached, `output_tokens` reasoning ones."""

    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    reasoning_tokens: int = 0


class ExecutionSummary(msgspec.Struct):
    """Counts of a run's work."""

    llm_calls: int
    tool_calls: int
    execution_time_ms: int
    used_tools: list[str]
    stop_reason: StopReason


class ToolCallInfo(msgspec.Struct, omit_defaults=True):
    """A tool call as clients see it; `arguments` is a JSON string."""

    id: str
    name: str
    arguments: str
    status: Literal["executing", "completed", "error"]
    result: str | UnsetType = UNSET


class ConnectedInfo(msgspec.Struct):
    """Description of the run that a connection follows."""

    agent: str
    run_id: str
    org_id: str
    conversation_id: str
    provider: str
    model: str
    resumed_after: int | UnsetType = UNSET
    #: "pending", and its position from 1, if the run waits for an earlier one.
    status: str | UnsetType = UNSET
    position: int | UnsetType = UNSET
    #: The id of the text, if the request steers the run.
    message_id: str | UnsetType = UNSET


class RestartInfo(msgspec.Struct):
    """The next attempt of a run, and the number after which entries are void."""

    attempt: int
    discard_after: int


class ErrorInfo(msgspec.Struct):
    """An error's code; `retryable`: the same request may succeed later."""

    code: str
    retryable: bool
    #: The run that the inputs which this one has not taken became.
    next_run_id: str | UnsetType = UNSET


class Cost(msgspec.Struct):
    """An amount of money. The amount is a decimal number in a string."""

    amount: str
    currency: str = "USD"


class CompleteInfo(msgspec.Struct):
    """The outcome of a run that did not fail."""

    stop_reason: StopReason
    usage: Usage
    execution_summary: ExecutionSummary
    #: The number of oldest exchanges that did not fit into the context window.
    dropped_exchanges: int | UnsetType = UNSET
    #: Unset: the price of the model is unknown.
    cost: Cost | UnsetType = UNSET
    #: The model that answered and its provider, if the agent has fallbacks.
    provider: str | UnsetType = UNSET
    model: str | UnsetType = UNSET
    #: The answer as a JSON value, if the agent has an output type.
    output: msgspec.Raw | UnsetType = UNSET
    #: The run that the inputs which this one has not taken became.
    next_run_id: str | UnsetType = UNSET


class BaseEvent(msgspec.Struct, tag_field="type", kw_only=True):
    """Fields of every event."""

    is_final: bool = False
    timestamp: int = msgspec.field(default_factory=now_ms)


class Connected(BaseEvent, tag="connected", kw_only=True):
    """The first event on every connection; generated for it and never logged."""

    metadata: ConnectedInfo


class Thinking(BaseEvent, tag="thinking", kw_only=True):
    """Reasoning, as it arrives."""

    thinking_step: str


class Content(BaseEvent, tag="content", kw_only=True):
    """Text of the response, as it arrives."""

    content: str


class ToolCallEvent(BaseEvent, tag="tool_call", kw_only=True):
    """A tool starts."""

    tool_call: ToolCallInfo


class ToolResultEvent(BaseEvent, tag="tool_result", kw_only=True):
    """A tool ended."""

    tool_call: ToolCallInfo


class Input(BaseEvent, tag="input", kw_only=True):
    """The run has taken a text with which its user steers it."""

    input: str
    message_id: str


class Restarted(BaseEvent, tag="restarted", kw_only=True):
    """Another attempt continues the run; the entries up to this one are void."""

    metadata: RestartInfo


class ErrorEvent(BaseEvent, tag="error", kw_only=True):
    """The run failed."""

    error: str
    metadata: ErrorInfo
    is_final: bool = True


class Complete(BaseEvent, tag="complete", kw_only=True):
    """The run ended."""

    metadata: CompleteInfo
    is_final: bool = True


class Done(BaseEvent, tag="done", kw_only=True):
    """The last event of every log."""

    is_final: bool = True


Event = (
    Connected
    | Thinking
    | Content
    | ToolCallEvent
    | ToolResultEvent
    | Input
    | Restarted
    | ErrorEvent
    | Complete
    | Done
)


_encoder = msgspec.json.Encoder()
_decode = msgspec.json.Decoder(Event).decode

# Clients that split a stream into lines by Unicode's rules would cut data at these. The
# other characters of these rules are below U+0020, which JSON escapes.
_SEPARATORS = {
    "\u0085".encode(): b"\\u0085",
    "\u2028".encode(): b"\\u2028",
    "\u2029".encode(): b"\\u2029",
}

#: `type` is the first field of each event's JSON.
TYPE_START = len(b'{"type":"')
_DONE = b'{"type":"done"'


def encode(event: BaseEvent) -> bytes:
    """Return an event's JSON: compact, UTF-8, one line by any definition of lines."""
    return encode_all([event])[0]


def decode(data: bytes) -> Event | None:
    """Return the event of an entry; None if it is of a type that is not known here."""
    try:
        event: Event = _decode(data)
        return event
    except msgspec.ValidationError:
        return None


def encode_all(events: Sequence[BaseEvent]) -> list[bytes]:
    """Return the JSON of each event, as `encode` does."""
    lines = _encoder.encode_lines(events)
    if not lines.isascii():
        for separator, escape in _SEPARATORS.items():
            lines = lines.replace(separator, escape)
    return lines.split(b"\n")[:-1]


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A logged event: its number in the run, and its JSON (`data`).

    An entry holds nothing else: the type is read from the JSON, and each reader's wire
    format makes its own frame. A native frame takes 0.35 µs to make and would take 145
    bytes to keep, in each of up to 512 entries that a run's tail holds.
    """

    number: int
    data: bytes

    @property
    def type(self) -> str:
        """The event's type; of a later version, it may be none of `EVENT_TYPES`."""
        return self.data[TYPE_START : self.data.index(b'"', TYPE_START)].decode()

    @property
    def is_last(self) -> bool:
        """True for `done`, which ends every log."""
        return self.data.startswith(_DONE)


def discard_after(entry: Entry) -> int:
    """Return the number after which a `restarted` entry makes those before it void."""
    event: Restarted = msgspec.json.decode(entry.data, type=Restarted)
    return event.metadata.discard_after


def make_entries(first: int, lines: Iterable[bytes]) -> list[Entry]:
    """Return the entries of events, given as JSON, numbered from `first` on."""
    return [Entry(number, data) for number, data in enumerate(lines, first)]
