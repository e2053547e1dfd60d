"""A conversation with the demo model that calls its tools."""

from collections.abc import Sequence
from typing import NamedTuple

from streaming.agent_tools import calculator, current_time
from streaming.messages import (
    Message,
    Part,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
    user_message,
)
from streaming.providers.base import (
    Delta,
    ModelRequest,
    ResponseEnd,
    TextDelta,
    ThinkingDelta,
    TokenUsage,
)
from streaming.providers.demo.options import DemoOptions
from streaming.providers.demo.provider import DemoProvider
from streaming.tools import Context, Toolbox

TOOLBOX = Toolbox([calculator, current_time])


class Answer(NamedTuple):
    """One response of the model, its deltas sorted."""

    thinking: str
    text: str
    calls: list[ToolCallPart]
    usage: TokenUsage
    end: ResponseEnd

    @property
    def message(self) -> Message:
        """Return the message that the history holds."""
        parts: list[Part] = [ThinkingPart(self.thinking)] if self.thinking else []
        parts += [TextPart(self.text)] if self.text else []
        return Message("assistant", [*parts, *self.calls])


def sort(deltas: Sequence[Delta]) -> Answer:
    """Return the deltas by type; assert that usage and the end come last."""
    *_, usage, end = deltas
    assert isinstance(usage, TokenUsage)
    assert isinstance(end, ResponseEnd)
    return Answer(
        "".join(d.text for d in deltas if isinstance(d, ThinkingDelta)),
        "".join(d.text for d in deltas if isinstance(d, TextDelta)),
        [d for d in deltas if isinstance(d, ToolCallPart)],
        usage,
        end,
    )


class Conversation:
    """The messages, and the answers and tool results for the newest question."""

    def __init__(self, options: DemoOptions, toolbox: Toolbox = TOOLBOX) -> None:
        self.provider = DemoProvider(options)
        self.toolbox = toolbox
        self.messages: list[Message] = []
        self.answers: list[Answer] = []
        self.results: list[ToolResultPart] = []

    async def ask(self, question: str, iterations: int = 5) -> str:
        """Ask, call tools until the model answers without calls, return its text."""
        self.messages.append(user_message(question))
        self.answers, self.results = [], []
        for left in reversed(range(iterations)):
            answer = await self._call_model(allow_tools=left > 0)
            if not answer.calls:
                break
            await self._call_tools(answer.calls)
        return self.answers[-1].text

    async def _call_model(self, *, allow_tools: bool) -> Answer:
        request = ModelRequest("", self.messages, self.toolbox.specs, allow_tools)
        batches = [batch async for batch in self.provider.stream(request)]
        answer = sort([delta for batch in batches for delta in batch])
        self.messages.append(answer.message)
        self.answers.append(answer)
        return answer

    async def _call_tools(self, calls: Sequence[ToolCallPart]) -> None:
        results = [
            await self.toolbox.call(call, Context(), timeout=5, max_chars=10_000)
            for call in calls
        ]
        self.results += results
        self.messages.append(Message("tool", [*results]))

    @property
    def calls(self) -> list[list[str]]:
        """Return the arguments of the tool calls of each answer."""
        return [[c.arguments for c in a.calls] for a in self.answers if a.calls]
