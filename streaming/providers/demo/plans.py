"""How the demo model answers: a plan, played again from its beginning at each call.

A model has no memory but the history it is sent. So a rule makes a plan, a generator
that yields the steps that need tools and is sent their results, and returns a reply.
At each model call the plan is made anew and is sent the results that the history holds.
"""

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from uuid import uuid4

import msgspec

from streaming.messages import Message, ToolCallPart, ToolResultPart
from streaming.providers.base import ModelRequest, ResponseStopReason


class Call(msgspec.Struct, frozen=True):
    """A tool and its arguments."""

    tool: str
    arguments: Mapping[str, object]

    def __str__(self) -> str:
        return f"{self.tool}({', '.join(map(str, self.arguments.values()))})"


class Step(msgspec.Struct, frozen=True):
    """A thought, and the tools to call because of it, all at once."""

    thought: str
    calls: Sequence[Call]


class Reply(msgspec.Struct, frozen=True):
    """What to say at the end, and how."""

    text: str
    thought: str = ""
    stop_reason: ResponseStopReason = "end_turn"
    #: Seconds of silence before it.
    pause: float = 0.0
    #: Whether the call breaks off after it.
    fails: bool = False


Results = list[ToolResultPart]
Plan = Generator[Step, Results, Reply]


class Question(msgspec.Struct, frozen=True):
    """What was said last, and all that was before it."""

    text: str
    earlier: Sequence[Message] = ()

    @property
    def earlier_texts(self) -> list[str]:
        """What was said before, oldest first."""
        return [message.text for message in self.earlier if message.role == "user"]


#: A plan for a question, if it is one for this rule.
Rule = Callable[[Question], Plan | None]


class Turn(msgspec.Struct, frozen=True):
    """One answer of the model: a reply, or else thoughts with calls."""

    reply: Reply
    calls: Sequence[ToolCallPart] = ()


def say(reply: Reply) -> Plan:
    """The plan that needs no tools."""
    return reply
    yield  # This makes it a generator.


def next_turn(request: ModelRequest, rules: Sequence[Rule]) -> Turn:
    """What to answer now, by the first rule that has a plan."""
    question, results = _read(request.messages)
    plans = (rule(question) for rule in rules)
    step = _play(next(plan for plan in plans if plan), results)
    if isinstance(step, Reply):
        return Turn(step)
    missing = {call.tool for call in step.calls} - {t.name for t in request.tools}
    if missing:
        return Turn(_without(step, f"there is no tool {' or '.join(sorted(missing))}"))
    if not request.allow_tools:
        reply = _without(step, "this run has no iterations left for tools")
        return Turn(msgspec.structs.replace(reply, stop_reason="tool_use"))
    reply = Reply("", thought=step.thought, stop_reason="tool_use")
    return Turn(reply, [_part(call) for call in step.calls])


def _play(plan: Plan, results: Sequence[Results]) -> Step | Reply:
    try:
        step = next(plan)
        for answered in results:
            step = plan.send(answered)
    except StopIteration as end:
        reply: Reply = end.value
        return reply
    return step


def _read(messages: Sequence[Message]) -> tuple[Question, list[Results]]:
    """The question, and the results of each step that was taken for it."""
    asked = max((i for i, m in enumerate(messages) if m.role == "user"), default=-1)
    if asked < 0:
        return Question(""), []
    question = Question(messages[asked].text.strip(), messages[:asked])
    since = messages[asked + 1 :]
    answered = {
        part.id: part
        for message in since
        for part in message.parts
        if isinstance(part, ToolResultPart)
    }
    steps = [message.tool_calls for message in since if message.tool_calls]
    return question, [
        [answered[call.id] for call in calls]
        for calls in steps
        if all(call.id in answered for call in calls)
    ]


def _part(call: Call) -> ToolCallPart:
    arguments = json.dumps(call.arguments, ensure_ascii=False)
    return ToolCallPart(f"demo_{uuid4().hex[:16]}", call.tool, arguments)


def _without(step: Step, why: str) -> Reply:
    wanted = " and ".join(f"`{call}`" for call in step.calls)
    return Reply(
        f"I cannot answer this: I would call {wanted}, but {why}.",
        thought=f"{step.thought} But {why}.",
    )
