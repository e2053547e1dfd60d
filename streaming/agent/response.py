"""The assembly of one response of the model from its deltas."""

from collections.abc import Sequence

from streaming.events import Content, Event, Thinking, now_ms
from streaming.messages import (
    Message,
    OpaquePart,
    Part,
    TextPart,
    ThinkingPart,
    ToolCallPart,
)
from streaming.providers.base import (
    Delta,
    ResponseEnd,
    ResponseStopReason,
    TextDelta,
    ThinkingDelta,
    ThinkingEnd,
    TokenUsage,
)


class ResponseBuilder:
    """A response of the model, built from its deltas."""

    def __init__(self) -> None:
        self.stop_reason: ResponseStopReason | None = None
        self.usage = TokenUsage()
        self._parts: list[Part] = []
        self._pieces: list[str] = []
        self._open: type[TextPart | ThinkingPart] = TextPart

    def add(self, batch: Sequence[Delta]) -> list[Event]:
        """Add a batch of deltas; return the events that clients receive for it."""
        events: list[Event] = []
        now = now_ms()
        for delta in batch:
            # `match` patterns cost five times as much for each delta.
            if isinstance(delta, TextDelta):
                self._extend(TextPart, delta.text)
                events.append(Content(content=delta.text, timestamp=now))
            elif isinstance(delta, ThinkingDelta):
                self._extend(ThinkingPart, delta.text)
                events.append(Thinking(thinking_step=delta.text, timestamp=now))
            else:
                self._add_other(delta)
        return events

    @property
    def needs_another_call(self) -> bool:
        """True if the model has called tools, or paused and expects to continue."""
        if self.stop_reason == "pause_turn":
            return bool(self.message.parts)
        return self.stop_reason == "tool_use" and bool(self.message.tool_calls)

    @property
    def message(self) -> Message:
        """The message up to the last delta."""
        parts = list(self._parts)
        if text := "".join(self._pieces):
            parts.append(self._open(text))
        return Message("assistant", parts)

    def _add_other(
        self, delta: ThinkingEnd | ToolCallPart | OpaquePart | TokenUsage | ResponseEnd
    ) -> None:
        """Add a delta that has no event of its own."""
        match delta:
            case ThinkingEnd(provider, opaque):
                self._end_thinking(provider, opaque)
            case ToolCallPart() | OpaquePart():
                self._close()
                self._parts.append(delta)
            case TokenUsage():
                self.usage = delta
            case ResponseEnd(stop_reason):
                self.stop_reason = stop_reason

    def _extend(self, kind: type[TextPart | ThinkingPart], text: str) -> None:
        if kind is not self._open:
            self._close()
            self._open = kind
        self._pieces.append(text)

    def _end_thinking(self, provider: str, opaque: dict[str, object]) -> None:
        text = "".join(self._pieces) if self._open is ThinkingPart else ""
        if self._open is ThinkingPart:
            self._pieces.clear()
        self._close()
        self._parts.append(ThinkingPart(text, provider, opaque))

    def _close(self) -> None:
        if text := "".join(self._pieces):
            self._parts.append(self._open(text))
        self._pieces.clear()
