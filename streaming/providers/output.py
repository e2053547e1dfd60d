"""The form in which a request describes the answer that it expects.

A server receives the schema of the answer if its API has a field for that. Otherwise
the model receives a tool whose arguments are the answer, and without tools the schema
as text among its instructions.
"""

import msgspec
from msgspec import UNSET

from streaming.providers.base import ModelRequest

#: The cause of a refusal: the server takes no schema, or not this one.
NO_SCHEMA = "no schema of the answer"
#: The words of such a refusal.
REFUSED_SCHEMA = (
    r"response[_ ]?(format|schema)|response mime type|output_(config|format)|"
    r"text\.format|json[_ -]?(schema|mode|object)|(?<!input_)schema|grammar|"
    r"structured[_ ](output|response)|guided[_ ](json|decoding)"
)

INSTRUCTIONS = (
    "Answer with one JSON object that matches this JSON Schema, and with nothing else:"
)


def describe_output(
    request: ModelRequest, *, by_schema: bool, by_tool: bool = True
) -> ModelRequest:
    """Return a request with its answer described in a form that a server takes.

    If the model must answer now, the tool is the only one: it is the answer.
    """
    output = request.output
    if not output or by_schema:
        return request
    if by_tool:
        tools = [*request.tools, output] if request.allow_tools else [output]
        return msgspec.structs.replace(
            request, tools=tools, allow_tools=True, output=UNSET
        )
    schema = msgspec.json.encode(output.parameters).decode()
    texts = (request.system.strip(), f"{INSTRUCTIONS}\n{schema}")
    return msgspec.structs.replace(
        request, system="\n\n".join(filter(None, texts)), output=UNSET
    )
