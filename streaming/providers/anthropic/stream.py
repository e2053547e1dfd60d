"""The response: the events of one message of the Messages API as deltas."""

import uuid
from collections.abc import Iterator
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
    TokenUsage,
)
from streaming.providers.errors import find_error, status_error
from streaming.providers.limits import (
    MAX_NAME_CHARS,
    HeldArguments,
    HeldChars,
    ResponseLimits,
    count,
)
from streaming.providers.streaming_response import (
    DONE,
    bare_data,
    decode,
    json_object,
    json_text,
    storable,
)

Index = int | None


class _Delta(msgspec.Struct, gc=False):
    type: str = ""
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    partial_json: str | None = None
    stop_reason: Any = None
    stop_details: Any = None


class _Event(msgspec.Struct, gc=False):
    type: str = ""
    index: Index = None
    delta: _Delta | None = None
    content_block: dict[str, Any] | None = None
    message: Any = None
    usage: Any = None
    error: Any = None
    code: Any = None
    detail: Any = None


class _Block(msgspec.Struct):
    """A content block that is not complete yet."""

    data: dict[str, Any]
    arguments: HeldArguments
    signature: str = ""


_KNOWN_FIELDS = frozenset({"type", "id", "name", "input", "thinking", "signature"})
#: The default, which need not be sent.
_DIRECT_CALLER = {"type": "direct"}

_EVENT = msgspec.json.Decoder(_Event)
_BRACE = ord("{")

_COUNTS = (
    "input_tokens",
    "output_tokens",
    "output_tokens_details",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
)

_STOP_REASONS: dict[str, ResponseStopReason] = {
    "tool_use": "tool_use",
    "max_tokens": "max_tokens",
    "length": "max_tokens",
    "model_context_window_exceeded": "max_tokens",
    "refusal": "refusal",
    "content_filter": "refusal",
    "sensitive": "refusal",
    "pause_turn": "pause_turn",
}


