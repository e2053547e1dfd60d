"""Chat Completions, the response: its chunks as deltas, also of irregular servers.

OpenAI's own chunks are regular. Compatible servers omit ids, finish reasons, indexes or
choices, repeat names, or send an error in a chunk; each such chunk is given the meaning
that is most likely.
"""

from typing import Any

import msgspec

from streaming.exceptions import ProviderIncomplete
from streaming.providers.base import (
    Delta,
    ResponseEnd,
    ResponseStopReason,
    TextDelta,
    ThinkingDelta,
    ThinkingEnd,
)
from streaming.providers.errors import error_fields, status_error
from streaming.providers.openai.tool_calls import OpenCalls
from streaming.providers.openai.usage import Count, TokenDetails, token_usage
from streaming.providers.streaming_response import decode


class _Function(msgspec.Struct, gc=False):
    name: Any = None
    arguments: Any = None


class _CallFragment(msgspec.Struct, gc=False):
    index: int | None = None
    id: Any = None
    function: _Function | None = None


class _Delta(msgspec.Struct, gc=False):
    content: Any = None
    refusal: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    tool_calls: list[_CallFragment] | None = None
    function_call: _Function | None = None


class _Choice(msgspec.Struct, gc=False):
    index: int | None = None
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Usage(msgspec.Struct, gc=False):
    prompt_tokens: Count = None
    completion_tokens: Count = None
    prompt_tokens_details: TokenDetails | None = None
    completion_tokens_details: TokenDetails | None = None


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Any = None


_CHUNK = msgspec.json.Decoder(_Chunk)

_TRUNCATED = frozenset({"length", "max_tokens", "model_length"})
_FILTERED = frozenset({"content_filter", "sensitive"})
_FAILED = frozenset({"abort", "error", "insufficient_system_resource"})


class ChatParser:
    """A parser of the chunks of one completion. Tool calls are emitted at its end."""

    def __init__(self) -> None:
        self.done = False
        self._finish_reason = ""
        self._refused = False
        self._thinking_field = ""
        self._calls = OpenCalls()

    def feed(self, data: bytes, out: list[Delta]) -> None:
        """Append the deltas of one chunk to `out`."""
        if data.startswith(b"[DONE]"):
            self.done = True
            return
        chunk = decode(_CHUNK, data)
        if chunk.error:
            raise status_error(None, error_fields(chunk.error))
        for choice in chunk.choices or ():
            if not choice.index:
                self._add_choice(choice, out)
        if usage := chunk.usage:
            self.done = bool(self._finish_reason)
            count = token_usage(
                usage.prompt_tokens,
                usage.completion_tokens,
                usage.prompt_tokens_details,
                usage.completion_tokens_details,
            )
            out.append(count)

    def finish(self) -> list[Delta]:
        """Return the deltas that remain once the stream has ended."""
        reason = self._finish_reason
        if not reason and not self.done:
            raise ProviderIncomplete
        if reason in _FAILED:
            raise status_error(503, {})
        remaining: list[Delta] = []
        self._end_thinking(remaining)
        calls = list(self._calls.parts(complete_only=reason in _TRUNCATED | _FILTERED))
        end = ResponseEnd(self._stop_reason(reason, called=bool(calls)))
        return [*remaining, *calls, end]

    def _add_choice(self, choice: _Choice, out: list[Delta]) -> None:
        if delta := choice.delta:
            if delta.reasoning_content or delta.reasoning:
                self._add_thinking(delta, out)
            if delta.content or delta.refusal:
                self._add_text(delta, out)
            for fragment in delta.tool_calls or ():
                self._add_call(fragment.index, fragment.id, fragment.function)
            if delta.function_call:
                self._add_call(None, None, delta.function_call)
        self._finish_reason = choice.finish_reason or self._finish_reason

    def _add_thinking(self, delta: _Delta, out: list[Delta]) -> None:
        for field in ("reasoning_content", "reasoning"):
            text = getattr(delta, field)
            if text and isinstance(text, str):
                self._thinking_field = field
                out.append(ThinkingDelta(text))
                return  # servers that send both send the same in both

    def _add_text(self, delta: _Delta, out: list[Delta]) -> None:
        text = delta.content
        if delta.refusal or not isinstance(text, str):
            self._refused |= bool(delta.refusal)
            text = _plain_text(text) + _plain_text(delta.refusal)
        if text:
            self._end_thinking(out)
            out.append(TextDelta(text))

    def _end_thinking(self, out: list[Delta]) -> None:
        if self._thinking_field:
            out.append(ThinkingEnd("openai", {"field": self._thinking_field}))
            self._thinking_field = ""

    def _add_call(
        self, index: int | None, id: object, function: _Function | None
    ) -> None:
        function = function or _Function()
        self._calls.add(index, id, function.name, function.arguments)

    def _stop_reason(self, reason: str, *, called: bool) -> ResponseStopReason:
        if self._refused or reason in _FILTERED:
            return "refusal"
        if reason in _TRUNCATED:
            return "max_tokens"
        return "tool_use" if called else "end_turn"


def _plain_text(content: object) -> str:
    """Return the text, which some servers send as a list of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(
            _plain_text(p.get("text")) for p in content if isinstance(p, dict)
        )
    return ""
