"""The schema of an answer in the form that both of OpenAI's APIs take."""

from collections.abc import Set as AbstractSet
from typing import Any

from streaming.messages import ToolSpec
from streaming.providers.base import ModelRequest
from streaming.providers.openai.refusals import NO_TOOLS
from streaming.providers.output import NO_SCHEMA, describe_output
from streaming.providers.schemas import strict


def with_output(request: ModelRequest, learned: AbstractSet[str]) -> ModelRequest:
    """Return a request whose answer is described in a form that the server takes."""
    return describe_output(
        request, by_schema=NO_SCHEMA not in learned, by_tool=NO_TOOLS not in learned
    )


def schema_fields(output: ToolSpec) -> dict[str, Any]:
    """Return the name and the schema of an answer.

    The server enforces a strict schema. One that is not in the part of the language
    that this allows is a description for the model.
    """
    schema = strict(output.parameters, all_required=True)
    return {
        "name": output.name,
        "schema": output.parameters if schema is None else schema,
        "strict": schema is not None,
    }
