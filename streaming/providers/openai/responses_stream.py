"""The Responses API, the response: its events as deltas."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import msgspec

from streaming.exceptions import ProviderIncomplete
from streaming.messages import OpaquePart
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
from streaming.providers.openai.tool_calls import OpenCall
from streaming.providers.openai.usage import Count, TokenDetails, token_usage
from streaming.providers.streaming_response import decode

Item = dict[str, Any]
Index = int | None


class _Usage(msgspec.Struct, gc=False):
    input_tokens: Count = None
    output_tokens: Count = None
    input_tokens_details: TokenDetails | None = None
    output_tokens_details: TokenDetails | None = None


class _IncompleteDetails(msgspec.Struct, gc=False):
    reason: str | None = None


class _Response(msgspec.Struct, gc=False):
    output: list[Item] | None = None
    usage: _Usage | None = None
    error: Any = None
    incomplete_details: _IncompleteDetails | None = None


class _Event(msgspec.Struct, gc=False):
    type: str = ""
    output_index: Index = None
    delta: Any = None
    arguments: Any = None
    item: Item | None = None
    response: _Response | None = None
    error: Any = None
    code: Any = None
    message: Any = None


_EVENT = msgspec.json.Decoder(_Event)


class ResponseParser:
    """A parser of the events of one response.

    Deltas are emitted as they arrive. An item without deltas is emitted when it ends.
    """

    def __init__(self) -> None:
        self._stop_reason: ResponseStopReason | None = None
        self._refused = False
        self._has_called = False
        self._items_ended = False
        self._streamed: set[Index] = set()
        self._arguments: defaultdict[Index, list[str]] = defaultdict(list)

    @property
    def done(self) -> bool:
        """True after the terminal event."""
        return self._stop_reason is not None

    def feed(self, data: bytes, out: list[Delta]) -> None:
        """Append the deltas of one event to `out`."""
        if data.startswith(b"[DONE]"):
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
                self._arguments[index].append(str(event.delta))
            case "response.function_call_arguments.done" if event.arguments:
                self._arguments[index] = [str(event.arguments)]
            case "response.output_item.added" if event.item:
                # Models that label their messages respond worse without the label.
                if phase := event.item.get("phase"):
                    out.append(OpaquePart("openai", {"phase": phase}))
            case "response.output_item.done" if event.item:
                self._items_ended = True
                self._end_item(index, event.item, out)
            case "response.completed" | "response.incomplete" | "response.failed":
                self._end(event.type, event.response or _Response(), out)
            case _ if event.type == "error" or event.error:
                fields = {"code": event.code, "message": event.message}
                raise status_error(None, error_fields(event.error) or fields)

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
            self._streamed.add(index)
            out.append(kind(text))

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
                out.append(ThinkingEnd("openai", item))
            case "function_call":
                out.extend(self._call(index, item))

    def _call(self, index: Index, item: Item) -> Iterator[Delta]:
        call = OpenCall()
        arguments = item.get("arguments") or "".join(self._arguments[index])
        call.add(item.get("call_id") or item.get("id"), item.get("name"), arguments)
        status = item.get("status")
        truncated = status == "incomplete" or (
            status != "completed" and call.is_truncated
        )
        if call.name and not truncated:
            self._has_called = True
            yield call.part()

    def _end(self, kind: str, response: _Response, out: list[Delta]) -> None:
        if not self._items_ended:
            for index, item in enumerate(response.output or ()):
                self._end_item(index, item, out)
        if response.usage:
            out.append(_usage(response.usage))
        fields = error_fields(response.error)
        if "policy" in str(fields.get("code")):
            self._stop_reason = "refusal"
        elif kind == "response.failed" or response.error:
            raise status_error(None, fields)
        else:
            self._stop_reason = self._final_reason(response.incomplete_details)

    def _final_reason(
        self, incomplete: _IncompleteDetails | None
    ) -> ResponseStopReason:
        if incomplete:
            filtered = incomplete.reason == "content_filter"
            return "refusal" if filtered else "max_tokens"
        if self._refused:
            return "refusal"
        return "tool_use" if self._has_called else "end_turn"


def _parts(item: Item, *names: str) -> list[Item]:
    parts = [part for name in names for part in item.get(name) or ()]
    return [part for part in parts if isinstance(part, dict)]


def _usage(usage: _Usage) -> TokenUsage:
    return token_usage(
        usage.input_tokens,
        usage.output_tokens,
        usage.input_tokens_details,
        usage.output_tokens_details,
    )
