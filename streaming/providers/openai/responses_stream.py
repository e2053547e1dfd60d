"""The Responses API, the response: its events as deltas."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from streaming.exceptions import ProviderIncomplete
from streaming.messages import OpaquePart, ToolCallPart
from streaming.providers.base import (
    Delta,
    OutputBegun,
    ResponseEnd,
    ResponseStopReason,
    TextDelta,
    ThinkingDelta,
    ThinkingEnd,
)
from streaming.providers.errors import error_fields, find_error, status_error
from streaming.providers.limits import HeldArguments, HeldChars, ResponseLimits
from streaming.providers.openai.tool_calls import OpenCall
from streaming.providers.openai.usage import token_usage
from streaming.providers.streaming_response import (
    DONE,
    bare_data,
    decode,
    storable,
)

Item = dict[str, Any]
Index = int | None


class _Response(msgspec.Struct, gc=False):
    output: Any = None
    usage: Any = None
    error: Any = None
    incomplete_details: Any = None


class _Event(msgspec.Struct, gc=False):
    type: str = ""
    output_index: Index = None
    delta: Any = None
    arguments: Any = None
    item: Item | None = None
    response: _Response | None = None
    detail: Any = None
    error: Any = None
    code: Any = None
    message: Any = None


_EVENT = msgspec.json.Decoder(_Event)


class ResponseParser:
    """A parser of the events of one response.

    Deltas are emitted as they arrive. An item without deltas is emitted when it ends.
    `max_tokens` is the limit that was requested: llama.cpp calls a response complete
    that has reached it, and the tool call that was cut off there too.
    """

    def __init__(self, limits: ResponseLimits, max_tokens: float = math.inf) -> None:
        self._limits = limits
        self._max_tokens = max_tokens
        self._held = HeldChars(limits)
        self._stop_reason: ResponseStopReason | None = None
        self._refused = False
        self._has_called = False
        self._has_begun = False
        self._items_ended = False
        self._streamed: set[Index] = set()
        self._arguments: dict[Index, HeldArguments] = {}
        self._ended_calls: set[tuple[Index, str]] = set()
        self._doubtful_calls: list[ToolCallPart] = []

    @property
    def done(self) -> bool:
        """True after the terminal event."""
        return self._stop_reason is not None

    def feed(self, data: bytes, out: list[Delta]) -> None:
        """Append the deltas of one event to `out`."""
        if not data.startswith(b"{"):
            data = bare_data(data)
            if not data or data == DONE:
                return  # OpenAI does not send it; it is not a terminal event
        event = decode(_EVENT, data)
        index = event.output_index
        match event.type:
            case "response.output_text.delta":
                self._emit(index, TextDelta, event.delta, out)
            case (
                "response.reasoning_summary_text.delta"
                | "response.reasoning_text.delta"
            ):
                self._emit(index, ThinkingDelta, event.delta, out)
            case "response.refusal.delta":
                self._refused = True
                self._emit(index, TextDelta, event.delta, out)
            case "response.function_call_arguments.delta":
                self._hold(index, event.delta, out)
            case "response.function_call_arguments.done" if event.arguments:
                self._take_arguments(index)
                self._hold(index, event.arguments, out)
            case "response.output_item.added" if event.item:
                self._begin_item(event.item, out)
            case "response.output_item.done" if event.item:
                self._items_ended = True
                self._end_item(index, event.item, out)
            case "response.completed" | "response.incomplete" | "response.failed":
                self._end(event.type, event.response or _Response(), out)
            case _:
                self._raise_error(event)

    def truncate(self) -> None:
        """End the response here, as one that the token limit cut off."""
        self._stop_reason = "max_tokens"

    def finish(self) -> list[Delta]:
        """Return the deltas that remain once the stream has ended."""
        if self._stop_reason is None:
            raise ProviderIncomplete
        return [ResponseEnd(self._stop_reason)]

    def _emit(
        self,
        index: Index,
        kind: type[TextDelta | ThinkingDelta],
        text: object,
        out: list[Delta],
    ) -> None:
        if isinstance(text, str) and text:
            if index not in self._streamed:
                self._held.open()
                self._streamed.add(index)
            out.append(kind(text))

    def _hold(self, index: Index, arguments: object, out: list[Delta]) -> None:
        """Add a fragment to the arguments of an incomplete call."""
        if index not in self._arguments:
            self._held.open()
            self._arguments[index] = HeldArguments(self._limits, self._held)
            self._begin(out)
        if isinstance(arguments, str):
            self._arguments[index].add(arguments)

    def _take_arguments(self, index: Index) -> str:
        held = self._arguments.pop(index, None)
        return held.release() if held else ""

    def _begin(self, out: list[Delta]) -> None:
        if not self._has_begun and not self._streamed:
            out.append(OutputBegun())
        self._has_begun = True

    def _begin_item(self, item: Item, out: list[Delta]) -> None:
        self._begin(out)
        # Models that label their messages respond worse without the label.
        phase = item.get("phase")
        if isinstance(phase, str) and phase:
            out.append(OpaquePart("openai", {"phase": phase}))

    def _raise_error(self, event: _Event) -> None:
        """Raise the error of an event that is one, with or without a type."""
        if event.type and event.type != "error" and not event.error:
            return  # an event of another kind, such as `keepalive`
        if (fields := find_error(msgspec.structs.asdict(event))) is not None:
            raise status_error(None, fields)

    def _end_item(self, index: Index, item: Item, out: list[Delta]) -> None:
        not_streamed = index not in self._streamed
        match item.get("type"):
            case "message" if not_streamed:
                for part in _parts(item, "content"):
                    self._refused |= part.get("type") == "refusal"
                    text = part.get("text") or part.get("refusal")
                    self._emit(index, TextDelta, text, out)
            case "reasoning":
                thoughts = _parts(item, "summary", "content") if not_streamed else ()
                for part in thoughts:
                    self._emit(index, ThinkingDelta, part.get("text"), out)
                out.append(ThinkingEnd("openai", storable(item)))
            case "function_call":
                out.extend(self._call(index, item))
            case _ if item.get("encrypted_content"):  # such as a compaction
                out.append(OpaquePart("openai", {"item": storable(item)}))

    def _call(self, index: Index, item: Item) -> Iterator[Delta]:
        call = OpenCall(self._limits, HeldChars(self._limits))
        arguments = item.get("arguments") or self._take_arguments(index)
        call.add(item.get("call_id") or item.get("id"), item.get("name"), arguments)
        if index is not None and call.id:
            if (index, call.id) in self._ended_calls:
                return  # the same event again
            self._ended_calls.add((index, call.id))
        if not call.name or item.get("status") == "incomplete":
            return
        call.keep_extra(item | {"function": None, "name": None, "arguments": None})
        if not call.is_truncated:
            self._has_called = True
            yield call.part()
        elif item.get("status") == "completed":
            self._held.open()
            self._held.add(len(call.arguments))
            self._doubtful_calls.append(call.part())

    def _end(self, kind: str, response: _Response, out: list[Delta]) -> None:
        if not self._items_ended and isinstance(response.output, list):
            for index, item in enumerate(response.output):
                if isinstance(item, dict):
                    self._end_item(index, item, out)
        output_tokens = 0
        if isinstance(response.usage, dict):
            usage = token_usage(response.usage, "input_tokens", "output_tokens")
            output_tokens = usage.output_tokens
            out.append(usage)
        fields = error_fields(response.error)
        if "policy" in str(fields.get("code")):
            self._stop_reason = "refusal"
        elif kind == "response.failed" or response.error:
            raise status_error(None, fields)
        elif isinstance(details := response.incomplete_details, dict) and details:
            filtered = details.get("reason") == "content_filter"
            self._stop_reason = "refusal" if filtered else "max_tokens"
        elif output_tokens >= self._max_tokens:
            self._stop_reason = "max_tokens"
        else:
            self._stop_reason = self._regular_reason(out)

    def _regular_reason(self, out: list[Delta]) -> ResponseStopReason:
        """Return the reason of a whole response; its calls are the model's own."""
        self._has_called = self._has_called or bool(self._doubtful_calls)
        out.extend(self._doubtful_calls)
        if self._refused:
            return "refusal"
        return "tool_use" if self._has_called else "end_turn"


def _parts(item: Mapping[str, Any], *names: str) -> list[Item]:
    lists = [item.get(name) for name in names]
    parts = [part for parts in lists if isinstance(parts, list) for part in parts]
    return [part for part in parts if isinstance(part, dict)]