class MessageParser:
    """A parser of the events of one message.

    Text and thinking are emitted as they arrive, other blocks when they are complete.
    A tool call is emitted at the next event that shows that it was not cut off. Blocks
    of unknown types are ignored.
    """

    def __init__(self, limits: ResponseLimits) -> None:
        self.done = False
        self._limits = limits
        self._held = HeldChars(limits)
        self._blocks: dict[Index, _Block] = {}
        self._calls: list[ToolCallPart] = []
        self._stop_reason: ResponseStopReason | None = None
        self._has_stopped = False
        self._explanation = ""
        self._has_text = False
        self._has_called = False
        self._has_begun = False
        self._counts: dict[str, object] = {}

    def feed(self, data: bytes, out: list[Delta]) -> None:
        """Append the deltas of one event to `out`."""
        if data[0] != _BRACE:  # `startswith` takes 50 ns more for each event
            data = bare_data(data)
            if data == DONE:  # proxies end all their streams with it
                self.done = self._has_stopped
            if not data or data == DONE:
                return
        event = decode(_EVENT, data)
        match event.type:
            case "content_block_delta" if event.delta:
                self._extend_block(event.index, event.delta, out)
            case "content_block_start" if event.content_block:
                if not self._has_begun:
                    self._has_begun = True
                    out.append(OutputBegun())
                self._held.add(len(data))
                out.extend(self._release_calls())
                out.extend(self._start_block(event.index, event.content_block))
            case "content_block_stop":
                out.extend(self._end_block(event.index))
            case "message_start" if isinstance(event.message, dict):
                out.extend(self._update_usage(event.message.get("usage")))
            case "message_delta":
                out.extend(self._update_usage(event.usage))
                self._record_stop(event.delta or _Delta())
            case "message_stop":
                self.done = True
            case "" | "error":
                fields = find_error(msgspec.structs.asdict(event))
                if fields is not None:
                    raise status_error(None, fields)

    def truncate(self) -> None:
        """End the response here, as one that the token limit cut off."""
        self.done = True
        self._stop_reason = "max_tokens"

    def finish(self) -> list[Delta]:
        """Return the deltas that remain once the stream has ended."""
        if not self.done:
            raise ProviderIncomplete
        remaining: list[Delta] = []
        if self._stop_reason == "refusal" and self._explanation and not self._has_text:
            remaining.append(TextDelta(self._explanation))
        if self._stop_reason not in ("max_tokens", "refusal"):
            for index in list(self._blocks):  # some servers do not end their blocks
                remaining.extend(self._end_block(index))
            remaining.extend(self._release_calls())
        default: ResponseStopReason = "tool_use" if self._has_called else "end_turn"
        remaining.append(ResponseEnd(self._stop_reason or default))
        return remaining

    def _start_block(self, index: Index, block: dict[str, Any]) -> Iterator[Delta]:
        kind = _text(block.get("type"))
        if kind == "text" and (text := _text(block.get("text"))):
            self._has_text = True
            yield TextDelta(text)
        elif kind == "thinking" and (thinking := _text(block.get("thinking"))):
            yield ThinkingDelta(thinking)
        if kind.endswith(("thinking", "tool_use", "tool_result")):
            self._held.open()
            arguments = HeldArguments(self._limits, self._held)
            signature = _text(block.get("signature"))
            self._blocks[index] = _Block(storable(block), arguments, signature)

    def _extend_block(self, index: Index, delta: _Delta, out: list[Delta]) -> None:
        match delta.type:
            case "text_delta" if delta.text:
                self._has_text = True
                out.append(TextDelta(delta.text))
            case "thinking_delta" if delta.thinking:
                out.append(ThinkingDelta(delta.thinking))
            case "signature_delta" if index in self._blocks:
                self._blocks[index].signature = delta.signature or ""
            case "input_json_delta" if self._blocks:
                if index not in self._blocks and len(self._blocks) == 1:
                    [index] = self._blocks  # some proxies send wrong indexes
                if block := self._blocks.get(index):
                    block.arguments.add(delta.partial_json or "")

    def _end_block(self, index: Index) -> Iterator[Delta]:
        block = self._blocks.pop(index, None)
        if block is None:
            return
        data = block.data
        match data["type"]:
            case "thinking":
                opaque = _extra(data) | {"signature": block.signature}
                yield ThinkingEnd("anthropic", opaque)
            case "tool_use":
                self._calls.extend(_tool_calls(block))
            case _:
                if block.arguments:
                    data["input"] = storable(json_object(_arguments(block)))
                yield OpaquePart("anthropic", data)

    def _release_calls(self) -> Iterator[Delta]:
        self._has_called = self._has_called or bool(self._calls)
        yield from self._calls
        self._calls.clear()

    def _record_stop(self, delta: _Delta) -> None:
        if reason := _text(delta.stop_reason):
            self._has_stopped = True
            self._stop_reason = _STOP_REASONS.get(reason)
        if isinstance(delta.stop_details, dict):
            self._explanation = _text(delta.stop_details.get("explanation"))

    def _update_usage(self, sent: object) -> Iterator[Delta]:
        """Merge cumulative counts; a count that was not sent keeps its value."""
        if not isinstance(sent, dict):
            return
        counts = self._counts
        counts |= {name: sent[name] for name in _COUNTS if sent.get(name) is not None}
        details = counts.get("output_tokens_details")
        reasoning = details.get("thinking_tokens") if isinstance(details, dict) else 0
        read = count(counts.get("cache_read_input_tokens"))
        written = count(counts.get("cache_creation_input_tokens"))
        yield TokenUsage(
            input_tokens=count(count(counts.get("input_tokens")) + read + written),
            output_tokens=count(counts.get("output_tokens")),
            reasoning_tokens=count(reasoning),
            cache_read_tokens=read,
            cache_write_tokens=written,
        )


def _tool_calls(block: _Block) -> Iterator[ToolCallPart]:
    """Yield the call of a block; a call without a name is none."""
    name, id = _text(block.data.get("name")), _text(block.data.get("id"))
    if not id or len(id) > MAX_NAME_CHARS:
        id = f"toolu_{uuid.uuid4().hex}"
    if name:
        extra = _extra(block.data) or None
        yield ToolCallPart(id, name[:MAX_NAME_CHARS], _arguments(block), extra)


def _extra(data: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that are not known here, to be sent back with the block."""
    return {
        name: value
        for name, value in data.items()
        if name not in _KNOWN_FIELDS and value not in (None, _DIRECT_CALLER)
    }


def _arguments(block: _Block) -> str:
    """Return the JSON text; some servers send all of it in the block's `input`."""
    return str(block.arguments).strip() or json_text(block.data.get("input") or {})


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
