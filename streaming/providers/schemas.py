"""JSON Schemas, reduced for servers that accept a part of the language."""

from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

Schema = Mapping[str, Any]

_KEPT = ("type", "description", "enum", "properties", "required", "items")
_MAX_DEPTH = 8

#: The keywords that structured outputs accept, beside those of objects and arrays.
_STRICT = ("type", "description", "enum", "const", "title")
#: Keywords that tell the model nothing, or that have another form.
_UNDESCRIBED = frozenset(
    {
        *("$defs", "additionalProperties", "allOf", "anyOf", "default", "description"),
        *("discriminator", "items", "oneOf", "properties", "required", "title"),
    }
)


def simplified(schema: Schema) -> dict[str, Any]:
    """Return a schema without references, alternatives and further constraints."""
    definitions = schema.get("$defs")
    return _simplified(schema, definitions if isinstance(definitions, dict) else {}, 0)


def _simplified(
    schema: object, definitions: Mapping[str, object], depth: int
) -> dict[str, Any]:
    if not isinstance(schema, Mapping) or depth > _MAX_DEPTH:
        return {"type": "object"}
    if reference := schema.get("$ref"):
        name = str(reference).rpartition("/")[2]
        return _simplified(definitions.get(name), definitions, depth + 1)
    for alternatives in ("anyOf", "oneOf", "allOf"):
        if options := schema.get(alternatives):
            described = {k: v for k, v in schema.items() if k == "description"}
            chosen = next((o for o in options if o != {"type": "null"}), options[0])
            return _simplified(chosen, definitions, depth + 1) | described
    kept = {name: schema[name] for name in _KEPT if name in schema}
    if isinstance(kept.get("type"), list):
        kept["type"] = next((t for t in kept["type"] if t != "null"), "string")
    if isinstance(kept.get("properties"), Mapping):
        kept["properties"] = {
            name: _simplified(each, definitions, depth + 1)
            for name, each in kept["properties"].items()
        }
    if "items" in kept:
        kept["items"] = _simplified(kept["items"], definitions, depth + 1)
    return kept


def strict(schema: Schema, *, all_required: bool) -> dict[str, Any] | None:
    """Return a schema in the part of the language that structured outputs accept.

    Constraints of values become a part of the description, which the model reads.
    With `all_required` each property is required. Returns None if a part of the schema
    cannot be expressed, such as an object with any keys.
    """
    try:
        return _strict(schema, all_required)
    except _NotExpressible:
        return None


class _NotExpressible(Exception):
    """A part of a schema that structured outputs do not accept."""


def _strict(schema: object, all_required: bool) -> dict[str, Any]:
    if not isinstance(schema, Mapping):
        raise _NotExpressible
    if "$ref" in schema:
        return {"$ref": schema["$ref"], **_definitions(schema, all_required)}
    kept = {name: schema[name] for name in _STRICT if name in schema}
    for name in ("anyOf", "oneOf", "allOf"):
        if options := schema.get(name):
            if name == "allOf" and len(options) > 1:
                raise _NotExpressible
            kept["anyOf"] = [_strict(option, all_required) for option in options]
    if not kept.keys() & {"type", "enum", "const", "anyOf"}:
        raise _NotExpressible
    if kept.get("type") == "object":
        kept |= _strict_object(schema, all_required)
    elif kept.get("type") == "array":
        kept["items"] = _strict(schema.get("items"), all_required)
    limits = {
        name: value
        for name, value in schema.items()
        if name not in kept and name not in _UNDESCRIBED
    }
    if limits:
        described = ", ".join(f"{name}: {limits[name]}" for name in limits)
        text = schema.get("description", "")
        kept["description"] = f"{text} ({described})".strip()
    return kept | _definitions(schema, all_required)


def _strict_object(schema: Schema, all_required: bool) -> dict[str, Any]:
    properties = schema.get("properties")
    if not properties or schema.get("additionalProperties") not in (None, False):
        raise _NotExpressible
    return {
        "properties": {
            name: _strict(each, all_required) for name, each in properties.items()
        },
        "required": [*properties] if all_required else schema.get("required", []),
        "additionalProperties": False,
    }


def _definitions(schema: Schema, all_required: bool) -> dict[str, Any]:
    found = schema.get("$defs") or {}
    if not found:
        return {}
    return {
        "$defs": {name: _strict(each, all_required) for name, each in found.items()}
    }


def is_recursive(schema: Schema) -> bool:
    """Return True if a definition of a schema contains itself."""
    definitions = schema.get("$defs") or {}
    graph = {name: set(_references(each)) for name, each in definitions.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError:
        return True
    return False


def _references(value: object) -> Iterator[str]:
    """Yield the names of the definitions to which a schema refers."""
    match value:
        case {"$ref": str(reference)}:
            yield reference.rpartition("/")[2]
        case dict():
            for each in value.values():
                yield from _references(each)
        case list():
            for each in value:
                yield from _references(each)
