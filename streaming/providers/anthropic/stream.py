"""The response: the events of one message of the Messages API as deltas."""

import uuid
from collections.abc import Iterator
from typing import Any

import msgspec

from streaming.exceptions import ProviderIncomplete
from streaming.messages import OpaquePart, ToolCallPart
from streaming.providers.base import (
    Delta,
    ResponseEnd,
    ResponseStopReason,
    TextDelta,
    ThinkingDelta,
    ThinkingEnd,
    TokenUsage,
)
from streaming.providers.errors import error_fields, status_error
from streaming.providers.streaming_response import decode, json_object

Index = int | None


class _TokenDetails(msgspec.Struct, gc=False):
    thinking_tokens: int | None = None


class _Usage(msgspec.Struct, gc=False):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    output_tokens_details: _TokenDetails | None = None


class _Message(msgspec.Struct, gc=False):
    usage: _Usage | None = None


class _StopDetails(msgspec.Struct, gc=False):
    explanation: str | None = None


class _Delta(msgspec.Struct, gc=False):
    type: str = ""
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None
    stop_details: _StopDetails | None = None


class _Event(msgspec.Struct, gc=False):
    type: str = ""
    index: Index = None
    delta: _Delta | None = None
    content_block: dict[str, Any] | None = None
    message: _Message | None = None
    usage: _Usage | None = None
    error: Any = None


class _Block(msgspec.Struct):
    """A content block that is not complete yet."""

    data: dict[str, Any]
    signature: str = ""
    json: list[str] = msgspec.field(default_factory=list)


_EVENT = msgspec.json.Decoder(_Event)

_STOP_REASONS: dict[str, ResponseStopReason] = {
    "tool_use": "tool_use",
    "max_tokens": "max_tokens",
    "model_context_window_exceeded": "max_tokens",
    "refusal": "refusal",
    "pause_turn": "pause_turn",
}


class MessageParser:
    """A parser of the events of one message.

    Text and thinking are emitted as they arrive, other blocks when they are complete.
    A tool call is emitted at the next event that shows that it was not cut off. Blocks
    of unknown types are ignored.
    """

    def __init__(self) -> None:
        self.done = False
        self._blocks: dict[Index, _Block] = {}
        self._calls: list[ToolCallPart] = []
        self._stop_reason: ResponseStopReason | None = None
        self._explanation = ""
        self._has_text = False
        self._has_called = False
        self._usage = _Usage()

    def feed(self, data: bytes, out: list[Delta]) -> None:
        """Append the deltas of one event to `out`."""
        event = decode(_EVENT, data)
        match event.type:
            case "content_block_delta" if event.delta:
                self._extend_block(event.index, event.delta, out)
            case "content_block_start" if event.content_block:
                out.extend(self._release_calls())
                out.extend(self._start_block(event.index, event.content_block))
            case "content_block_stop":
                out.extend(self._end_block(event.index))
            case "message_start" if event.message:
                out.extend(self._update_usage(event.message.usage))
            case "message_delta":
                out.extend(self._update_usage(event.usage))
                self._record_stop(event.delta or _Delta())
            case "message_stop":
                self.done = True
            case "error":
                raise status_error(None, error_fields(event.error))

    def finish(self) -> list[Delta]:
        """Return the deltas that remain once the stream has ended."""
        if not self.done:
            raise ProviderIncomplete
        remaining: list[Delta] = []
        if self._stop_reason == "refusal" and self._explanation and not self._has_text:
            remaining.append(TextDelta(self._explanation))
        if self._stop_reason not in ("max_tokens", "refusal"):
            remaining.extend(self._release_calls())
        default: ResponseStopReason = "tool_use" if self._has_called else "end_turn"
        remaining.append(ResponseEnd(self._stop_reason or default))
        return remaining

    def _start_block(self, index: Index, block: dict[str, Any]) -> Iterator[Delta]:
        kind = str(block.get("type"))
        if kind == "text" and block.get("text"):
            self._has_text = True
            yield TextDelta(str(block["text"]))
        elif kind == "thinking" and block.get("thinking"):
            yield ThinkingDelta(str(block["thinking"]))
        if kind.endswith(("thinking", "tool_use", "tool_result")):
            self._blocks[index] = _Block(block, str(block.get("signature") or ""))

    def _extend_block(self, index: Index, delta: _Delta, out: list[Delta]) -> None:
        match delta.type:
            case "text_delta" if delta.text:
                self._has_text = True
                out.append(TextDelta(delta.text))
            case "thinking_delta" if delta.thinking:
                out.append(ThinkingDelta(delta.thinking))
            case "signature_delta" if index in self._blocks:
                self._blocks[index].signature = delta.signature or ""
            case "input_json_delta" if index in self._blocks:
                self._blocks[index].json.append(delta.partial_json or "")

    def _end_block(self, index: Index) -> Iterator[Delta]:
        block = self._blocks.pop(index, None)
        if block is None:
            return
        data = block.data
        match data["type"]:
            case "thinking":
                yield ThinkingEnd("anthropic", {"signature": block.signature})
            case "tool_use":
                self._calls.append(_tool_call(block))
            case _:
                if block.json:
                    data["input"] = json_object(_arguments(block))
                yield OpaquePart("anthropic", data)

    def _release_calls(self) -> Iterator[Delta]:
        self._has_called = self._has_called or bool(self._calls)
        yield from self._calls
        self._calls.clear()

    def _record_stop(self, delta: _Delta) -> None:
        if delta.stop_reason:
            self._stop_reason = _STOP_REASONS.get(delta.stop_reason)
        if delta.stop_details:
            self._explanation = delta.stop_details.explanation or ""

    def _update_usage(self, sent: _Usage | None) -> Iterator[Delta]:
        """Merge cumulative counts; a count that was not sent keeps its value."""
        if sent is None:
            return
        fields = msgspec.structs.asdict(sent)
        known = {name: count for name, count in fields.items() if count is not None}
        self._usage = usage = msgspec.structs.replace(self._usage, **known)
        details = usage.output_tokens_details or _TokenDetails()
        read = usage.cache_read_input_tokens or 0
        written = usage.cache_creation_input_tokens or 0
        yield TokenUsage(
            input_tokens=(usage.input_tokens or 0) + read + written,
            output_tokens=usage.output_tokens or 0,
            reasoning_tokens=details.thinking_tokens or 0,
            cache_read_tokens=read,
            cache_write_tokens=written,
        )


def _tool_call(block: _Block) -> ToolCallPart:
    id = block.data.get("id") or f"toolu_{uuid.uuid4().hex}"
    return ToolCallPart(str(id), str(block.data.get("name")), _arguments(block))


def _arguments(block: _Block) -> str:
    """Return the JSON text; some servers send all of it in the block's `input`."""
    text = "".join(block.json).strip()
    return text or msgspec.json.encode(block.data.get("input") or {}).decode()
