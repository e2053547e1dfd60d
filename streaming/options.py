"""The declaration of a setting: its name, type, unit, default, limits and help text.

A group of settings is a class of `Options`. Each field declares one setting, whose name
is the field's in upper case:

    class ShopOptions(Options, frozen=True):
        shop_timeout_seconds: Annotated[
            float, Setting("Timeout of a request to the shop.", "seconds", minimum=1)
        ] = 10.0

The parsing of environment variables, the validation of values, the error messages and
the configuration reference are derived from these fields.
"""

import math
import re
import sys
from collections.abc import Callable, Mapping
from functools import cache
from types import UnionType
from typing import (
    Any,
    Literal,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

import msgspec

Group = TypeVar("Group", bound="Options")


class InvalidSetting(ValueError):
    """A setting with a value that its declaration does not accept."""


class Setting(msgspec.Struct, frozen=True):
    """The part of a declaration that the field's name, type and default do not give."""

    help: str
    unit: str = ""
    minimum: float = -math.inf
    maximum: float = sys.float_info.max
    #: A regular expression that text matches as a whole, and its meaning in words.
    pattern: str = r"(?s).*"
    expected: str = ""
    #: The default in words, where it is computed.
    default: str = ""
    #: The value is shown nowhere.
    secret: bool = False
    #: An empty value is an error.
    required: bool = False
    #: The app reads the environment variable itself if the setting is not given.
    from_environment: bool = False


class Declaration(msgspec.Struct, frozen=True):
    """A setting as its field declares it."""

    name: str
    type: Any
    default: object
    setting: Setting

    @property
    def field(self) -> str:
        """Return the name of the field in its group."""
        return self.name.lower()

    @property
    def kind(self) -> Any:  # noqa: ANN401
        """Return the type without its parameters: `tuple` for `tuple[str, ...]`."""
        is_union = get_origin(self.type) is UnionType
        first = get_args(self.type)[0] if is_union else self.type
        return get_origin(first) or first

    @property
    def expected(self) -> str:
        """Describe the accepted values in words."""
        setting = self.setting
        if setting.expected:
            return setting.expected
        if self.kind is Literal:
            return "one of " + ", ".join(repr(c) for c in get_args(self.type) if c)
        words = _KINDS[self.kind]
        words += f" of {setting.unit}" if setting.unit else ""
        if setting.minimum > -math.inf:
            words += f", at least {setting.minimum:g}"
        if setting.maximum < sys.float_info.max:
            words += f", at most {setting.maximum:g}"
        return words

    def parse(self, text: str) -> object:
        """Return the value that an environment variable gives."""
        try:
            return self.validate(_PARSERS.get(self.kind, str)(text))
        except ValueError:
            raise self.error(text) from None

    def validate(self, value: object) -> object:
        """Return the value in its type. Raises `InvalidSetting`."""
        try:
            converted = msgspec.convert(value, self.type)
        except msgspec.ValidationError:
            raise self.error(value) from None
        match converted:
            case int() | float():
                is_valid = self.setting.minimum <= converted <= self.setting.maximum
            case str():
                is_valid = bool(re.fullmatch(self.setting.pattern, converted))
            case _:
                is_valid = True
        if not is_valid:
            raise self.error(value)
        return converted

    def error(self, value: object) -> InvalidSetting:
        """Return the error for a value that is not accepted."""
        shown = "***" if self.setting.secret else repr(value)
        return InvalidSetting(f"{self.name}={shown}: expected {self.expected}.")


class Options(msgspec.Struct, frozen=True):
    """A group of settings, valid once it exists. Raises `InvalidSetting`."""

    def __post_init__(self) -> None:
        """Validate each value and convert it to its type."""
        for declared in declarations(type(self)):
            value = declared.validate(getattr(self, declared.field))
            msgspec.structs.force_setattr(self, declared.field, value)

    def __repr__(self) -> str:
        """Return the usual representation without secret values."""
        fields = (
            f"{declared.field}="
            + ("'***'" if declared.setting.secret and value else repr(value))
            for declared in declarations(type(self))
            for value in [getattr(self, declared.field)]
        )
        return f"{type(self).__name__}({', '.join(fields)})"


@cache
def declarations(group: type[Options]) -> tuple[Declaration, ...]:
    """Return the declarations of a group, inherited ones first."""
    hints = get_type_hints(group, include_extras=True)
    found = []
    for field in msgspec.structs.fields(group):
        match get_args(hints[field.name]):
            case (kind, Setting() as setting):
                name = field.name.upper()
                found.append(Declaration(name, kind, field.default, setting))
            case _:
                path = f"{group.__name__}.{field.name}"
                raise TypeError(f"{path} must be Annotated with one Setting.")
    return tuple(found)


def parse(group: type[Options], variables: Mapping[str, str]) -> dict[str, object]:
    """Return the values of a group's settings that environment variables give.

    Blanks around a value are ignored; an empty variable counts as not set.
    """
    return {
        declared.name: declared.parse(text)
        for declared in declarations(group)
        if (text := variables.get(declared.name, "").strip())
    }


def build(group: type[Group], values: Mapping[str, object]) -> Group:
    """Return the group with these values; those of other groups are ignored."""
    return group(
        **{
            declared.field: values[declared.name]
            for declared in declarations(group)
            if declared.name in values
        }
    )


def missing(group: type[Options], values: Mapping[str, object]) -> list[str]:
    """Return the names of required settings without a value."""
    return [
        declared.name
        for declared in declarations(group)
        if declared.setting.required and not values.get(declared.name)
    ]


_FLAGS = dict.fromkeys(("1", "true", "yes", "on"), True)
_FLAGS |= dict.fromkeys(("0", "false", "no", "off"), False)


def _flag(text: str) -> bool:
    try:
        return _FLAGS[text.lower()]
    except KeyError:
        raise ValueError(text) from None


def _items(text: str) -> tuple[str, ...]:
    """Split at the commas outside of parentheses."""
    items = re.findall(r"(?:[^,(]|\([^)]*\)?)+", text)
    return tuple(item.strip() for item in items if item.strip())


_PARSERS: dict[object, Callable[[str], object]] = {
    bool: _flag,
    int: int,
    float: float,
    tuple: _items,
}
_KINDS: dict[object, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    tuple: "a list (comma-separated in the environment)",
}
