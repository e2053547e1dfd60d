"""Problems told in words: having and giving away, and compound interest."""

import re
from collections.abc import Sequence
from decimal import Decimal

from streaming.messages import ToolResultPart
from streaming.providers.demo.arithmetic import calculate
from streaming.providers.demo.english import NUMBER, with_digits
from streaming.providers.demo.plans import Plan, Question, Reply, Step, say

ASKED = re.compile(
    r"how (?:many|much)\b[^,.?!]*?\b(?:have|has|left|remain\w*|there|total|together)\b",
    re.IGNORECASE,
)
EVENT = re.compile(
    r"""(?P<start> \b(?:have|has|had|(?:start|began|begin)(?:s|ed)?\ with
      |there\ (?:are|were))\b )
    | (?P<gain> \b(?:g[ai]ves?\ (?:me|us)|gets?(?!\ rid)|got(?!\ rid)|buys?|bought
      |finds?|found|receive[sd]?|pick(?:s|ed)?|wins?|won|earn(?:s|ed)?|collect(?:s|ed)?
      |gather(?:s|ed)?|add(?:s|ed)?|gain(?:s|ed)?|makes?|made|bake[sd]?)\b )
    | (?P<loss> \b(?:gets?\ rid|got\ rid|gives?|gave|eats?|ate|eaten|loses?|lost|sells?
      |sold|spends?|spent|use[sd]?|throws?|threw|drop(?:s|ped)?|donate[sd]?|breaks?
      |broke|removes?|removed|takes?\ away|took\ away|lends?|lent)\b )
    | (?P<number> """
    + NUMBER
    + r""" ) (?: \s (?:more\s)? (?P<noun> [a-z]{3,}s)\b )?""",
    re.VERBOSE | re.IGNORECASE,
)
PRONOUNS = {"He", "She", "They", "We", "You", "It", "Then"}
#: What these rules do not follow; rather no answer than a wrong one.
UNCLEAR = re.compile(
    r"\b(?:each|every|per|half|third|quarter|twice|thrice|times|double[sd]?|some|equally|"
    r"back)\b|%",
    re.IGNORECASE,
)


def word_problem(question: Question) -> Plan | None:
    """If I have 5 apples and give away 2, then buy 3 more, how many do I have?"""
    text = with_digits(question.text)
    if not ASKED.search(text) or UNCLEAR.search(text) or len(_persons(text)) > 1:
        return None
    events = list(EVENT.finditer(ASKED.sub("", text)))
    nouns = {event["noun"].lower() for event in events if event["noun"]}
    starts = sum(1 for event in events if event["start"])
    expression = _in_order(events)
    if not expression or starts != 1 or len(nouns) > 1:
        return None
    subject = "You have" if re.search(r"\bI\b", text) else "That makes"
    return _word_problem(expression, subject, "".join(nouns))


def _persons(text: str) -> set[str]:
    """Who has, gets or gives away, by name or "I"; pronouns are taken for the same."""
    verbs = (e for e in EVENT.finditer(text) if not e["number"] and " me" not in e[0])
    words = (text[: verb.start()].split()[-1:] for verb in verbs)
    return {name for [name] in filter(None, words) if name[0].isupper()} - PRONOUNS


def _in_order(events: Sequence[re.Match[str]]) -> str:
    """What is had, got and given away as one expression; empty if it is none."""
    sign, terms = "", []
    for event in events:
        if not event["number"]:
            sign = "-" if event["loss"] else "+"
        elif sign:
            terms.append(f"{sign} {event['number']}")
    return " ".join(terms).removeprefix("+ ") if len(terms) > 1 else ""


def _word_problem(expression: str, subject: str, noun: str) -> Plan:
    [result] = yield Step(
        "This is a problem of having, getting and giving away. In the order told: "
        f"{expression}. I call the calculator.",
        [calculate(expression)],
    )
    if result.is_error:
        return _failed(result)
    things = f" {noun.removesuffix('s') if result.result == '1' else noun}".rstrip()
    return Reply(
        f"{subject} **{result.result}{things}**: `{expression}` = {result.result}.",
        thought="The calculator has answered; I put the result into a sentence.",
    )


def _failed(result: ToolResultPart) -> Reply:
    return Reply(
        f"I could not work it out. The calculator says: {result.result}",
        thought="The calculator has answered with an error; I say so.",
    )


PRINCIPAL = re.compile(
    rf"(?P<symbol>[$€£])\s?(?P<amount>{NUMBER})|\b(?:on|of|invest|principal)\s+"
    rf"(?P<plain>{NUMBER})(?!\s*(?:%|percent|per cent))",
    re.IGNORECASE,
)
RATE = re.compile(rf"({NUMBER})\s*(?:%|percent|per cent)", re.IGNORECASE)
TIME = re.compile(rf"({NUMBER})[\s-]*(year|yr|month)", re.IGNORECASE)
PERIODS = (
    (2, r"semi-?annual|half-?year|twice a year|every six months"),
    (4, r"quarter"),
    (12, r"monthly|(?:each|every|per) month"),
    (52, r"weekly|(?:each|every|per) week"),
    (365, r"daily|(?:each|every|per) day"),
)


def compound_interest(question: Question) -> Plan | None:
    """Calculate the compound interest on $10,000 at 5% annual rate for 3 years."""
    text = with_digits(question.text)
    if not re.search(r"compound", text, re.IGNORECASE):
        return None
    principal, rate, time = (p.search(text) for p in (PRINCIPAL, RATE, TIME))
    if not (principal and rate and time):
        return say(Reply(INCOMPLETE, thought="Compound interest, but not all I need."))
    amount = principal["amount"] or principal["plain"]
    years = f"{time[1]}/12" if time[2].lower() == "month" else time[1]
    growth = _growth(rate[1], years, _periods(text))
    unit = "month" if time[2].lower() == "month" else "year"
    span = f"{time[1]} {unit}" if time[1] == "1" else f"{time[1]} {unit}s"
    return _compound_interest(principal["symbol"] or "", amount, growth, span)


INCOMPLETE = (
    "For compound interest I need an amount, a rate in percent and a time in years or "
    'months, as in "the compound interest on $10,000 at 5% for 3 years, compounded '
    'monthly".'
)


def _periods(text: str) -> int:
    found = (n for n, words in PERIODS if re.search(words, text, re.IGNORECASE))
    return next(found, 1)


def _growth(rate: str, years: str, periods: int) -> str:
    if periods == 1:
        return f"(1 + {rate}/100) ** {years if years.isdigit() else f'({years})'}"
    return f"(1 + {rate}/100/{periods}) ** ({periods} * {years})"


def _compound_interest(symbol: str, amount: str, growth: str, span: str) -> Plan:
    whole = f"{amount} * {growth}"
    results = yield Step(
        "Compound interest: the amount grows by the rate once a period, so it becomes "
        f"{whole}, and what is more than the amount is the interest. I call the "
        "calculator for both.",
        [calculate(f"round({whole}, 2)"), calculate(f"round({whole} - {amount}, 2)")],
    )
    for result in results:
        if result.is_error:
            return _failed(result)
    total, interest = (_money(symbol, result.result) for result in results)
    return Reply(
        f"The compound interest is **{interest}**.\n\nAfter {span} the "
        f"{_money(symbol, amount)} have become {total}: `{whole}`.",
        thought="The calculator has answered; I write the amounts as money.",
    )


def _money(symbol: str, number: str) -> str:
    return f"{symbol}{Decimal(number):,.2f}"
