"""The JSON Schemas of tools, reduced for servers that accept a part of the language."""

from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]

_KEPT = ("type", "description", "enum", "properties", "required", "items")
_MAX_DEPTH = 8


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
