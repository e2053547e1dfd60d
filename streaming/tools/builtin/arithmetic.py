"""Arithmetic as people and models write it, rewritten as Python's.

Beside Python's own operators there are `^` for powers, postfix `!` and `%`, `3 x 4`,
`15% of 80`, the signs × ÷ − √ π ² ³, and thousands separators. `%` is modulo before an
operand (`7 % 3`, `7 % -3`) and a percentage otherwise. What could be read in two ways
is an error: `max(1,200)` may have one argument or two.
"""

import re
from collections.abc import Collection
from fractions import Fraction
from typing import NamedTuple, NoReturn

from streaming.tools.base import ToolError

MAX_LENGTH = 1000
MAX_NESTING = 50

SIGNS = str.maketrans(
    {
        "×": "*",
        "·": "*",
        "÷": "/",
        "−": "-",
        "√": "sqrt",
        "π": "pi",
        "²": "**2",
        "³": "**3",
    }
)
TOKEN = re.compile(
    r"""
    (?P<number>
        (?!0x) (?: [0-9]{1,3}(?:,[0-9]{3})+(?![0-9]) | [0-9][0-9_]* | (?=\.[0-9]) )
        (?: \.[0-9]* )?
        (?: e[-+]?[0-9]{1,3}(?![0-9]) )?
    )
    | (?P<word> log10 | [a-z]+ )
    | (?P<symbol> \*\* | // | [-+*/^%!,()] )
    """,
    re.VERBOSE,
)
SPACE = re.compile(r"\s*")
#: A `%` that is no percentage: an operand comes next, or a sign that belongs to one.
MODULO = re.compile(r"%\s*(?!of\b|x(?![a-z]))[0-9.(a-z]|(?<=\s)%\s*[-+][0-9.(a-z]")


class Rewritten(NamedTuple):
    """An expression in Python, each number in it an index into `numbers`."""

    source: str
    numbers: list[Fraction]


def rewrite(
    text: str, functions: Collection[str], constants: Collection[str]
) -> Rewritten:
    """Read an expression in which these names may be used; raises `ToolError`."""
    if len(text) > MAX_LENGTH:
        raise ToolError(f"The expression is longer than {MAX_LENGTH} characters.")
    return _Writer(text.translate(SIGNS).lower(), functions, constants).write()


class _Group(NamedTuple):
    """A parenthesis that is open: where its operand starts, what kind it is."""

    start: int
    is_call: bool


class _Writer:
    """Writes one token after the other.

    `_operand` is where in the output the operand starts that has just ended; None
    where one must follow.
    """

    def __init__(
        self, text: str, functions: Collection[str], constants: Collection[str]
    ) -> None:
        self._text = text
        self._functions = functions
        self._constants = constants
        self._output: list[str] = []
        self._numbers: list[Fraction] = []
        self._open: list[_Group] = []
        self._operand: int | None = None
        self._position = 0

    def write(self) -> Rewritten:
        """Read to the end."""
        self._skip_space()
        while self._position < len(self._text):
            self._take()
            self._skip_space()
        if self._operand is None:
            _fail("a number is missing at its end")
        if self._open:
            _fail("a closing parenthesis is missing")
        return Rewritten(" ".join(self._output), self._numbers)

    def _skip_space(self) -> None:
        if space := SPACE.match(self._text, self._position):
            self._position = space.end()

    def _take(self) -> None:
        token = TOKEN.match(self._text, self._position)
        if token is None:
            _fail(f"{self._text[self._position]!r} has no meaning in it")
        is_modulo = MODULO.match(self._text, self._position) is not None
        self._position = token.end()
        match token.lastgroup:
            case "number":
                self._number(token[0])
            case "word":
                self._word(token[0])
            case _:
                self._symbol(token[0], is_modulo)

    def _number(self, text: str) -> None:
        if "," in text and self._open and self._open[-1].is_call:
            _fail(
                f"{text} may be one number or several: leave out the separators, "
                f"or put a space between arguments"
            )
        self._begin(text)
        self._end(len(self._output), str(len(self._numbers)))
        self._numbers.append(Fraction(text.replace(",", "").replace("_", "")))

    def _word(self, name: str) -> None:
        if self._operand is not None and (
            name == "x" or (name == "of" and self._is_percentage())
        ):
            self._binary("*")
        elif name in self._functions:
            self._function(name)
        elif name in self._constants:
            self._begin(name)
            self._end(len(self._output), name)
        else:
            known = ", ".join([*self._functions, *self._constants])
            _fail(f"{name!r} is unknown; known are {known}")

    def _function(self, name: str) -> None:
        self._begin(name)
        self._output.append(name)
        self._skip_space()
        if not self._text.startswith("(", self._position):
            _fail(f"{name} needs parentheses: {name}(…)")
        self._position += 1
        self._group(len(self._output) - 1, is_call=True)

    def _symbol(self, text: str, is_modulo: bool) -> None:
        match text:
            case "%" if not is_modulo:
                self._postfix(text, "percent")
            case "!":
                self._postfix(text, "factorial")
            case "(":
                self._begin(text)
                self._group(len(self._output), is_call=False)
            case ")":
                self._close()
            case ",":
                self._comma()
            case "+" | "-" if self._operand is None:
                self._output.append(text)
            case _:
                self._binary("**" if text == "^" else text)

    def _group(self, start: int, *, is_call: bool) -> None:
        self._open.append(_Group(start, is_call))
        self._output.append("(")
        if len(self._open) > MAX_NESTING:
            _fail(f"it nests parentheses deeper than {MAX_NESTING}")

    def _close(self) -> None:
        if not self._open:
            _fail("a closing parenthesis has no opening one")
        self._ended(")")
        self._end(self._open.pop().start, ")")

    def _comma(self) -> None:
        if not self._open or not self._open[-1].is_call:
            _fail("a comma stands where none may; 1234.5 or 1,234.5 is a number")
        self._binary(",")

    def _binary(self, symbol: str) -> None:
        self._ended(symbol)
        self._output.append(symbol)
        self._operand = None

    def _postfix(self, symbol: str, function: str) -> None:
        start = self._ended(symbol)
        if self._output[start] in ("percent", "factorial"):
            _fail(f"{symbol!r} follows another % or !")
        self._output[start:start] = [function, "("]
        self._output.append(")")

    def _is_percentage(self) -> bool:
        return self._operand is not None and self._output[self._operand] == "percent"

    def _begin(self, token: str) -> None:
        if self._operand is not None:
            _fail(f"an operator is missing before {token!r}")

    def _ended(self, token: str) -> int:
        if self._operand is None:
            _fail(f"a number is missing before {token!r}")
        return self._operand

    def _end(self, start: int, token: str) -> None:
        self._output.append(token)
        self._operand = start


def _fail(problem: str) -> NoReturn:
    raise ToolError(f"The expression cannot be read: {problem}.")
