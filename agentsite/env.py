"""Reading the environment, failing loudly with the variable's name."""

import os
from collections.abc import Callable, Collection
from typing import TypeVar

from django.core.exceptions import ImproperlyConfigured

T = TypeVar("T")

TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"", "0", "false", "no", "off"})


def text(name: str, default: str = "") -> str:
    """The variable without surrounding blanks; empty counts as not set."""
    return os.environ.get(name, "").strip() or default


def choice(name: str, allowed: Collection[str], default: str) -> str:
    """One of `allowed`."""
    value = text(name, default)
    if value not in allowed:
        expected = ", ".join(repr(a) for a in allowed if a)
        raise ImproperlyConfigured(f"{name}={value!r}: expected one of {expected}.")
    return value


def flag(name: str, default: bool = False) -> bool:
    """A yes or a no."""
    value = text(name, str(default)).lower()
    if value in TRUE:
        return True
    if value in FALSE:
        return False
    raise ImproperlyConfigured(f"{name}={value!r}: expected true or false.")


def integer(name: str, default: int, *, minimum: int = 0) -> int:
    """A whole number, at least `minimum`."""
    return _number(name, default, minimum, int, "a whole number")


def seconds(name: str, default: float, *, minimum: float = 0.0) -> float:
    """A time in seconds, at least `minimum`."""
    return _number(name, default, minimum, float, "a number of seconds")


def items(name: str) -> list[str]:
    """A comma-separated list."""
    return [item.strip() for item in text(name).split(",") if item.strip()]


def _number(
    name: str, default: T, minimum: float, convert: Callable[[str], T], kind: str
) -> T:
    value = text(name)
    if not value:
        return default
    try:
        number = convert(value)
        if not minimum <= float(number) < float("inf"):  # type: ignore[arg-type]
            raise ValueError
    except ValueError:
        message = f"{name}={value!r}: expected {kind}, at least {minimum}."
        raise ImproperlyConfigured(message) from None
    return number
