"""What the demo model understands: a list of rules, tried in order.

Word problems of giving and getting, compound interest, percentages and square roots,
plain arithmetic, the time in a city, `count to N` and `stream N words` for a long
stream; whatever else is asked gets an honest answer about what this model is.
"""

import re
from collections.abc import Callable, Sequence
from zoneinfo import available_timezones

import msgspec

from streaming.messages import ToolResultPart

Results = Sequence[ToolResultPart]
Call = tuple[str, dict[str, str]]
MAX_WORDS = 5000

WHO = (
    "I am the built-in offline demo model: a few rules, no language model, no network."
)
HELP = (
    f"{WHO}\n\n"
    "I can calculate, through the calculator tool: word problems, percentages, square "
    "roots, compound interest, plain arithmetic. I can tell the time in a city, count "
    "(`count to 200`) and stream words (`stream 500 words`).\n\n"
    "To connect a real model, set ANTHROPIC_API_KEY or OPENAI_API_KEY and start the "
    "server again."
)


class Plan(msgspec.Struct, frozen=True):
    """What to think, which tools to call, and what to say to their results."""

    thinking: str
    answer: Callable[[Results], str]
    calls: Sequence[Call] = ()


Rule = Callable[[str], Plan | None]


def plan_for(question: str) -> Plan:
    """The plan of the first rule that fits."""
    plans = (rule(question) for rule in RULES)
    return next(plan for plan in plans if plan)


def _number(text: str) -> str:
    return text.replace(",", "").rstrip(".")


def _said(result: ToolResultPart) -> str:
    """A result as it is quoted; a tool's error is told as one."""
    if result.is_error:
        return f"an error ({result.result.rstrip('.')})"
    return _grouped(result.result)


def _grouped(number: str) -> str:
    """A number with thousands separators."""
    match = re.fullmatch(r"(-?)(\d+)(\.\d+)?", number)
    if not match:
        return number
    sign, whole, rest = match.groups()
    return f"{sign}{int(whole):,}{rest or ''}"


NUMBER = r"(\d+(?:,\d{3})*(?:\.\d+)?)"


def _long_stream(question: str) -> Plan | None:
    counting = re.search(rf"\bcount (?:up )?to {NUMBER}", question, re.I)
    words = re.search(rf"\b(?:stream|write|say) {NUMBER} words", question, re.I)
    found = counting or words
    if not found:
        return None
    count = min(int(float(_number(found[1]))), MAX_WORDS)
    said = [str(n) if counting else f"word{n}" for n in range(1, count + 1)]
    return Plan(
        f"A long stream is asked for: {count} words.",
        lambda _: " ".join(said),
    )


GAIN = r"buy|buys|bought|get|gets|got|find|finds|found|receive|receives|received|pick"
LOSS = r"give|gives|gave|eat|eats|ate|lose|loses|lost|sell|sells|sold|throw|use|used"
STEP = re.compile(rf"\b(?:(?P<gain>{GAIN})|(?P<loss>{LOSS}))\b[^\d.]*?{NUMBER}", re.I)
START = re.compile(
    rf"\b(?:have|has|had|start(?:s|ed)? with) {NUMBER} (?P<thing>[a-z]+)", re.I
)


def _word_problem(question: str) -> Plan | None:
    start = START.search(question)
    steps = list(STEP.finditer(question, start.end())) if start else []
    if not start or not steps or "how many" not in question.lower():
        return None
    signs = [f"{'+' if step['gain'] else '-'} {_number(step[3])}" for step in steps]
    expression = " ".join([_number(start[1]), *signs])
    return Plan(
        f"This is a problem of having, giving and getting. In order: {expression}. "
        "The calculator shall work it out.",
        lambda results: (
            f"You have {_said(results[0])} {start['thing']}: "
            f"{expression} = {_said(results[0])}."
        ),
        [("calculator", {"expression": expression})],
    )


PERIODS = {"month": 12, "quarter": 4, "dai": 365, "day": 365, "week": 52}


