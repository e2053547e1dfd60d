"""The demo model as a provider: its turns, streamed word by word."""

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from math import ceil

import msgspec

from streaming.exceptions import ProviderError
from streaming.providers.base import (
    Delta,
    ModelRequest,
    ProviderOptions,
    TextDelta,
    ThinkingDelta,
    TokenUsage,
    TurnEnd,
)
from streaming.providers.demo.plans import Turn, next_turn
from streaming.providers.demo.rules import RULES

CHARS_PER_TOKEN = 4
#: Words that go out together when there is no pause between them.
BATCH = 16

WORD = re.compile(r"\s*\S+|\s+$")


class DemoProvider:
    """Answers by rule. See `Provider`."""

    name = "demo"

    def __init__(self, options: ProviderOptions) -> None:
        self.model = options.model or "demo-1"
        self._delay = options.demo_delay
        self._thinks = options.thinking != "off"
        self._max_chars = options.max_tokens * CHARS_PER_TOKEN

    async def stream(self, request: ModelRequest) -> AsyncGenerator[list[Delta]]:
        """Answer what was said last; see `Provider.stream`."""
        turn = next_turn(request, RULES)
        asked = _tokens(msgspec.json.encode(request))
        yield [TokenUsage(input_tokens=asked)]
        await asyncio.sleep(turn.reply.pause)
        words, is_whole = self._words(turn)
        size = 1 if self._delay else BATCH
        for start in range(0, len(words), size):
            yield words[start : start + size]
            await asyncio.sleep(self._delay)
        if turn.reply.fails:
            raise ProviderError("The demo model failed, as it was asked to.")
        ending = _ending(turn) if is_whole else [TurnEnd("max_tokens")]
        yield [_usage(asked, [*words, *ending]), *ending]

    async def aclose(self) -> None:
        """Nothing is open."""

    def _words(self, turn: Turn) -> tuple[list[Delta], bool]:
        """What fits into the tokens allowed, and whether that is all."""
        thought = turn.reply.thought if self._thinks else ""
        words: list[Delta] = [ThinkingDelta(word) for word in WORD.findall(thought)]
        words += [TextDelta(word) for word in WORD.findall(turn.reply.text)]
        left = self._max_chars
        for index, word in enumerate(words):
            left -= len(msgspec.json.encode(word))
            if left < 0:
                return words[:index], False
        return words, True
