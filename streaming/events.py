"""What comes out of a run: one closed union of events, in their wire form.

`type`, `is_final` and `timestamp` (ms since the epoch) are on each; a field with
nothing to say is left out. These words are the wire contract and never change.
"""

import time
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

EventType = Literal[
    "connected",
    "content",
    "thinking",
    "tool_call",
    "tool_result",
    "error",
    "complete",
    "done",
]
EVENT_TYPES: tuple[EventType, ...] = EventType.__args__  # type: ignore[attr-defined]
#: These are sent whatever a client filters for.
ALWAYS_SENT: frozenset[EventType] = frozenset(
    {"connected", "error", "complete", "done"}
)

StopReason = Literal["end_turn", "max_tokens", "max_iterations", "refusal", "cancelled"]


def now_ms() -> int:
    """The wall clock in milliseconds."""
    return time.time_ns() // 1_000_000


class Usage(msgspec.Struct):
    """Tokens. `input_tokens` counts cached ones too, `output_tokens` reasoning."""

    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    reasoning_tokens: int = 0


class ExecutionSummary(msgspec.Struct):
    """What a run did, in numbers."""

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
    """Which run a connection follows."""

    agent: str
    run_id: str
    org_id: str
    conversation_id: str
    provider: str
    model: str
    resumed_after: int | UnsetType = UNSET


class ErrorInfo(msgspec.Struct):
    """The error's code, and whether the same request may succeed later."""

    code: str
    retryable: bool


class CompleteInfo(msgspec.Struct):
    """How a run ended."""

    stop_reason: StopReason
    usage: Usage
    execution_summary: ExecutionSummary


class BaseEvent(msgspec.Struct, tag_field="type", kw_only=True):
    """What every event carries."""

    is_final: bool = False
    timestamp: int = msgspec.field(default_factory=now_ms)


class Connected(BaseEvent, tag="connected", kw_only=True):
    """The first event on every connection; made for it and never logged."""

    metadata: ConnectedInfo


class Thinking(BaseEvent, tag="thinking", kw_only=True):
    """Reasoning, as it comes."""

    thinking_step: str


class Content(BaseEvent, tag="content", kw_only=True):
    """Text of the answer, as it comes."""

    content: str


class ToolCallEvent(BaseEvent, tag="tool_call", kw_only=True):
    """A tool starts."""

    tool_call: ToolCallInfo


class ToolResultEvent(BaseEvent, tag="tool_result", kw_only=True):
    """A tool ended."""

    tool_call: ToolCallInfo


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
    """Nothing follows."""

    is_final: bool = True


Event = (
    Connected
    | Thinking
    | Content
    | ToolCallEvent
    | ToolResultEvent
    | ErrorEvent
    | Complete
    | Done
)
