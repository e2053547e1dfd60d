"""Calculations: each number in an answer is a result of the calculator."""

import json
import re
from decimal import Decimal

from streaming.providers.demo.plans import Call, Plan, Reply, Step

#: Words, and the calculator's signs for them.
SIGNS = {
    r"\bplus\b": "+",
    r"\bminus\b": "-",
    r"\btimes\b": "*",
    r"\bdivided by\b": "/",
    r"\b(?:the )?square root of (\d[\d.,]*)": r"sqrt(\1)",
}
VERB = re.compile(r"(?:what is|what's|how much is|calculate|compute)\b", re.IGNORECASE)
#: An expression has a digit and more than a number. A name before a parenthesis is a
#: function: the calculator rejects unknown ones. The atomic group keeps it linear.
EXPRESSION = re.compile(
    r"(?=.*\d)(?=.*[^\d\s.,])"
    r"(?>[\d\s.,+\-*/%^()!×÷·−√π²³]|(?<=[\d\s])x(?=[\d\s])|\b(?:of|pi)\b|[a-z]\w*\()+",
    re.IGNORECASE,
)


def arithmetic(found: re.Match[str]) -> Plan | None:
    """Calculate the expressions of a question that consists of nothing else."""
    text = found[0]
    for words, sign in SIGNS.items():
        text = re.sub(words, sign, text, flags=re.IGNORECASE)
    clauses = re.split(r"[?;\n]|,?\s+and\s+", text)
    expressions = [VERB.sub("", clause.strip()).strip(" =.") for clause in clauses]
    expressions = list(filter(None, expressions))
    if expressions and all(map(EXPRESSION.fullmatch, expressions)):
        return _calculate(expressions)
    return None


def _calculate(expressions: list[str]) -> Plan:
    results = yield _step("This is arithmetic.", *expressions)
    lines = [
        f"`{expression}` = **{result}**"
        for expression, result in zip(expressions, results, strict=True)
    ]
    return Reply("\n\n".join(lines))


def give_away_and_buy(found: re.Match[str]) -> Plan:
    """Solve "I have 20 apples and give away 3/4 of them, then buy twice as many …"."""
    have, noun, part, factor = found.groups()
    times = "2" if factor.lower() == "twice" else factor.split()[0]
    first = f"{have} * {part}"
    [given] = yield _step(f"Step 1: the {noun} given away are {part} of {have}.", first)
    second = f"{have} - {given} + {times} * {given}"
    [total] = yield _step(
        f"Step 2: of {have}, {given} are given away and {times} * {given} bought.",
        second,
    )
    return Reply(
        f"You have **{total} {noun}**.\n\n1. Given away: `{first}` = {given}\n"
        f"2. Left, with those bought: `{second}` = {total}",
        thought="Step 3: the calculator has answered; I put its results in order.",
    )


def compound_interest(found: re.Match[str]) -> Plan:
    """Solve "the compound interest for $5000 at 3.5% annual rate for 8 years"."""
    symbol, amount, rate, years = (group.replace(",", "") for group in found.groups())
    formula = f"{amount} * (1 + {rate}/100) ** {years}"
    results = yield _step(
        f"Compound interest: the amount becomes {formula}, and the interest is the "
        "difference.",
        f"round({formula} - {amount}, 2)",
        f"round({formula}, 2)",
    )
    interest, total = (f"{symbol}{Decimal(result):,.2f}" for result in results)
    return Reply(
        f"The compound interest is **{interest}**.\n\n"
        f"The amount after {years} years is {total}: `{formula}`.",
        thought="The calculator has answered; I write its results as money.",
    )


def _step(thought: str, *expressions: str) -> Step:
    arguments = [{"expression": text} for text in expressions]
    calls = [Call("calculator", json.dumps(a, ensure_ascii=False)) for a in arguments]
    return Step(f"{thought} I call the calculator: {'; '.join(expressions)}.", calls)
