"""Chat Completions, the response: its chunks as deltas, also of irregular servers.

OpenAI's own chunks are regular. Compatible servers omit ids, finish reasons, indexes or
choices, repeat names, or send an error in a chunk; each such chunk is given the meaning
that is most likely.
"""

from typing import Any

import msgspec

from streaming.exceptions import ProviderIncomplete
from streaming.messages import OpaquePart
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
from streaming.providers.limits import ResponseLimits
from streaming.providers.openai.message_fields import MessageFields
from streaming.providers.openai.tool_calls import OpenCalls
from streaming.providers.openai.usage import token_usage
from streaming.providers.streaming_response import decode


class _Delta(msgspec.Struct, gc=False):
    content: Any = None
    refusal: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    #: With their unknown fields, which must be sent back with the call.
    tool_calls: list[dict[str, Any]] | None = None
    function_call: Any = None
    # Fields of the message that must be sent back with it.
    reasoning_details: Any = None
    extra_content: Any = None
    provider_specific_fields: Any = None


class _Choice(msgspec.Struct, gc=False):
    index: Any = None
    delta: _Delta | None = None
    message: _Delta | None = None
    finish_reason: Any = None
    error: Any = None


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_Choice] | None = None
    usage: Any = None
    error: Any = None


_CHUNK = msgspec.json.Decoder(_Chunk)
_ANY = msgspec.json.Decoder(Any)

# In lower case. Google's servers send their own reasons.
_TRUNCATED = frozenset({"length", "max_tokens", "max_output_tokens", "model_length"})
_FILTERED = frozenset(
    {
        "blocklist",
        "content_filter",
        "prohibited_content",
        "recitation",
        "refusal",
        "safety",
        "sensitive",
        "spii",
    }
)
_FAILED = frozenset({"abort", "error", "insufficient_system_resource"})


class ChatParser:
    """A parser of the chunks of one completion. Tool calls are emitted at its end."""

    def __init__(self, limits: ResponseLimits) -> None:
        self.done = False
        self._finish_reason = ""
        self._refused = False
        self._thinking_field = ""
        self._has_streamed = False
        self._has_begun = False
        self._calls = OpenCalls(limits)
        self._fields = MessageFields(limits)

    def feed(self, data: bytes, out: list[Delta]) -> None:
        """Append the deltas of one chunk to `out`."""
        if data.startswith(b"[DONE]"):
            self.done = True
            return
        chunk = decode(_CHUNK, data)
        if chunk.error or chunk.choices is None:
            error = find_error(decode(_ANY, data))
            if error is not None:
                raise status_error(None, error)
        for choice in chunk.choices or ():
            if not choice.index:
                self._add_choice(choice, out)
        if isinstance(usage := chunk.usage, dict):
            # Some servers send the usage so far, and a reason, with every chunk.
            self.done = bool(self._finish_reason) and not chunk.choices
            out.append(token_usage(usage, "prompt_tokens", "completion_tokens"))

    def truncate(self) -> None:
        """End the response here, as one that the token limit cut off."""
        self.done = True
        self._finish_reason = "length"

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
        if fields := self._fields.joined():
            remaining.append(OpaquePart("openai", {"fields": fields}))
        return [*remaining, *calls, end]

    def _add_choice(self, choice: _Choice, out: list[Delta]) -> None:
        delta = choice.delta
        # In place of deltas. A message after deltas would repeat them.
        is_message = choice.message is not None and not self._has_streamed
        if is_message:
            delta = choice.message
        if delta:
            if delta.reasoning_content or delta.reasoning:
                self._add_thinking(delta, out)
            if delta.content or delta.refusal:
                self._add_text(delta, out)
            for fragment in delta.tool_calls or ():
                self._add_call(fragment, out)
            if delta.function_call:
                self._add_call({"function": delta.function_call}, out)
            if (
                delta.reasoning_details
                or delta.extra_content
                or delta.provider_specific_fields
            ):
                self._fields.add(delta)
        if is_message:
            self._has_streamed = False
        if reason := choice.finish_reason:
            self._finish_reason = str(reason).lower()
        if choice.error:
            raise status_error(None, error_fields(choice.error))

    def _add_thinking(self, delta: _Delta, out: list[Delta]) -> None:
        for field in ("reasoning_content", "reasoning"):
            text = getattr(delta, field)
            if text and isinstance(text, str):
                self._has_streamed = True
                self._thinking_field = field
                out.append(ThinkingDelta(text))
                return  # servers that send both send the same in both

    def _add_text(self, delta: _Delta, out: list[Delta]) -> None:
        text = delta.content
        if delta.refusal or not isinstance(text, str):
            self._refused |= bool(delta.refusal)
            text = _plain_text(text) + _plain_text(delta.refusal)
        if text:
            self._has_streamed = True
            self._end_thinking(out)
            out.append(TextDelta(text))

    def _end_thinking(self, out: list[Delta]) -> None:
        if self._thinking_field:
            out.append(ThinkingEnd("openai", {"field": self._thinking_field}))
            self._thinking_field = ""

    def _add_call(self, fragment: dict[str, Any], out: list[Delta]) -> None:
        if not self._has_begun and not self._has_streamed:
            out.append(OutputBegun())
        self._has_begun = self._has_streamed = True
        function = fragment.get("function")
        if not isinstance(function, dict):
            function = {}
        call = self._calls.add(
            fragment.get("index"),
            fragment.get("id"),
            function.get("name"),
            function.get("arguments"),
        )
        call.keep_extra(fragment)

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
