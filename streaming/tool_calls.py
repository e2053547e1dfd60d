"""The repair of tool calls: names and arguments as models and servers write them."""

import json
import re
from collections.abc import Iterable
from typing import Any

import msgspec

_OBJECT = msgspec.json.Decoder(dict[str, Any])
_SCANNER = json.JSONDecoder(strict=False)

#: A JSON string may hold JSON, which may be a string again.
_MAX_QUOTED = 3

_CONTROL_TOKEN = re.compile(r"<\|.*?(?:\|>|$)")
_RECIPIENT = re.compile(r"\bto=(\S+)")
#: A number that some models append to the name, and empty parentheses.
_SUFFIX = re.compile(r"(?::\d+|\(\))$")
_NAMESPACE = re.compile(r"[.:/\s]+")


def find_name(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that a model means; None if there is none.

    Models decorate names: `functions.x`, `x<|channel|>commentary`, `to=functions.x`.
    """
    names = list(known)
    if name in names:
        return name
    plain = _undecorated(name)
    if plain in names:
        return plain
    similar = [each for each in names if _folded(each) == _folded(plain)]
    return similar[0] if len(similar) == 1 else None


def _undecorated(name: str) -> str:
    text = name.partition("<|")[0]
    if not text.strip():
        text = _CONTROL_TOKEN.sub(" ", name)
    if recipient := _RECIPIENT.search(text):
        text = recipient[1]
    text = _SUFFIX.sub("", text.strip(" \t\r\n\"'`"))
    return _NAMESPACE.split(text)[-1]


def _folded(name: str) -> str:
    return name.lower().replace("-", "_")


def is_object(text: str) -> bool:
    """Return True for a complete JSON object, to which nothing can be added."""
    if not text.rstrip().endswith("}"):
        return False
    try:
        _OBJECT.decode(text)
    except (ValueError, RecursionError):
        return False
    return True


def object_text(text: str) -> str | None:
    """Return the JSON object that a model wrote as arguments; None if it wrote none.

    Some servers send the object as a JSON string, precede it with an empty object, or
    repeat it.
    """
    for _ in range(_MAX_QUOTED):
        text = text.strip()
        if is_object(text):
            return text
        inner = _text_in_string(text)
        if inner is None:
            break
        text = inner
    return _single_object(text)


def _text_in_string(text: str) -> str | None:
    if not text.startswith('"'):
        return None
    try:
        inner = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None
    return inner if isinstance(inner, str) else None


def _single_object(text: str) -> str | None:
    """Return the one object in a sequence of objects that are equal or empty."""
    if not text.startswith("{"):
        return None
    found: tuple[object, str] | None = None
    position = 0
    while position < len(text):
        try:
            value, end = _SCANNER.raw_decode(text, position)
        except (ValueError, RecursionError):
            return None
        if not isinstance(value, dict) or (value and found and found[0] != value):
            return None
        if value:
            found = value, text[position:end]
        position = end
        while position < len(text) and text[position].isspace():
            position += 1
    return found[1] if found else "{}"
