"""Plans: the answer to a question, replayed from its beginning at each model call.

A model has no memory but the history that it receives. A rule therefore makes a plan: a
generator that yields steps, receives the results of each step's tool calls, and returns
a reply. Each model call makes the plan again and sends it the results in the history.
"""

import re
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import NamedTuple
from uuid import uuid4

from streaming.messages import Message, ToolCallPart, ToolResultPart
from streaming.providers.base import ModelRequest, ResponseStopReason


class Call(NamedTuple):
    """A tool and its arguments as JSON."""

    tool: str
    arguments: str


class Step(NamedTuple):
    """A thought and the tool calls that follow from it, all made at once."""

    thought: str
    calls: Sequence[Call]


class Reply(NamedTuple):
    """The end of a plan: the text, and the manner of its delivery."""

    text: str
    thought: str = "One of my rules fits, so I follow it."
    stop_reason: ResponseStopReason = "end_turn"
    #: Seconds of silence before the first word.
    pause: float = 0.0
    #: The model call fails after the last word.
    fails: bool = False


Plan = Generator[Step, list[str], Reply]
#: A function may return None: the next rule is tried.
Answer = Reply | Callable[[re.Match[str]], Reply | Plan | None]


def next_response(
    request: ModelRequest, rules: Mapping[str, Answer]
) -> tuple[Reply, list[ToolCallPart]]:
    """Answer the newest question: return the words and the tool calls after them."""
    question, results = _read(request.messages)
    step = _replay(_plan(question, rules), results)
    if isinstance(step, Reply):
        return step, []
    if not request.allow_tools:
        text = f"{step.thought} But this run has no iterations left for tools."
        return Reply(text, stop_reason="tool_use"), []
    return Reply("", step.thought, "tool_use"), [
        ToolCallPart(f"demo_{uuid4().hex[:16]}", *call) for call in step.calls
    ]


def _read(messages: Sequence[Message]) -> tuple[str, list[list[ToolResultPart]]]:
    """Return the newest question and the results of each step taken for it."""
    newest = max((i for i, m in enumerate(messages) if m.role == "user"), default=-1)
    question = messages[newest].text.strip() if newest >= 0 else ""
    since = messages[newest + 1 :]
    parts = [part for message in since for part in message.parts]
    results = {part.id: part for part in parts if isinstance(part, ToolResultPart)}
    steps = [message.tool_calls for message in since if message.tool_calls]
    return question, [[results[call.id] for call in calls] for calls in steps]


def _plan(question: str, rules: Mapping[str, Answer]) -> Reply | Plan:
    for pattern, answer in rules.items():
        if found := re.match(pattern, question, re.IGNORECASE | re.DOTALL):
            plan = answer if isinstance(answer, Reply) else answer(found)
            if plan is not None:
                return plan
    raise LookupError("The last rule must answer every question.")


def _replay(
    plan: Reply | Plan, results: Sequence[Sequence[ToolResultPart]]
) -> Step | Reply:
    if isinstance(plan, Reply):
        return plan
    try:
        step = next(plan)
        for step_results in results:
            if any(result.is_error for result in step_results):
                lines = [
                    f"- `{result.name}`: {result.result}" for result in step_results
                ]
                return Reply("A tool call failed:\n\n" + "\n".join(lines))
            step = plan.send([result.result for result in step_results])
    except StopIteration as end:
        reply: Reply = end.value
        return reply
    return step
