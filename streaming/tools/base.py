"""A tool: what the model is told of it, and how it is called.

`@tool` makes one from a typed function; a `Toolbox` holds those that an agent has.
"""

from collections.abc import Mapping

import msgspec


class ToolContext(msgspec.Struct, frozen=True):
    """For whom a tool is called. `values` is the request's `context`."""

    org_id: str = "default"
    conversation_id: str = ""
    run_id: str = ""
    values: Mapping[str, str] = {}


class ToolError(Exception):
    """A tool's own, expected failure: its message goes to the model as it stands."""
