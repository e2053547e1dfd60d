"""The declaration of settings: parsing, validation, error messages."""

from typing import Annotated, Any, Literal

import pytest

from streaming.options import (
    InvalidSetting,
    Options,
    Setting,
    build,
    declarations,
    missing,
    parse,
)


class ShopOptions(Options, frozen=True):
    """One setting of each type."""

    shop_timeout_seconds: Annotated[
        float, Setting("A timeout.", "seconds", minimum=0.5)
    ] = 10.0
    shop_size: Annotated[int, Setting("A size.", minimum=1)] = 3
    shop_limit: Annotated[int | None, Setting("A limit.", minimum=2)] = None
    shop_open: Annotated[bool, Setting("A flag.")] = False
    shop_mode: Annotated[Literal["", "fast", "safe"], Setting("A mode.")] = ""
    shop_hosts: Annotated[tuple[str, ...], Setting("Hosts.")] = ("localhost",)
    shop_effort: Annotated[
        str, Setting("An effort.", pattern=r"auto|\d+", expected="auto or a number")
    ] = "auto"
    shop_key: Annotated[str, Setting("A key.", secret=True, required=True)] = ""


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("SHOP_TIMEOUT_SECONDS=0.5", {"SHOP_TIMEOUT_SECONDS": 0.5}),
        ("SHOP_TIMEOUT_SECONDS=30", {"SHOP_TIMEOUT_SECONDS": 30.0}),
        ("SHOP_SIZE= 1_000 ", {"SHOP_SIZE": 1000}),
        ("SHOP_LIMIT=2", {"SHOP_LIMIT": 2}),
        ("SHOP_OPEN=Yes", {"SHOP_OPEN": True}),
        ("SHOP_OPEN=off", {"SHOP_OPEN": False}),
        ("SHOP_MODE=fast", {"SHOP_MODE": "fast"}),
        ("SHOP_HOSTS=a, b,", {"SHOP_HOSTS": ("a", "b")}),
        ("SHOP_EFFORT=12", {"SHOP_EFFORT": "12"}),
        ("SHOP_SIZE=", {}),
        ("SHOP_SIZE=  ", {}),
        ("OTHER=1", {}),
    ],
)
def test_a_variable_is_parsed_in_its_type(text: str, values: dict[str, Any]) -> None:
    name, _, value = text.partition("=")
    parsed = parse(ShopOptions, {name: value})
    assert parsed == values
    assert [*map(type, parsed.values())] == [*map(type, values.values())]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("SHOP_TIMEOUT_SECONDS", "0.4", "a number of seconds, at least 0.5"),
        ("SHOP_TIMEOUT_SECONDS", "soon", "a number of seconds, at least 0.5"),
        ("SHOP_TIMEOUT_SECONDS", "nan", "a number of seconds, at least 0.5"),
        ("SHOP_TIMEOUT_SECONDS", "inf", "a number of seconds, at least 0.5"),
        ("SHOP_SIZE", "0", "a whole number, at least 1"),
        ("SHOP_SIZE", "1.5", "a whole number, at least 1"),
        ("SHOP_LIMIT", "1", "a whole number, at least 2"),
        ("SHOP_OPEN", "perhaps", "true or false"),
        ("SHOP_MODE", "slow", "one of 'fast', 'safe'"),
        ("SHOP_EFFORT", "auto\n1", "auto or a number"),
    ],
)
def test_an_invalid_variable_is_named_with_the_expected_form(
    name: str, text: str, expected: str
) -> None:
    with pytest.raises(InvalidSetting) as failure:
        parse(ShopOptions, {name: text})
    assert str(failure.value) == f"{name}={text!r}: expected {expected}."


@pytest.mark.parametrize(
    "values",
    [
        {"SHOP_TIMEOUT_SECONDS": "30"},
        {"SHOP_TIMEOUT_SECONDS": True},
        {"SHOP_SIZE": 0},
        {"SHOP_SIZE": 1.5},
        {"SHOP_SIZE": None},
        {"SHOP_OPEN": 1},
        {"SHOP_MODE": "slow"},
        {"SHOP_HOSTS": "localhost"},
        {"SHOP_HOSTS": [1]},
        {"SHOP_EFFORT": "hard"},
    ],
)
def test_values_in_code_are_not_converted_from_text(values: dict[str, Any]) -> None:
    [name] = values
    with pytest.raises(InvalidSetting, match=f"^{name}=.*: expected "):
        build(ShopOptions, values)


def test_valid_values_have_the_declared_type() -> None:
    options = build(ShopOptions, {"SHOP_TIMEOUT_SECONDS": 1, "SHOP_HOSTS": ["a"]})
    assert (options.shop_timeout_seconds, options.shop_hosts) == (1.0, ("a",))
    assert isinstance(options.shop_timeout_seconds, float)


def test_a_group_cannot_be_created_with_an_invalid_value() -> None:
    with pytest.raises(InvalidSetting, match="SHOP_SIZE=0"):
        ShopOptions(shop_size=0)


def test_a_secret_is_not_shown() -> None:
    assert "shop_key='***'" in repr(ShopOptions(shop_key="hidden"))
    assert "shop_key=''" in repr(ShopOptions())
    with pytest.raises(InvalidSetting) as failure:
        build(ShopOptions, {"SHOP_KEY": [b"hidden"]})
    assert "hidden" not in str(failure.value)


def test_required_settings_without_a_value_are_missing() -> None:
    assert missing(ShopOptions, {}) == missing(ShopOptions, {"SHOP_KEY": ""})
    assert missing(ShopOptions, {}) == ["SHOP_KEY"]
    assert missing(ShopOptions, {"SHOP_KEY": "k"}) == []


def test_a_subclass_has_the_inherited_settings_first() -> None:
    class MoreOptions(ShopOptions, frozen=True):
        shop_more: Annotated[int, Setting("More.")] = 1

    *inherited, more = declarations(MoreOptions)
    assert tuple(inherited) == declarations(ShopOptions)
    assert (more.name, more.default) == ("SHOP_MORE", 1)


def test_a_field_without_a_declaration_is_an_error() -> None:
    class Bare(Options, frozen=True):
        size: int = 1

    with pytest.raises(TypeError, match="Bare.size"):
        Bare()
