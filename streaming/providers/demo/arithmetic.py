"""Arithmetic, in signs or in words: the calculator computes what is found."""

import json
import re
from collections.abc import Sequence

from streaming.messages import ToolResultPart
from streaming.providers.demo.english import PREVIOUS, read
from streaming.providers.demo.plans import Call, Plan, Question, Reply, Step, say


def calculate(expression: str) -> Call:
    """A call of the calculator."""
    return Call("calculator", {"expression": expression})


def arithmetic(question: Question) -> Plan | None:
    """What is 15% of 240, and what is the square root of 144? And times 2?"""
    reading = read(question.text)
    if not reading.expressions:
        return None
    groups = _groups(reading.expressions)
    previous = _previous(question)
    if PREVIOUS in groups[0][0] and not previous:
        return say(
            Reply(NO_PREVIOUS, thought="There is no result before to go on from.")
        )
    return _arithmetic(groups, previous, reading.has_more)


#: A result with more has perhaps been rounded.
MOST_DIGITS = 14
NO_PREVIOUS = (
    "You refer to a result, but I have not calculated anything in this conversation "
    "yet. Ask me for something to begin with, such as `6 * 7`."
)


def _groups(expressions: Sequence[str]) -> list[list[str]]:
    """The expressions, in groups whose members do not need each other's results."""
    groups: list[list[str]] = []
    for expression in expressions:
        if PREVIOUS in expression or not groups:
            groups.append([])
        groups[-1].append(expression)
    return groups


def _arithmetic(groups: Sequence[Sequence[str]], previous: str, has_more: bool) -> Plan:
    lines: list[str] = []
    for group in groups:
        expressions = [text.replace(PREVIOUS, previous) for text in group]
        results = yield Step(
            _plan_of(group, expressions), list(map(calculate, expressions))
        )
        lines += map(_line, expressions, results)
        if results[-1].is_error:
            break
        previous = _operand(expressions[-1], results[-1].result)
    if has_more:
        lines.append("The rest of what you wrote is beyond my rules.")
    text = "\n".join(f"- {line}" for line in lines) if len(lines) > 1 else lines[0]
    return Reply(text, thought="The calculator has answered; I pass its results on.")


def _previous(question: Question) -> str:
    """The newest calculation of the conversation, to go on from; empty if none."""
    calls = {
        call.id: call.arguments
        for message in question.earlier
        for call in message.tool_calls
        if call.name == "calculator"
    }
    results = [
        part
        for message in question.earlier
        for part in message.parts
        if isinstance(part, ToolResultPart) and part.id in calls and not part.is_error
    ]
    if not results:
        return ""
    last = results[-1]
    return _operand(json.loads(calls[last.id])["expression"], last.result)


def _operand(expression: str, result: str) -> str:
    """The result, or the expression where the result may have been rounded."""
    if len(result) > MOST_DIGITS:
        return f"({expression})"
    return result if re.fullmatch(r"[\d.]+", result) else f"({result})"


def _plan_of(group: Sequence[str], expressions: Sequence[str]) -> str:
    listed = "; ".join(expressions)
    if PREVIOUS in group[0]:
        return f"This goes on from the result before. I call the calculator: {listed}."
    if len(group) > 1:
        return (
            f"There are {len(group)} things to calculate that do not depend on each "
            f"other, so I call the calculator for all of them at once: {listed}."
        )
    return f"This is arithmetic. I call the calculator: {listed}."


def _line(expression: str, result: ToolResultPart) -> str:
    if result.is_error:
        return f"`{expression}` has no result. The calculator says: {result.result}"
    return f"`{expression}` = **{result.result}**"
