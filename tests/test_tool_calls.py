"""Tool calls as models and servers write them."""

import pytest

from streaming.tool_calls import find_name, is_object, object_text

TOOLS = ["weather", "get_time", "delete-file"]
DEEP = '{"a":' * 1500 + "1" + "}" * 1500


@pytest.mark.parametrize(
    ("name", "tool"),
    [
        ("weather", "weather"),
        ("functions.weather", "weather"),
        ("default_api:get_time", "get_time"),
        ("functions.weather:0", "weather"),
        ("weather<|channel|>commentary", "weather"),
        ("<|channel|>commentary to=functions.get_time <|constrain|>json", "get_time"),
        ("weather()", "weather"),
        ('"weather"', "weather"),
        (" weather\n", "weather"),
        ("get-time", "get_time"),
        ("Weather", "weather"),
        ("delete_file", "delete-file"),
        ("multi_tool_use.parallel", None),
        ("weather.delete", None),
        ("weathers", None),
        ("", None),
        ("<|", None),
    ],
)
def test_a_decorated_name_finds_its_tool(name: str, tool: str | None) -> None:
    assert find_name(name, TOOLS) == tool


def test_a_name_that_fits_two_tools_finds_none() -> None:
    assert find_name("Get_Time", ["get_time", "get-time"]) is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"a": 1}', '{"a": 1}'),
        (' {"a": 1}\n', '{"a": 1}'),
        ('{}{"a": 1}', '{"a": 1}'),
        ('{} \n {"a": 1}', '{"a": 1}'),
        ('{"a": 1}{"a": 1}', '{"a": 1}'),
        ('{"a": 1}{}', '{"a": 1}'),
        ("{}{}", "{}"),
        (r'"{\"a\": 1}"', '{"a": 1}'),
        (r'"\"{}\""', "{}"),
        ('{"a": 1}{"a": 2}', None),
        ('{"a": 1} and more', None),
        ('{"a": 1', None),
        ('"text"', None),
        ("[1]", None),
        ("", None),
        ("null", None),
        (DEEP, None),
    ],
)
def test_arguments_are_read_as_they_are_meant(text: str, found: str | None) -> None:
    assert object_text(text) == found


def test_a_deeply_nested_object_is_none() -> None:
    assert not is_object(DEEP)
