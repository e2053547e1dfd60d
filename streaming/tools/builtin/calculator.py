"""The calculator: exact where possible, and safe with any input.

An expression is read token by token (see `arithmetic`), so that only numbers, operators
and the names below reach the evaluator. Results are bounded (see `exact`). Percentages
are those of a pocket calculator: `200 + 10%` is 220.
"""

import ast
import decimal
import math
import operator
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import cast

from simpleeval import SimpleEval  # type: ignore[import-untyped]

from streaming.tools.base import ToolError, tool
from streaming.tools.builtin import exact
from streaming.tools.builtin.arithmetic import rewrite
from streaming.tools.builtin.exact import Number, bounded

OPERATORS = {
    ast.Add: bounded(operator.add),
    ast.Sub: bounded(operator.sub),
    ast.Mult: bounded(operator.mul),
    ast.Div: bounded(operator.truediv),
    ast.FloorDiv: bounded(operator.floordiv),
    ast.Mod: bounded(operator.mod),
    ast.Pow: bounded(exact.power),
    ast.USub: bounded(operator.neg),
    ast.UAdd: bounded(operator.pos),
}
FUNCTIONS: dict[str, Callable[..., Number]] = {
    "sqrt": exact.square_root,
    "round": exact.rounded,
    "abs": abs,
    "min": min,
    "max": max,
    "floor": math.floor,
    "ceil": math.ceil,
    "log": exact.logarithm,
    "ln": exact.logarithm,
    "log10": exact.decimal_logarithm,
    "exp": exact.exponential,
    "sin": exact.sine,
    "cos": exact.cosine,
    "tan": exact.tangent,
    "radians": math.radians,
    "degrees": math.degrees,
    "factorial": exact.factorial,
    "gcd": exact.common_divisor,
    "percent": exact.percent,
}
CONSTANTS = {"pi": math.pi, "e": math.e}

EVALUATOR = SimpleEval(
    operators=OPERATORS,
    functions={name: bounded(function) for name, function in FUNCTIONS.items()},
    names=CONSTANTS,
)


class _Calculation(ast.NodeTransformer):
    """A transformer that inserts the numbers, and applies percentages to their base."""

    def __init__(self, numbers: Sequence[Fraction]) -> None:
        self._numbers = numbers

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        """Replace the index of a number by the number."""
        return _number(self._numbers[cast(int, node.value)])

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        """Turn `a + 10%` into `a * (1 + 10%)`, unless `a` is a percentage too."""
        self.generic_visit(node)
        if not isinstance(node.op, ast.Add | ast.Sub):
            return node
        if not _is_percentage(node.right) or _is_percentage(node.left):
            return node
        factor = ast.BinOp(_number(Fraction(1)), node.op, node.right)
        return ast.BinOp(node.left, ast.Mult(), factor)


def _number(value: Fraction) -> ast.Constant:
    node = ast.Constant(0)
    node.value = value  # type: ignore[assignment]
    return node


def _is_percentage(node: ast.expr) -> bool:
    match node:
        case ast.Call(func=ast.Name(id="percent")):
            return True
        case _:
            return False


def evaluate(expression: str) -> Number:
    """Return the value of an expression; raise `ToolError` with a sentence."""
    source, numbers = rewrite(expression, FUNCTIONS, CONSTANTS)
    try:
        tree = _Calculation(numbers).visit(ast.parse(source, mode="eval").body)
        result: Number = EVALUATOR.eval(source, tree)
    except ZeroDivisionError:
        raise ToolError("Division by zero.") from None
    except (OverflowError, decimal.Overflow):
        raise ToolError("The result is too large.") from None
    except (ValueError, decimal.InvalidOperation):
        raise ToolError("The result is not a real number.") from None
    except TypeError:
        raise ToolError("A function has the wrong number of arguments.") from None
    except RecursionError:
        raise ToolError("The expression is too deeply nested: take parts.") from None
    return result


@tool
def calculator(expression: str) -> str:
    """Evaluate an arithmetic expression, exactly where that is possible.

    It knows + - * / // % ** ^ and parentheses; percentages (15%, 15% of 80; 200 + 10%
    is 220); sqrt, round(x, decimals), abs, min, max, floor, ceil, log(x) and ln(x)
    (natural), log(x, base), log10, exp, sin, cos, tan (in radians), radians, degrees,
    factorial, gcd; the constants pi and e.

    Args:
        expression: The expression to evaluate, such as "10000 * (1 + 5/100) ** 3".
    """
    return exact.show(evaluate(expression))
