"""The calculator's numbers and their operations, all of them bounded.

A number is an exact fraction for as long as possible; roots, logarithms and the like
return floats. A result that would be too large raises `OverflowError` before it is
computed.
"""

import math
from collections.abc import Callable
from decimal import Context, Decimal, DivisionByZero, InvalidOperation, Overflow
from fractions import Fraction
from functools import wraps

from streaming.tools.base import ToolError

Number = Fraction | float

#: Digits of an exact result. Python itself prints at most 4,300.
MAX_DIGITS = 4000
MAX_BITS = math.ceil(MAX_DIGITS * math.log2(10))
MAX_FACTORIAL = 1000
MAX_ROOT = 100
#: Digits with which a result that is not an integer is shown.
DIGITS = 15
NOISE = 1e-15

#: The context of powers and logarithms, with more digits than a float has.
PRECISE = Context(
    prec=50,
    Emax=MAX_DIGITS,
    Emin=-MAX_DIGITS,
    traps=[DivisionByZero, InvalidOperation, Overflow],
)


def bounded(operation: Callable[..., Number]) -> Callable[..., Number]:
    """Wrap an operation so that its result is exact if possible, and bounded."""

    @wraps(operation)
    def within_bounds(*numbers: Number) -> Number:
        result = operation(*numbers)
        if isinstance(result, float):
            if not math.isfinite(result):
                raise OverflowError
            return result
        exact = Fraction(result)
        bits = max(exact.numerator.bit_length(), exact.denominator.bit_length())
        if bits <= MAX_BITS:
            return exact
        if exact.denominator == 1:
            raise OverflowError
        return exact.numerator / exact.denominator

    return within_bounds


def _precise(number: Number) -> Decimal:
    exact = Fraction(number)
    return PRECISE.divide(Decimal(exact.numerator), Decimal(exact.denominator))


def _integer(number: Number) -> int:
    if number != int(number):
        raise ToolError(f"{show(number)} must be an integer there.")
    return int(number)


def percent(number: Number) -> Number:
    """Return a percentage as a number."""
    return number / 100


def power(base: Number, exponent: Number) -> Number:
    """Return a power, exact if it is rational and within the bounds."""
    if not base and exponent < 0:
        raise ZeroDivisionError
    if _is_exact_power(base, exponent):
        return Fraction(base) ** int(exponent)
    if base < 0 and exponent != int(exponent):
        raise ToolError("A negative number has no real power with that exponent.")
    approximate = PRECISE.power(_precise(base), _precise(exponent))
    return _exact_root(base, exponent, approximate) or float(approximate)


def _is_exact_power(base: Number, exponent: Number) -> bool:
    if isinstance(base, float) or isinstance(exponent, float):
        return False
    size = math.log2(max(abs(base.numerator), base.denominator))
    return exponent.denominator == 1 and abs(exponent) * Fraction(size) <= MAX_BITS


def _exact_root(base: Number, exponent: Number, near: Decimal) -> Fraction | None:
    """Return the fraction near an approximate root if it is the exact root."""
    if isinstance(base, float) or isinstance(exponent, float):
        return None
    degree = exponent.denominator
    whole = Fraction(exponent.numerator)
    if degree > MAX_ROOT or not _is_exact_power(base, whole):
        return None
    root = Fraction(near).limit_denominator(10**6)
    return root if root**degree == base**whole.numerator else None


def square_root(number: Number) -> Number:
    """Return a square root, exact if it is rational."""
    if number < 0:
        raise ToolError("A negative number has no real square root.")
    return power(number, Fraction(1, 2))


def _positive(number: Number) -> Decimal:
    if number <= 0:
        raise ToolError("Only a positive number has a real logarithm.")
    return _precise(number)


def logarithm(number: Number, base: Number = math.e) -> Number:
    """Return a logarithm, by default the natural one."""
    result = PRECISE.ln(_positive(number))
    if base != math.e:
        result = PRECISE.divide(result, PRECISE.ln(_positive(base)))
    return float(result)


def decimal_logarithm(number: Number) -> Number:
    """Return the logarithm to base 10."""
    return float(PRECISE.log10(_positive(number)))


def exponential(number: Number) -> Number:
    """Return a power of e."""
    return float(PRECISE.exp(_precise(number)))


def sine(angle: Number) -> Number:
    """Return the sine of an angle in radians."""
    return _without_noise(math.sin(angle), angle)


def cosine(angle: Number) -> Number:
    """Return the cosine of an angle in radians."""
    return _without_noise(math.cos(angle), angle)


def tangent(angle: Number) -> Number:
    """Return the tangent of an angle in radians."""
    return sine(angle) / cosine(angle)


def _without_noise(value: float, angle: Number) -> float:
    """Return zero for a value that only the rounding of pi causes: sin(pi) is 0."""
    return 0.0 if abs(value) < NOISE < math.fabs(angle) else value


def rounded(number: Number, decimals: Number = Fraction(0)) -> Number:
    """Round to a number of decimals, halves away from zero, as people round."""
    places = _integer(decimals)
    if abs(places) > MAX_DIGITS:
        raise ToolError(f"round takes at most {MAX_DIGITS} decimals.")
    unit = Fraction(10**-places) if places < 0 else Fraction(1, 10**places)
    size = math.floor(abs(Fraction(number)) / unit + Fraction(1, 2)) * unit
    return -size if number < 0 else size


def factorial(number: Number) -> Number:
    """Return the product of the integers up to this one."""
    count = _integer(number)
    if not 0 <= count <= MAX_FACTORIAL:
        raise ToolError(f"factorial takes an integer from 0 to {MAX_FACTORIAL}.")
    return Fraction(math.factorial(count))


def common_divisor(*numbers: Number) -> Number:
    """Return the greatest common divisor of integers."""
    return Fraction(math.gcd(*map(_integer, numbers)))


def show(number: Number) -> str:
    """Format a number: integers in full, others with 15 digits after the point.

    A float, and a fraction below one, has 15 significant digits instead.
    """
    if isinstance(number, float):
        return f"{number + 0.0:.{DIGITS}g}"
    if number.denominator == 1:
        return str(number.numerator)
    whole = abs(number.numerator) // number.denominator
    context = Context(prec=DIGITS + (len(str(whole)) if whole else 0))
    numerator, denominator = Decimal(number.numerator), Decimal(number.denominator)
    quotient = context.divide(numerator, denominator).normalize(context)
    return f"{quotient:f}" if quotient.adjusted() > -7 else f"{quotient:e}"
