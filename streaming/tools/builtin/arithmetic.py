"""The translation of arithmetic as people and models write it to Python.

Beside Python's own operators there are `^` for powers, postfix `!` and `%`, `3 x 4`,
`15% of 80`, the signs × ÷ − √ π ² ³, and thousands separators. `%` is modulo before an
operand (`7 % 3`, `7 % -3`) and a percentage otherwise. An ambiguous expression is an
error: `max(1,200)` may have one argument or two.
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
#: A `%` that is not a percentage: before an operand, or before a sign of one.
MODULO = re.compile(r"%\s*(?!of\b|x(?![a-z]))[0-9.(a-z]|(?<=\s)%\s*[-+][0-9.(a-z]")


class Rewritten(NamedTuple):
    """An expression in Python, each number in it an index into `numbers`."""

    source: str
    numbers: list[Fraction]


def rewrite(
    text: str, functions: Collection[str], constants: Collection[str]
) -> Rewritten:
    """Translate an expression with these names; raise `ToolError` if it is invalid."""
    if len(text) > MAX_LENGTH:
        raise ToolError(f"The expression is longer than {MAX_LENGTH} characters.")
    return _Writer(text.translate(SIGNS).lower(), functions, constants).write()


class _Group(NamedTuple):
    """An open parenthesis: the start of its operand, and its kind."""

    start: int
    is_call: bool


class _Writer:
    """A writer of the expression, one token after the other.

    `_operand` is the index in the output at which the last operand starts; None if an
    operand must follow.
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
        """Read the whole text and return its translation."""
        self._skip_space()
        while self._position < len(self._text):
            self._read_token()
            self._skip_space()
        if self._operand is None:
            _fail("a number is missing at its end")
        if self._open:
            _fail("a closing parenthesis is missing")
        return Rewritten(" ".join(self._output), self._numbers)

    def _skip_space(self) -> None:
        if space := SPACE.match(self._text, self._position):
            self._position = space.end()

    def _read_token(self) -> None:
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
        self._require_operator(text)
        self._append_operand(len(self._output), str(len(self._numbers)))
        self._numbers.append(Fraction(text.replace(",", "").replace("_", "")))

    def _word(self, name: str) -> None:
        if self._operand is not None and (
            name == "x" or (name == "of" and self._is_percentage())
        ):
            self._binary("*")
        elif name in self._functions:
            self._function(name)
        elif name in self._constants:
            self._require_operator(name)
            self._append_operand(len(self._output), name)
        else:
            known = ", ".join([*self._functions, *self._constants])
            _fail(f"{name!r} is unknown; known are {known}")

    def _function(self, name: str) -> None:
        self._require_operator(name)
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
                self._require_operator(text)
                self._group(len(self._output), is_call=False)
            case ")":
                self._close()
            case "," if not self._open or not self._open[-1].is_call:
                _fail("a comma stands where none may; 1234.5 or 1,234.5 is a number")
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
        self._require_operand(")")
        self._append_operand(self._open.pop().start, ")")

    def _binary(self, symbol: str) -> None:
        self._require_operand(symbol)
        self._output.append(symbol)
        self._operand = None

    def _postfix(self, symbol: str, function: str) -> None:
        start = self._require_operand(symbol)
        if self._output[start] in ("percent", "factorial"):
            _fail(f"{symbol!r} follows another % or !")
        self._output[start:start] = [function, "("]
        self._output.append(")")

    def _is_percentage(self) -> bool:
        return self._operand is not None and self._output[self._operand] == "percent"

    def _require_operator(self, token: str) -> None:
        if self._operand is not None:
            _fail(f"an operator is missing before {token!r}")

    def _require_operand(self, token: str) -> int:
        if self._operand is None:
            _fail(f"a number is missing before {token!r}")
        return self._operand

    def _append_operand(self, start: int, token: str) -> None:
        self._output.append(token)
        self._operand = start


def _fail(problem: str) -> NoReturn:
    raise ToolError(f"The expression cannot be read: {problem}.")
