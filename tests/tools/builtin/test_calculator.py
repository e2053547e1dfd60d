"""The calculator: correct, exact where possible, safe with any input."""

import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.tools import ToolError
from streaming.tools.builtin.calculator import calculator, evaluate
from streaming.tools.builtin.exact import MAX_DIGITS
from tests.cost import hang_guard


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        # exact
        ("0.1 + 0.2", "0.3"),
        ("1/3*3", "1"),
        ("10000 * (1 + 5/100) ** 3", "11576.25"),
        ("10000 * (1 + 5/100/12) ** (12*3)", "11614.722313334683005"),
        ("123456789012345678.25 + 1", "123456789012345679.25"),
        ("10**20 * 123 + 45", "12300000000000000000045"),
        ("2**10000", str(2**10000)),
        # rounded
        ("1/3", "0.333333333333333"),
        ("-2/3", "-0.666666666666667"),
        ("10/3", "3.333333333333333"),
        ("1e-10/3", "3.33333333333333e-11"),
        ("sqrt(2)", "1.4142135623731"),
        ("pi", "3.14159265358979"),
        # operators and their order
        ("-2**2", "-4"),
        ("2^3^2", "512"),
        ("2**-1", "0.5"),
        ("7 // 2", "3"),
        ("-7 // 2", "-4"),
        ("-7 % 3", "2"),
        ("7 % -3", "-2"),
        ("2 - -3", "5"),
        ("3 × 4 ÷ 2 − 1", "5"),
        ("3 x 4", "12"),
        ("3x4", "12"),
        ("5² + 2³", "33"),
        ("√(16) + π*0", "4"),
        ("5!", "120"),
        ("-3!", "-6"),
        # percentages
        ("15%", "0.15"),
        ("15% of 240", "36"),
        ("15% of 80 + 20", "32"),
        ("200 + 10%", "220"),
        ("200 - 10%", "180"),
        ("200 * 10%", "20"),
        ("(100 + 100) + (5 + 5)%", "220"),
        ("200 + 15% of 80", "212"),
        ("5% + 5%", "0.1"),
        ("(1 + 5%) ** 3", "1.157625"),
        ("10% - 3", "-2.9"),
        ("12%5", "2"),
        # functions and constants
        ("SQRT(144)", "12"),
        ("sqrt(4/9)", "0.666666666666667"),
        ("27 ** (1/3)", "3"),
        ("floor(64 ** (1/3))", "4"),
        ("8 ** (2/3)", "4"),
        ("sqrt(10**100)", str(10**50)),
        ("round(2.5)", "3"),
        ("round(-2.5)", "-3"),
        ("round(2.675, 2)", "2.68"),
        ("round(1234, -2)", "1200"),
        ("abs(-3) + min(4, 5) + max(1, 2, 3)", "10"),
        ("floor(-1.5) + ceil(1.5)", "0"),
        ("log(e) + ln(1)", "1"),
        ("log(8, 2)", "3"),
        ("log10(1000)", "3"),
        ("exp(1)", "2.71828182845905"),
        ("sin(pi) + cos(pi/2)", "0"),
        ("sin(radians(30))", "0.5"),
        ("tan(pi/4)", "1"),
        ("degrees(pi)", "180"),
        ("factorial(20)", "2432902008176640000"),
        ("gcd(12, 18)", "6"),
        # numbers as they are written
        ("10,000 * 3", "30000"),
        ("1,234,567.89 + 1", "1234568.89"),
        ("1_000 + 1", "1001"),
        (".5 + 5.", "5.5"),
        ("1.5e3", "1500"),
        ("max(1, 200)", "200"),
        ("round((1,200.5), 0)", "1201"),
        ("  1\n+\t1 ", "2"),
    ],
)
def test_it_is_right(expression: str, result: str) -> None:
    assert calculator(expression) == result


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("1/0", "Division by zero"),
        ("1 % 0", "Division by zero"),
        ("0 ** -1", "Division by zero"),
        ("0 ** -0.5", "Division by zero"),
        ("tan(pi/2)", "Division by zero"),
        ("log(5, 1)", "Division by zero"),
        ("log(1, 1)", "not a real number"),
        ("sqrt(-1)", "no real square root"),
        ("(-8) ** (1/3)", "no real power"),
        ("log(0)", "real logarithm"),
        ("ln(-1)", "real logarithm"),
        ("factorial(-1)", "from 0 to 1000"),
        ("factorial(0.5)", "0.5 must be an integer"),
        ("gcd(1.5, 3)", "1.5 must be an integer"),
        ("round(1, 0.5)", "0.5 must be an integer"),
        ("sqrt(1, 2)", "wrong number of arguments"),
        ("max(1,200)", "one number or several"),
        ("1,2", "a comma stands where none may"),
        ("10,00", "a comma stands where none may"),
        ("2(3)", "an operator is missing before '('"),
        ("1 2", "an operator is missing before '2'"),
        ("1 +", "a number is missing at its end"),
        ("", "a number is missing at its end"),
        ("* 1", "a number is missing before '*'"),
        ("sqrt()", "a number is missing before ')'"),
        ("sqrt 2", "sqrt needs parentheses"),
        ("(1", "a closing parenthesis is missing"),
        ("1)", "has no opening one"),
        ("100 of 3", "'of' is unknown"),
        ("mod(7, 3)", "'mod' is unknown; known are sqrt, round"),
        ("0x10", "'0' has no meaning"),
        ("5!!", "'!' follows another"),
    ],
)
def test_an_expression_without_a_result_is_explained_in_a_sentence(
    expression: str, expected: str
) -> None:
    with pytest.raises(ToolError) as caught:
        calculator(expression)
    assert expected in str(caught.value)