def _compound_interest(question: str) -> Plan | None:
    if "compound" not in question.lower():
        return None
    principal = re.search(rf"[$€£]\s*{NUMBER}|\bon {NUMBER}", question)
    rate = re.search(rf"{NUMBER}\s*(?:%|percent)", question)
    years = re.search(rf"{NUMBER}\s*years?", question)
    if not (principal and rate and years):
        return None
    amount, percent = _number(principal[1] or principal[2]), _number(rate[1])
    times = next((n for name, n in PERIODS.items() if name in question.lower()), 1)
    growth = f"(1 + {percent} / 100 / {times}) ** ({_number(years[1])} * {times})"
    total = f"round({amount} * {growth}, 2)"
    interest = f"round({amount} * {growth} - {amount}, 2)"
    return Plan(
        f"Compound interest: principal times (1 + rate / {times}) to the number of "
        f"periods. Principal {amount}, rate {percent}%, {_number(years[1])} years, "
        f"compounded {times} times a year. I need the total and the interest.",
        lambda results: (
            f"The compound interest is {_money(results[1])}.\n\n"
            f"After {_number(years[1])} years at {percent}% the {_grouped(amount)} "
            f"have grown to {_money(results[0])}."
        ),
        [
            ("calculator", {"expression": total}),
            ("calculator", {"expression": interest}),
        ],
    )


def _money(result: ToolResultPart) -> str:
    if result.is_error:
        return _said(result)
    return f"${float(result.result):,.2f}"


QUESTIONS = re.compile(
    rf"{NUMBER}\s*(?:%|percent) of {NUMBER}|square root of {NUMBER}", re.I
)


def _percentages_and_roots(question: str) -> Plan | None:
    found = list(QUESTIONS.finditer(question))
    if not found:
        return None
    expressions = [
        f"sqrt({_number(m[3])})" if m[3] else f"{_number(m[1])}% of {_number(m[2])}"
        for m in found
    ]
    return Plan(
        f"{len(found)} calculation(s) that do not depend on each other: "
        f"{'; '.join(expressions)}. I ask for all of them at once.",
        lambda results: "\n".join(
            f"- {match[0]}: {_said(result)}"
            for match, result in zip(found, results, strict=False)
        ),
        [("calculator", {"expression": e}) for e in expressions],
    )


WORDS = {"divided by": "/", "divide": "", "times": "*", "plus": "+", "minus": "-"}
EXPRESSION = re.compile(r"[-(]*\d[\d.,]*(?:\s*(?:[-+*/^%()]|\d[\d.,]*))*\s*[\d)%]")


def _arithmetic(question: str) -> Plan | None:
    text = question.lower()
    text = re.sub(rf"divide {NUMBER} by {NUMBER}", r"\1 / \2", text)
    for word, operator in WORDS.items():
        text = text.replace(word, operator)
    candidates = [m[0].strip() for m in EXPRESSION.finditer(text)]
    expression = max(
        (c for c in candidates if re.search(r"[-+*/^%]", c)), key=len, default=""
    )
    if not expression:
        return None
    return Plan(
        f"There is something to calculate: {expression}. The calculator shall do it.",
        lambda results: (
            f"{expression} gives {_said(results[0])}."
            if results[0].is_error
            else f"{expression} = {_said(results[0])}"
        ),
        [("calculator", {"expression": expression})],
    )


def _time(question: str) -> Plan | None:
    if not re.search(r"\b(?:time|date|day)\b", question, re.I):
        return None
    place = re.search(r"\bin ([A-Za-z/_ ]+)", question)
    zone = _zone(place[1]) if place else "UTC"
    return Plan(
        f"The time is asked for; I take the zone to be {zone}.",
        lambda results: (
            f"In {zone} it is {results[0].result}."
            if not results[0].is_error
            else f"I could not tell the time: {results[0].result}"
        ),
        [("current_time", {"timezone": zone})],
    )


def _zone(place: str) -> str:
    """The time zone of a city, or what was named, for the tool to judge."""
    name = place.strip().replace(" ", "_").lower()
    zones = sorted(available_timezones(), key=len)
    of_city = (z for z in zones if name in (z.lower(), z.rpartition("/")[2].lower()))
    return next(of_city, place.strip())


def _about(question: str) -> Plan | None:
    if not re.search(r"\b(?:hello|hi|hey|help|who are you)\b", question, re.I):
        return None
    return Plan("Somebody wants to know what I am.", lambda _: f"Hello! {HELP}")


def _honest(question: str) -> Plan:
    return Plan(
        "No rule of mine fits this: rather than invent an answer, I say what I am.",
        lambda _: f"I cannot answer that. {HELP}",
    )


RULES: tuple[Rule, ...] = (
    _long_stream,
    _word_problem,
    _compound_interest,
    _percentages_and_roots,
    _arithmetic,
    _time,
    _about,
    _honest,
)
