"""The built-in offline model: rules instead of a language model, and it says so.

It thinks aloud, calls the real tools and answers from their results, so that clients,
tests and benchmarks need no key. What it understands stands in `demo_rules`.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator, Sequence

import msgspec

from streaming.messages import Message, ToolCallPart, ToolResultPart
from streaming.providers.base import (
    Delta,
    ModelRequest,
    ProviderOptions,
    TextDelta,
    ThinkingDelta,
    TokenUsage,
    TurnEnd,
)
from streaming.providers.demo_rules import Plan, plan_for

CHARS_PER_TOKEN = 4
#: Without a delay, this many words go out together before the event loop has its turn.
BATCH = 20


class DemoProvider:
    """See `Provider`. Needs no key and no network."""

    name = "demo"

    def __init__(self, options: ProviderOptions) -> None:
        self.model = options.model or "demo-1"
        self._delay = options.demo_delay

    async def stream(self, request: ModelRequest) -> AsyncGenerator[list[Delta]]:
        """Answer the last question of the history, by rule."""
        question, results = _last_turn(request.messages)
        plan = plan_for(question)
        asked = len(msgspec.json.encode(request.messages)) // CHARS_PER_TOKEN
        yield [TokenUsage(input_tokens=asked)]
        said = ""
        calls: list[Delta] = []
        if results:
            text = plan.answer(results)
        elif plan.calls and _may_call(plan, request):
            text = ""
            calls = list(_calls(plan, len(request.messages)))
        else:
            text = _without_tools(plan) if plan.calls else plan.answer([])
        if not results:
            async for batch in self._words(plan.thinking, ThinkingDelta):
                said += "".join(delta.text for delta in batch)
                yield list(batch)
        async for batch in self._words(text, TextDelta):
            said += "".join(delta.text for delta in batch)
            yield list(batch)
        output = (len(said) + len(msgspec.json.encode(calls))) // CHARS_PER_TOKEN
        usage = TokenUsage(input_tokens=asked, output_tokens=output)
        yield [*calls, usage, TurnEnd("tool_use" if calls else "end_turn")]

    async def aclose(self) -> None:
        """Nothing is open."""

    async def _words(
        self, text: str, delta: type[TextDelta] | type[ThinkingDelta]
    ) -> AsyncGenerator[Sequence[TextDelta | ThinkingDelta]]:
        words = text.splitlines(keepends=True)
        pieces = [delta(piece) for line in words for piece in _pieces(line)]
        size = 1 if self._delay else BATCH
        for start in range(0, len(pieces), size):
            await asyncio.sleep(self._delay)
            yield pieces[start : start + size]


def _pieces(line: str) -> Iterator[str]:
    """Words, each with the space before it."""
    for index, word in enumerate(line.split(" ")):
        if piece := f" {word}" if index else word:
            yield piece


def _last_turn(messages: Sequence[Message]) -> tuple[str, list[ToolResultPart]]:
    """The last thing a person said, and what the tools have answered since."""
    results: list[ToolResultPart] = []
    for message in reversed(messages):
        if message.role == "user":
            return message.text, results
        found = [p for p in message.parts if isinstance(p, ToolResultPart)]
        results = found + results
    return "", results


def _may_call(plan: Plan, request: ModelRequest) -> bool:
    offered = {tool.name for tool in request.tools}
    return request.allow_tools and all(name in offered for name, _ in plan.calls)


def _calls(plan: Plan, position: int) -> Iterator[ToolCallPart]:
    for index, (name, arguments) in enumerate(plan.calls, 1):
        yield ToolCallPart(f"demo_{position}_{index}", name, json.dumps(arguments))


def _without_tools(plan: Plan) -> str:
    wanted = ", ".join(
        f"{name}({', '.join(arguments.values())})" for name, arguments in plan.calls
    )
    return f"I would have to call {wanted} for this, but I may call no tool here."
