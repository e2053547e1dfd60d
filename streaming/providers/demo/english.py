"""Arithmetic in English, put into the calculator's signs.

`in_signs` replaces words by signs all over a text; `read` then takes out the clauses
that are nothing but arithmetic. PREVIOUS stands in them for the result before.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

PREVIOUS = "@"
NUMBER = r"\d+(?:,\d{3})*(?:\.\d+)?"

_TEENS = {
    word: number
    for number, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
        + ("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen")
        + ("seventeen", "eighteen", "nineteen")
    )
}
_TENS = {
    word: 10 * number
    for number, word in enumerate(
        ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"),
        2,
    )
}
_COMPOUNDS = {
    f"{ten}{dash}{unit}": tens + units
    for ten, tens in _TENS.items()
    for unit, units in _TEENS.items()
    for dash in "- "
    if 0 < units < 10
}
_ROUND = {"a dozen": 12, "a hundred": 100, "a thousand": 1000, "a million": 1_000_000}
_NUMERALS = _TEENS | _TENS | _COMPOUNDS | _ROUND
_NUMERAL = re.compile(
    rf"\b(?:{'|'.join(sorted(_NUMERALS, key=len, reverse=True))})\b", re.IGNORECASE
)

_ONE = rf"(?:\(.+?\)|-?{NUMBER}[%!]?|{PREVIOUS}|pi|e\b)"
_VALUE = f"({_ONE})"
_SEVERAL = rf"({_ONE}(?:(?:,|,? and) {_ONE})+)"


def _joined(found: re.Match[str]) -> str:
    """The sum, product or average of several values."""
    values = re.split(r",? and |, ", found[2])
    joined = f"({(' * ' if found[1] == 'product' else ' + ').join(values)})"
    return f"({joined} / {len(values)})" if found[1] == "average" else joined


#: Tried in this order, each all over the text.
_SIGNS: list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = [
    (re.compile(pattern, re.IGNORECASE), signs)
    for pattern, signs in (
        (rf"[$€£]\s*(?={NUMBER})", ""),
        (r"\s*\b(?:percent|per cent)\b", "%"),
        (r"\b(?:that|it|this|the (?:last |previous )?(?:result|answer))\b", PREVIOUS),
        (rf"\b(?:the )?square root of {_VALUE}", r"sqrt(\1)"),
        (rf"\b(?:the )?cube root of {_VALUE}", r"\1 ** (1/3)"),
        (rf"\b(?:the )?factorial of {_VALUE}", r"factorial(\1)"),
        (rf"\b(?:the )?(sum|product|average) of {_SEVERAL}", _joined),
        (rf"\b(?:the )?difference (?:of|between) {_VALUE} and {_VALUE}", r"(\1 - \2)"),
        (rf"\bdivide {_VALUE} by {_VALUE}", r"\1 / \2"),
        (rf"\bmultiply {_VALUE} (?:by|with) {_VALUE}", r"\1 * \2"),
        (rf"\badd {_VALUE} (?:and|to) {_VALUE}", r"\2 + \1"),
        (rf"\bsubtract {_VALUE} from {_VALUE}", r"\2 - \1"),
        (rf"\b(?:half|a half) (?:of )?{_VALUE}", r"\1 / 2"),
        (rf"\bdouble {_VALUE}", r"\1 * 2"),
        (rf"\bsquare {_VALUE}", r"\1 ** 2"),
        (r"\s*\bsquared\b", " ** 2"),
        (r"\s*\bcubed\b", " ** 3"),
        (r"\b(?:raised )?to the power (?:of )?", " ** "),
        (r"\b(?:divided by|divide by|over)\b", "/"),
        (r"\b(?:multiplied by|multiply by|times)\b", "*"),
        (r"\b(?:plus|add)\b", "+"),
        (r"\b(?:minus|subtract)\b", "-"),
        (r"\b(?:modulo|mod)\b", "%"),
        (r",\s+(?=[-+*/^])", " "),
    )
]
_BETWEEN = re.compile(
    r"[?;:\n]|(?<=[a-z])!|\.(?=\s|$)|,?\s*\b(?:and|then|but)\b|,\s+(?=[a-z@])",
    re.IGNORECASE,
)
_LEAD = re.compile(
    r"(?:\s|,|\b(?:what(?:'s| is| are)?|how much is|calculate|compute|evaluate|solve|"
    r"work out|tell me|give me|can you|could you|please|now|also|so|ok(?:ay)?|hello|hi|"
    r"hey|thanks?|thank you|the|value of|result of)\b)+",
    re.IGNORECASE,
)
_TRAIL = re.compile(r"(?:\s|=|\b(?:equals?|please|again)\b)+$", re.IGNORECASE)
#: At each character one alternative fits at most, so that this is read in one go.
_EXPRESSION = re.compile(
    rf"""(?: \d(?:e[-+]?(?=\d))? | [.,](?=\d) | ,\s | {PREVIOUS} | \s
      | [-+*/%^()!×÷·−√π²³] | (?<=[\d\s])x(?=[\d\s]) | \b(?:pi|e|of)\b | \b(?:sqrt
      |round|abs|min|max|floor|ceil|log10|log|ln|exp|sin|cos|tan|radians|degrees
      |factorial|gcd|percent)\s?(?=\()
    )+""",
    re.VERBOSE | re.IGNORECASE,
)
_WORTHWHILE = re.compile(r"[-+*/%^!×÷·−√π²³]|\w\(|\bpi\b|\dx|x\d|\sx\s", re.IGNORECASE)


class Reading(NamedTuple):
    """What of a text can be calculated, and whether that is not all of it."""

    expressions: list[str]
    has_more: bool


def with_digits(text: str) -> str:
    """The text with all its numbers as nothing but digits.

    Commas stay where functions are called: `max(1,200)` has two numbers.
    """
    if not re.search(r"[a-z]\(", text):
        text = re.sub(r"(?<=\d),(?=\d{3}\b)", "", text)
    return _NUMERAL.sub(lambda word: str(_NUMERALS[word[0].lower()]), text)


def in_signs(text: str) -> str:
    """The text with its arithmetic words as signs."""
    text = with_digits(re.sub(r"[^\S\n]+", " ", text))
    for pattern, signs in _SIGNS:
        text = pattern.sub(signs, text)
    return text


def read(text: str) -> Reading:
    """Take the text apart at its punctuation and its "and"s, and read each clause."""
    clauses = [_clause(clause) for clause in _BETWEEN.split(in_signs(text))]
    expressions = [clause for clause in clauses if _is_expression(clause)]
    return Reading(expressions, len(expressions) < sum(map(bool, clauses)))


def _clause(text: str) -> str:
    """A clause without the words around its arithmetic."""
    text = _TRAIL.sub("", " ".join(text.split()))
    if lead := _LEAD.match(text):
        text = text[lead.end() :]
    needs_another_call = re.match(r"[*/^%+]|-\s", text)
    return f"{PREVIOUS} {text}" if needs_another_call else text


def _is_expression(clause: str) -> bool:
    return bool(_EXPRESSION.fullmatch(clause) and _WORTHWHILE.search(clause))
