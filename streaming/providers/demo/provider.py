"""The demo model as a provider: its turns, streamed word by word."""

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
from streaming.providers.demo.plans import Turn, next_turn
from streaming.providers.demo.rules import RULES

CHARS_PER_TOKEN = 4
#: Words that go out together when there is no pause between them.
BATCH = 16

WORD = re.compile(r"\s*\S+|\s+$")
Word = TextDelta | ThinkingDelta


class DemoProvider:
    """Answers by rule. See `Provider`."""

    name = "demo"
    needs_retries = False

    def __init__(self, options: DemoOptions) -> None:
        self.model = options.llm_model or "demo-1"
        self._delay = options.demo_delay_ms / 1000
        self._thinks = options.llm_thinking != "off"
        self._max_chars = options.llm_max_tokens * CHARS_PER_TOKEN

    async def stream(self, request: ModelRequest) -> AsyncGenerator[list[Delta]]:
        """Answer what was said last. See `Provider`; a token is taken for 4 letters."""
        turn = next_turn(request, RULES)
        asked = _tokens([msgspec.json.encode(request).decode()])
        yield [TokenUsage(input_tokens=asked)]
        await asyncio.sleep(turn.reply.pause)
        wanted = self._words(turn)
        words = self._allowed(wanted)
        size = 1 if self._delay else BATCH
        for start in range(0, len(words), size):
            yield [*words[start : start + size]]
            await asyncio.sleep(self._delay)
        if turn.reply.fails:
            raise ProviderError("The demo model failed, as it was asked to.")
        if len(words) < len(wanted):
            yield [_usage(asked, words), ResponseEnd("max_tokens")]
        else:
            usage = _usage(asked, words, turn.calls)
            yield [*turn.calls, usage, ResponseEnd(turn.reply.stop_reason)]

    async def aclose(self) -> None:
        """Nothing is open."""

    def _words(self, turn: Turn) -> list[Word]:
        thought = turn.reply.thought if self._thinks else ""
        thinking = [ThinkingDelta(word) for word in WORD.findall(thought)]
        return [*thinking, *map(TextDelta, WORD.findall(turn.reply.text))]

    def _allowed(self, words: list[Word]) -> list[Word]:
        """The words up to the limit of tokens."""
        ends = accumulate(len(word.text) for word in words)
        return words[: sum(end <= self._max_chars for end in ends)]


def _tokens(texts: Iterable[str]) -> int:
    return ceil(sum(map(len, texts)) / CHARS_PER_TOKEN)


def _usage(
    asked: int, words: Sequence[Word], calls: Sequence[ToolCallPart] = ()
) -> TokenUsage:
    said = [*(word.text for word in words), *(call.arguments for call in calls)]
    thoughts = (word.text for word in words if isinstance(word, ThinkingDelta))
    return TokenUsage(
        input_tokens=asked,
        output_tokens=_tokens(said),
        reasoning_tokens=_tokens(thoughts),
    )