ATTACKS = {
    "power": "4000000**4000000",
    "tower": "9**9**9**9**9",
    "tower to the right": "2" + "**2" * 300,
    "negative power": "1/2**-4000000000",
    "fraction's power": "1.0001**(10**300)",
    "fraction's root": "2**(1/10**300) ** 10**300 - 10**4000*10",
    "product": "*".join(["9**4000"] * 100),
    "factorials": "999!*999!*999!",
    "factorial of a factorial": "((5!)!)!",
    "a huge factorial": "factorial(10**18)",
    "a huge rounding": "round(1/3, 10**9)",
    "a huge literal": "1e999999999",
    "many digits": "9" * 990 + "**9",
    "exponential": "exp(10**9)",
    "signs": "-" * 999 + "1",
    "parentheses": "(" * 499 + "1" + ")" * 499,
    "calls": "abs(" * 199 + "1" + ")" * 199,
    "postfixes": "5" + "!" * 900,
    "percents": "5" + "%" * 900,
    "a long sum": "1" + "+1" * 499,
    "length": "1+" * 10_000_000 + "1",
    "import": "__import__('os').system('true')",
    "attribute": "(1).__class__",
    "attribute of a function": "abs.__self__",
    "names": "open",
    "builtins": "eval(1)",
    "lambda": "(lambda: 1)()",
    "comprehension": "[x for x in (1, 2)]",
    "text": "'a' * 10**9",
    "bytes": 'b"a"',
    "f-string": "f'{1}'",
    "subscript": "[1][0]",
    "keyword": "round(number=1)",
    "star": "max(*1)",
    "walrus": "(x := 1)",
    "assignment": "x = 1",
    "statement": "1; 2",
    "comment": "1 # 2",
    "complex": "1j",
    "infinity": "exp(700) * exp(700)",
    "almost infinity": "10**309 * sqrt(2)",
    "nan": "nan",
    "booleans": "True + True",
    "shift": "1 << 10**9",
    "other digits": "٣ + ３",
    "half a character": "1 + \ud800",
    "NUL": "1\0+1",
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_an_attack_is_an_error_at_once(attack: str) -> None:
    with hang_guard(), pytest.raises(ToolError) as caught:
        calculator(attack)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "expression",
    [
        "+".join(f"1/{n}**999" for n in range(101, 180)),
        "+".join(["(9**4000)**(1/99)"] * 50),
        "+".join(["log(9**4000)"] * 75),
        "*".join(["(1+1/999)**999"] * 60),
        "+".join(["1/1000!"] * 120),
    ],
)
def test_the_costliest_allowed_expressions_end(expression: str) -> None:
    with hang_guard():
        calculator(expression)


def expressions() -> st.SearchStrategy[str]:
    """Python arithmetic, its numbers small enough for any power of them."""
    numbers = st.integers(0, 99).map(str) | st.decimals(
        0, 99, allow_nan=False, places=2
    ).map(str)
    exponents = st.integers(-9, 9).map(str)
    return st.recursive(
        numbers,
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from("+-*/"), inner).map(" ".join),
            st.tuples(inner, st.sampled_from(["//", "%"]), numbers).map(" ".join),
            st.tuples(numbers, st.just("**"), exponents).map(" ".join),
            inner.map("({})".format),
            inner.map("-{}".format),
        ),
        max_leaves=12,
    )


@given(expressions())
def test_it_agrees_with_python(expression: str) -> None:
    fractions = re.sub(r"[0-9]+(\.[0-9]+)?", r"Fraction('\g<0>')", expression)
    try:
        expected = eval(fractions, {"Fraction": Fraction})
    except ZeroDivisionError:
        with pytest.raises(ToolError, match="Division by zero"):
            evaluate(expression)
    else:
        assert evaluate(expression) == expected
        assert float(calculator(expression)) == pytest.approx(float(expected))


@given(st.text(alphabet="0123456789.,+-*/%^!()eπx ofsqrtlogmax", max_size=40))
def test_every_input_has_a_result_or_a_sentence(expression: str) -> None:
    try:
        result = calculator(expression)
    except ToolError as error:
        assert str(error).endswith(".")
    else:
        assert 0 < len(result) < MAX_DIGITS + 20
