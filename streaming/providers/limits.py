"""The bounds of the data that a provider sends: numbers, and the sizes of a response.

A provider's data is untrusted. A response that exceeds a bound ends there, as one that
the token limit cut off.
"""

from io import StringIO

import msgspec

#: The highest count that the database stores.
MAX_COUNT = 2**31 - 1

#: Longer names and ids of tool calls are none: the APIs allow 64 characters.
MAX_NAME_CHARS = 256

#: The assumed length of an open block or call itself, so that empty ones are bounded.
_OVERHEAD_CHARS = 250


class ResponseLimits(msgspec.Struct, frozen=True):
    """The bounds of one response."""

    #: Length of the text, the reasoning, the tool calls and the opaque parts together.
    chars: int = 4_000_000
    #: Length of the arguments of one tool call.
    arguments_chars: int = 1_000_000
    #: Number of tool calls that are accepted; more are ignored.
    tool_calls: int = 32


class LimitReached(Exception):
    """A response has reached a bound."""


class HeldChars:
    """The length of all that a parser holds until it is complete."""

    __slots__ = ("_left",)

    def __init__(self, limits: ResponseLimits) -> None:
        self._left = limits.chars

    def add(self, length: int) -> None:
        """Count a fragment. Raises `LimitReached`."""
        self._left -= length
        if self._left < 0:
            raise LimitReached

    def open(self) -> None:
        """Count a new block or call. Raises `LimitReached`."""
        self.add(_OVERHEAD_CHARS)


class HeldArguments:
    """The arguments of one tool call, in one buffer of a bounded length.

    A list of fragments would take 15 times the memory if each has four characters.
    """

    def __init__(self, limits: ResponseLimits, held: HeldChars) -> None:
        self._left = limits.arguments_chars
        self._held = held
        self._text = StringIO()

    def add(self, fragment: str) -> None:
        """Append a fragment. Raises `LimitReached`."""
        self._left -= len(fragment)
        if self._left < 0:
            raise LimitReached
        self._held.add(len(fragment))
        self._text.write(fragment)

    def release(self) -> str:
        """Return the text, which no longer counts as held."""
        self._held.add(-self._text.tell())
        return str(self)

    def __str__(self) -> str:
        return self._text.getvalue()

    def __bool__(self) -> bool:
        return self._text.tell() > 0


def count(number: object) -> int:
    """Return a token count that can be stored; 0 for a value that is no number."""
    if not isinstance(number, int | float):
        return 0
    return int(min(max(0, number), MAX_COUNT))
