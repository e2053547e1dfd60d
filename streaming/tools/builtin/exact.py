"""The calculator's numbers and what is done with them, all of it bounded.

A number is exact, a fraction, for as long as it can be; roots, logarithms and the like
make floats. What would be too large raises `OverflowError` before it is computed.
"""

import math
from collections.abc import Callable
from decimal import Context, Decimal, DivisionByZero, InvalidOperation, Overflow
from fractions import Fraction
from functools import wraps

from streaming.tools.base import ToolError

Number = Fraction | float

#: Of an exact result. Python itself refuses to print more than 4,300.
MAX_DIGITS = 4000
MAX_BITS = math.ceil(MAX_DIGITS * math.log2(10))
MAX_FACTORIAL = 1000
MAX_ROOT = 100
#: What a result that is no integer is shown with.
DIGITS = 15
NOISE = 1e-15

#: For powers and logarithms, rounded to more digits than a float has.
PRECISE = Context(
    prec=50,
    Emax=MAX_DIGITS,
    Emin=-MAX_DIGITS,
    traps=[DivisionByZero, InvalidOperation, Overflow],
)


def bounded(operation: Callable[..., Number]) -> Callable[..., Number]:
    """The operation, its result exact if it can be and never beyond the bounds."""

    @wraps(operation)
    def within_bounds(*numbers: Number) -> Number:
        result = operation(*numbers)
        if isinstance(result, float):
            return _finite(result)
        exact = Fraction(result)
        if _bits(exact) <= MAX_BITS:
            return exact
        if exact.denominator == 1:
            raise OverflowError
        return exact.numerator / exact.denominator

    return within_bounds


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise OverflowError
    return number


def _bits(number: Fraction) -> int:
    return max(number.numerator.bit_length(), number.denominator.bit_length())


def _precise(number: Number) -> Decimal:
    exact = Fraction(number)
    return PRECISE.divide(Decimal(exact.numerator), Decimal(exact.denominator))


def _integer(number: Number) -> int:
    if number != int(number):
        raise ToolError(f"{show(number)} must be an integer there.")
    return int(number)


def percent(number: Number) -> Number:
    """So many hundredths."""
    return number / 100


def power(base: Number, exponent: Number) -> Number:
    """A power, exact if it is rational and within the bounds."""
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
    """The fraction near an approximate root, when it is the root."""
    if isinstance(base, float) or isinstance(exponent, float):
        return None
    degree = exponent.denominator
    whole = Fraction(exponent.numerator)
    if degree > MAX_ROOT or not _is_exact_power(base, whole):
        return None
    root = Fraction(near).limit_denominator(10**6)
    return root if root**degree == base**whole.numerator else None


def square_root(number: Number) -> Number:
    """A square root, exact if it is rational."""
    if number < 0:
        raise ToolError("A negative number has no real square root.")
    return power(number, Fraction(1, 2))


def _positive(number: Number) -> Decimal:
    if number <= 0:
        raise ToolError("Only a positive number has a real logarithm.")
    return _precise(number)


def logarithm(number: Number, base: Number = math.e) -> Number:
    """A logarithm, natural when no base is given."""
    result = PRECISE.ln(_positive(number))
    if base != math.e:
        result = PRECISE.divide(result, PRECISE.ln(_positive(base)))
    return float(result)


def decimal_logarithm(number: Number) -> Number:
    """A logarithm to base 10."""
    return float(PRECISE.log10(_positive(number)))


def exponential(number: Number) -> Number:
    """A power of e."""
    return float(PRECISE.exp(_precise(number)))


def sine(angle: Number) -> Number:
    """The sine of an angle in radians."""
    return _zero_if_noise(math.sin(angle), angle)


def cosine(angle: Number) -> Number:
    """The cosine of an angle in radians."""
    return _zero_if_noise(math.cos(angle), angle)


def tangent(angle: Number) -> Number:
    """The tangent of an angle in radians."""
    return sine(angle) / cosine(angle)


def _zero_if_noise(value: float, angle: Number) -> float:
    """Zero for what only stems from pi being rounded: sin(pi) is 0."""
    return 0.0 if abs(value) < NOISE < math.fabs(angle) else value


def rounded(number: Number, decimals: Number = Fraction(0)) -> Number:
    """Rounded to so many decimals; halves go away from zero, as people round."""
    places = _integer(decimals)
    if abs(places) > MAX_DIGITS:
        raise ToolError(f"round takes at most {MAX_DIGITS} decimals.")
    unit = Fraction(10**-places) if places < 0 else Fraction(1, 10**places)
    size = math.floor(abs(Fraction(number)) / unit + Fraction(1, 2)) * unit
    return -size if number < 0 else size


def factorial(number: Number) -> Number:
    """The product of the integers up to this one."""
    count = _integer(number)
    if not 0 <= count <= MAX_FACTORIAL:
        raise ToolError(f"factorial takes an integer from 0 to {MAX_FACTORIAL}.")
    return Fraction(math.factorial(count))


def common_divisor(*numbers: Number) -> Number:
    """The greatest common divisor of integers."""
    return Fraction(math.gcd(*map(_integer, numbers)))


def show(number: Number) -> str:
    """A number as text: integers in full, others with 15 digits after the point.

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
