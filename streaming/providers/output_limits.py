"""The limit of a response's tokens that a server names when it refuses a larger one."""

import re
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

#: The prefix of a learned limit.
LIMIT = "limit:"
#: Smaller numbers in a text about a limit of tokens are something else.
_MIN_LIMIT = 128

_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
#: The names of the limit of tokens in the APIs that gateways translate to.
_LIMIT_NAME = re.compile(
    r"max_?(completion_?|output_?|new_?)?tokens\b|maximum tokens",
    re.IGNORECASE | re.ASCII,
)
#: A number that may be the limit, and the words that exclude the number itself. Its
#: digits are few and ASCII: the quotations of a conversation are found by those.
_LIMIT_NUMBER = re.compile(
    r"(?P<beyond>\b(?:less|lower) than |< )?(?P<number>\d[\d,_]{0,14})"
    r"(?P<ex> \(exclusive\))?",
    re.IGNORECASE | re.ASCII,
)
_TOO_LARGE = re.compile(
    r"too (large|high|big|many)|at most|maximum|exceed|(less|lower) than|<=|>|up to|"
    r"limit|range|should be in|取值范围|不能超过|不能大于|最大",
    re.IGNORECASE,
)


def smaller_limits(text: str, body: Mapping[str, Any]) -> Iterator[str]:
    """Yield the cause for a limit of tokens that is larger than the server's."""
    name = next((name for name in _LIMITS if name in body), None)
    if name is None or not (_LIMIT_NAME.search(text) and _TOO_LARGE.search(text)):
        return
    numbers = (
        int(re.sub("[,_]", "", found["number"])) - bool(found["beyond"] or found["ex"])
        for found in _LIMIT_NUMBER.finditer(text)
    )
    smaller = [number for number in numbers if _MIN_LIMIT <= number < body[name]]
    if smaller:
        yield f"{LIMIT}{max(smaller)}"


def limited(tokens: int, learned: AbstractSet[str]) -> int:
    """Return a limit of tokens that is at most the smallest one learned."""
    limits = [int(name[len(LIMIT) :]) for name in learned if name.startswith(LIMIT)]
    return min([tokens, *limits])
