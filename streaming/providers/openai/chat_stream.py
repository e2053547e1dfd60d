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
from streaming.providers.streaming_response import DONE, bare_data, decode


class _Delta(msgspec.Struct, gc=False):
    content: Any = None
    refusal: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    #: With their unknown fields, which must be sent back with the call.
    tool_calls: Any = None
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
    choices: list[_Choice | None] | None = None
    usage: Any = None
    error: Any = None
    #: Groq's own fields: an id in the first chunk, an error in the last one.
    x_groq: Any = None


_CHUNK = msgspec.json.Decoder(_Chunk)
_ANY = msgspec.json.Decoder(Any)

# In lower case, with underscores. Google's and other servers send their own reasons.
_TRUNCATED = frozenset(
    {
        "length",
        "max_output_tokens",
        "max_tokens",
        "model_context_window_exceeded",
        "model_length",
    }
)
_FILTERED = frozenset(
    {
        "blocklist",
        "content_filter",
        "content_filtered",
        "guardrail_intervened",
        "prohibited_content",
        "recitation",
        "refusal",
        "safety",
        "sensitive",
        "spii",
    }
)
_FAILED = frozenset({"abort", "error", "insufficient_system_resource", "network_error"})
#: Texts in place of no reason.
_NONE = frozenset({"null", "none"})


class ChatParser:
    """A parser of the chunks of one completion. Tool calls are emitted at its end."""

    def __init__(self, limits: ResponseLimits) -> None:
        self.done = False
        self._finish_reason = ""
        self._refused = False
        #: The field of the reasoning that is being read, empty among other content.
        self._thinking_field: str | None = None
        self._has_streamed = False
        self._has_begun = False
        self._calls = OpenCalls(limits)
        self._fields = MessageFields(limits)

    def feed(self, data: bytes, out: list[Delta]) -> None:
        """Append the deltas of one chunk to `out`."""
        if not data.startswith(b"{"):
            data = bare_data(data)
            self.done = data == DONE
            if self.done or not data:
                return
        chunk = decode(_CHUNK, data)
        if chunk.error or chunk.choices is None:
            error = find_error(decode(_ANY, data))
            if error is not None:
                raise status_error(None, error)
        if chunk.x_groq and (error := find_error(chunk.x_groq)) is not None:
            raise status_error(None, error)
        for choice in chunk.choices or ():
            if choice and not choice.index:
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
            text = delta.content
            if isinstance(text, str) and not delta.refusal:
                if text:  # nearly always: without a call, a delta takes 4% less
                    self._has_streamed = True
                    if self._thinking_field is not None:
                        self._end_thinking(out)
                    out.append(TextDelta(text))
            elif text or delta.refusal:
                self._add_irregular_text(delta, out)
            if delta.tool_calls:
                for fragment in _objects(delta.tool_calls):
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
        if choice.finish_reason:
            reason = str(choice.finish_reason).lower().replace("-", "_")
            if reason not in _NONE:
                self._finish_reason = reason
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

    def _add_irregular_text(self, delta: _Delta, out: list[Delta]) -> None:
        """Add a refusal, or text that is no string, such as Mistral's reasoning."""
        self._refused |= bool(delta.refusal)
        for part in _objects(delta.content):
            if thought := _plain_text(part.get("thinking") or part.get("summary")):
                self._has_streamed = True
                self._thinking_field = self._thinking_field or ""
                out.append(ThinkingDelta(thought))
        if text := _plain_text(delta.content) + _plain_text(delta.refusal):
            self._has_streamed = True
            self._end_thinking(out)
            out.append(TextDelta(text))

    def _end_thinking(self, out: list[Delta]) -> None:
        if self._thinking_field is not None:
            field = {"field": self._thinking_field} if self._thinking_field else {}
            out.append(ThinkingEnd("openai", field))
            self._thinking_field = None

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


def _objects(value: object) -> list[dict[str, Any]]:
    """Return the objects of a list, or the one that stands in its place."""
    values = value if isinstance(value, list) else [value]
    return [each for each in values if isinstance(each, dict)]
