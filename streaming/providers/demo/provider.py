"""The demo model as a provider: its responses, streamed word by word."""

import asyncio
import re
from collections.abc import AsyncGenerator, Iterable, Sequence
from itertools import accumulate
from math import ceil

import msgspec

from streaming.exceptions import ProviderError
from streaming.messages import ToolCallPart
from streaming.providers.base import (
    Delta,
    ModelRequest,
    ResponseEnd,
    TextDelta,
    ThinkingDelta,
    TokenUsage,
)
from streaming.providers.demo.options import DemoOptions
from streaming.providers.demo.outputs import simplest
from streaming.providers.demo.plans import next_response
from streaming.providers.demo.rules import RULES

CHARS_PER_TOKEN = 4
#: Words that are yielded together when there is no delay between them.
BATCH = 16

WORD = re.compile(r"\s*\S+|\s+$")
Word = TextDelta | ThinkingDelta


class DemoProvider:
    """A provider that answers by rule. See `Provider`."""

    name = "demo"
    needs_retries = False
    takes_output = True

    def __init__(self, options: DemoOptions) -> None:
        self.model = options.model_name
        self._delay = options.demo_delay_ms / 1000
        self._thinks = options.llm_thinking != "off"
        self._max_chars = options.llm_max_tokens * CHARS_PER_TOKEN

    async def stream(self, request: ModelRequest) -> AsyncGenerator[list[Delta]]:
        """Answer the newest question. See `Provider`; four characters are a token."""
        reply, calls = next_response(request, RULES)
        if request.output and not calls and reply.stop_reason != "refusal":
            value = simplest(request.output.parameters)
            text = msgspec.json.encode(value).decode()
            reply = reply._replace(text=text, stop_reason="end_turn")
        input_tokens = _tokens([msgspec.json.encode(request).decode()])
        yield [TokenUsage(input_tokens=input_tokens)]
        await asyncio.sleep(reply.pause)
        thoughts = WORD.findall(reply.thought) if self._thinks else []
        words: list[Word] = [ThinkingDelta(word) for word in thoughts]
        words += map(TextDelta, WORD.findall(reply.text))
        ends = accumulate(len(word.text) for word in words)
        allowed = words[: sum(end <= self._max_chars for end in ends)]
        size = 1 if self._delay else BATCH
        for start in range(0, len(allowed), size):
            yield [*allowed[start : start + size]]
            await asyncio.sleep(self._delay)
        if reply.fails:
            raise ProviderError("The demo model failed, as it was asked to.")
        if len(allowed) < len(words):
            yield [_usage(input_tokens, allowed, []), ResponseEnd("max_tokens")]
        else:
            usage = _usage(input_tokens, words, calls)
            yield [*calls, usage, ResponseEnd(reply.stop_reason)]

    async def aclose(self) -> None:
        """Do nothing: no connection is open."""


def _tokens(texts: Iterable[str]) -> int:
    return ceil(sum(map(len, texts)) / CHARS_PER_TOKEN)


def _usage(
    input_tokens: int, words: Sequence[Word], calls: Sequence[ToolCallPart]
) -> TokenUsage:
    output = [*(word.text for word in words), *(call.arguments for call in calls)]
    thoughts = (word.text for word in words if isinstance(word, ThinkingDelta))
    return TokenUsage(input_tokens, _tokens(output), _tokens(thoughts))
