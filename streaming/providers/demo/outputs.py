"""The demo model's answers that have a type: the simplest value of its schema."""

import math
from collections.abc import Mapping
from typing import Any

#: Deeper values of a recursive schema are left out.
_MAX_DEPTH = 20

_SIMPLEST: Mapping[str, object] = {"boolean": False, "null": None}


def simplest(schema: Mapping[str, Any]) -> object:
    """Return the simplest value that a schema accepts; patterns are not observed."""
    return _simplest(schema, schema.get("$defs", {}), 0)


def _simplest(
    schema: Mapping[str, Any], definitions: Mapping[str, Any], depth: int
) -> Any:  # noqa: ANN401  (a JSON value)
    for name in ("const", "default"):
        if name in schema:
            return schema[name]
    if values := schema.get("enum"):
        return values[0]
    if depth > _MAX_DEPTH:
        return None
    if reference := schema.get("$ref"):
        name = str(reference).rpartition("/")[2]
        return _simplest(definitions[name], definitions, depth + 1)
    if options := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
        chosen = {"type": "null"} if {"type": "null"} in options else options[0]
        return _simplest(chosen, definitions, depth + 1)
    match schema.get("type"):
        case "object":
            return {
                name: _simplest(schema["properties"][name], definitions, depth + 1)
                for name in schema.get("required", ())
            }
        case "array":
            each = schema.get("prefixItems") or [schema.get("items", {})] * schema.get(
                "minItems", 0
            )
            return [_simplest(item, definitions, depth + 1) for item in each]
        case "string":
            return _text(schema)
        case "integer" | "number":
            return _number(schema)
        case other:
            return _SIMPLEST.get(str(other))


def _text(schema: Mapping[str, Any]) -> str:
    formats = {
        "date": "2000-01-01",
        "date-time": "2000-01-01T00:00:00Z",
        "time": "00:00:00",
        "uuid": "00000000-0000-4000-8000-000000000000",
        "email": "demo@example.com",
        "uri": "https://example.com/",
    }
    text = formats.get(schema.get("format", ""), "demo")
    longest = schema.get("maxLength", len(text))
    return text.ljust(schema.get("minLength", 0), "-")[: max(longest, 0)]


def _number(schema: Mapping[str, Any]) -> float:
    least = schema.get("minimum", schema.get("exclusiveMinimum", -1) + 1)
    number: float = min(max(least, 0), schema.get("maximum", math.inf))
    return number
