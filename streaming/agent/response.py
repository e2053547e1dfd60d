"""The assembly of one response of the model from its deltas, up to its limits."""

import logging
import uuid
from collections.abc import Sequence

import msgspec

from streaming.events import Content, Event, Thinking, now_ms
from streaming.exceptions import ProviderError
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
    ExchangesDropped,
    ModelRequest,
    ModelSelected,
    OutputBegun,
    ResponseEnd,
    ResponseStopReason,
    TextDelta,
    ThinkingDelta,
    ThinkingEnd,
    TokenUsage,
)
from streaming.providers.limits import ResponseLimits
from streaming.tool_calls import find_name, object_text

logger = logging.getLogger(__name__)

EMPTY = "The model sent no answer."
ONLY_REASONING = (
    "The model used its whole token limit before it wrote an answer, for reasoning: "
    "raise LLM_MAX_TOKENS, or lower LLM_THINKING."
)

DEFAULT_LIMITS = ResponseLimits()

#: Pieces of text beyond this number are joined: each takes 50 bytes more than its text.
_MAX_PIECES = 4096


class ResponseBuilder:
    """A response of the model, built from its deltas.

    At the limit of its length the response ends as if its token limit had cut it off.
    Opaque parts receive the `origin` to which they must return. The name of a tool call
    becomes the one of `tools` that the model means, and its arguments a JSON object if
    they hold one. If `call_ids` is given, its id becomes unique among them. A call of
    the tool `output` is the answer: its arguments are text, and other calls are none.
    """

    __slots__ = (
        "_call_ids",
        "_calls",
        "_dropped_before",
        "_left",
        "_limits",
        "_open",
        "_origin",
        "_output",
        "_parts",
        "_pieces",
        "_tools",
        "dropped_exchanges",
        "failed_usage",
        "has_output_call",
        "selected",
        "stop_reason",
        "usage",
    )

    def __init__(
        self,
        origin: str = "",
        tools: Sequence[str] = (),
        call_ids: set[str] | None = None,
        *,
        limits: ResponseLimits = DEFAULT_LIMITS,
        output: str = "",
    ) -> None:
        self.stop_reason: ResponseStopReason | None = None
        self.usage = TokenUsage()
        #: The model that responds, of a provider that has several.
        self.selected: ModelSelected | None = None
        #: The usage of models that failed before this one was called.
        self.failed_usage: list[tuple[ModelSelected, TokenUsage]] = []
        #: True if the model has given its answer as a call of a tool.
        self.has_output_call = False
        #: The number of oldest exchanges that the request could not contain.
        self.dropped_exchanges = 0
        #: The same before the first model of the call was called.
        self._dropped_before = 0
        self._origin = origin
        self._tools = tools
        self._output = output
        self._call_ids = call_ids
        self._limits = limits
        #: The length that may still be added; negative once the limit was exceeded.
        self._left = limits.chars
        self._calls = 0
        self._parts: list[Part] = []
        self._pieces: list[str] = []
        self._open: type[TextPart | ThinkingPart] = TextPart

    @property
    def size(self) -> int:
        """The length of the response in characters."""
        return self._limits.chars - max(self._left, 0)

    @property
    def is_full(self) -> bool:
        """True if the response was stopped at its limit: later deltas are ignored."""
        return self._left < 0

    def add(self, batch: Sequence[Delta]) -> list[Event]:
        """Add a batch of deltas; return the events that clients receive for it."""
        events: list[Event] = []
        now = now_ms()
        for delta in batch:
            # `match` patterns cost five times as much for each delta.
            if isinstance(delta, TextDelta):
                text = delta.text
                self._left = left = self._left - len(text)
                if left < 0 and not (text := text[:left]):
                    break
                if self._open is not TextPart:
                    self._begin(TextPart)
                self._pieces.append(text)
                events.append(Content(content=text, timestamp=now))
            elif isinstance(delta, ThinkingDelta):
                text = delta.text
                self._left = left = self._left - len(text)
                if left < 0 and not (text := text[:left]):
                    break
                if self._open is not ThinkingPart:
                    self._begin(ThinkingPart)
                self._pieces.append(text)
                events.append(Thinking(thinking_step=text, timestamp=now))
            elif answer := self._add_other(delta):
                events.append(Content(content=answer, timestamp=now))
        if self._left < 0:
            self.stop_reason = "max_tokens"
        if len(self._pieces) > _MAX_PIECES:
            self._pieces[:] = ["".join(self._pieces)]
        return events

    def check(self, request: ModelRequest) -> None:
        """Raise `ProviderError` if the response has ended without an answer.

        An answer is text, a tool call or a refusal, and also a tool call that was
        dropped because the token limit cut it off.
        """
        message, reason = self.message, self.stop_reason
        if message.tool_calls or message.text.strip():
            return
        if reason == "refusal" or self.is_full:
            return
        if reason == "end_turn" and request.may_end_empty:
            return
        if reason == "max_tokens":
            reasoned = any(isinstance(part, ThinkingPart) for part in message.parts)
            if reasoned or self.usage.reasoning_tokens:
                raise ProviderError(ONLY_REASONING)
        elif reason != "pause_turn" or not message.parts:
            raise ProviderError(EMPTY, retryable=True)

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
        self,
        delta: OutputBegun
        | ThinkingEnd
        | ToolCallPart
        | OpaquePart
        | TokenUsage
        | ExchangesDropped
        | ModelSelected
        | ResponseEnd,
    ) -> str | None:
        """Add another delta; return its text if clients receive any."""
        match delta:
            case ThinkingEnd(provider, opaque):
                if self._fits(len(msgspec.json.encode(opaque))):
                    self._end_thinking(provider, opaque)
            case OpaquePart(provider, data, origin):
                if self._fits(len(msgspec.json.encode(data))):
                    self._append(OpaquePart(provider, data, origin or self._origin))
            case ToolCallPart():
                return self._add_call(delta)
            case TokenUsage():
                self.usage = delta
            case ExchangesDropped(count):
                self.dropped_exchanges = count
            case ModelSelected():
                self._select(delta)
            case ResponseEnd(stop_reason):
                is_call = self.has_output_call and stop_reason == "tool_use"
                self.stop_reason = "end_turn" if is_call else stop_reason
        return None

    def _select(self, model: ModelSelected) -> None:
        """Begin with a model, or again if one before it has failed without output."""
        if self.selected and model.after_failure:
            if self.usage != TokenUsage():
                self.failed_usage.append((self.selected, self.usage))
            self.usage = TokenUsage()
            self.dropped_exchanges = self._dropped_before
        else:
            self._dropped_before = self.dropped_exchanges
        self.selected = model
        self._origin = model.origin

    def _add_call(self, call: ToolCallPart) -> str | None:
        """Add a call; return the text of the answer if it has that."""
        if len(call.arguments) > self._limits.arguments_chars:
            self._left = -1
        extra = len(msgspec.json.encode(call.extra)) if call.extra else 0
        length = len(call.id) + len(call.name) + len(call.arguments) + extra
        if not self._fits(length):
            return None
        if self._output and find_name(call.name, [self._output]):
            return self._add_output(call)
        self._calls += 1
        if self._calls <= self._limits.tool_calls:
            self._append(self._repaired(call))
        elif self._calls == self._limits.tool_calls + 1:
            logger.warning("tool calls ignored: more than %d", self._calls - 1)
        return None

    def _add_output(self, call: ToolCallPart) -> str | None:
        """Add the answer as text; return it. The first call counts."""
        if self.has_output_call:
            return None
        self.has_output_call = True
        text = object_text(call.arguments) or call.arguments
        self._append(TextPart(text))
        return text

    def _fits(self, length: int) -> bool:
        """Count a part; return False if it exceeds the limit, which drops it."""
        self._left -= length
        return self._left >= 0

    def _append(self, part: Part) -> None:
        self._close()
        self._parts.append(part)

    def _begin(self, kind: type[TextPart | ThinkingPart]) -> None:
        """Begin a part of another kind."""
        self._close()
        self._open = kind

    def _end_thinking(self, provider: str, opaque: dict[str, object]) -> None:
        text = "".join(self._pieces) if self._open is ThinkingPart else ""
        if self._open is ThinkingPart:
            self._pieces.clear()
        self._close()
        self._parts.append(ThinkingPart(text, provider, opaque, self._origin))

    def _repaired(self, call: ToolCallPart) -> ToolCallPart:
        id = call.id
        if self._call_ids is not None:
            if not id or id in self._call_ids:
                id = f"call_{uuid.uuid4().hex[:24]}"
            self._call_ids.add(id)
        return ToolCallPart(
            id,
            find_name(call.name, self._tools) or call.name,
            object_text(call.arguments) or call.arguments,
            call.extra,
            call.origin or (self._origin if call.extra else ""),
        )

    def _close(self) -> None:
        if text := "".join(self._pieces):
            self._parts.append(self._open(text))
        self._pieces.clear()
