"""The causes for which Anthropic and compatible servers refuse requests.

Each is a name for what changes in the request once it is learned.
"""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import Any

from streaming.providers.anthropic.models import is_claude
from streaming.providers.base import ModelRequest
from streaming.providers.output import NO_SCHEMA, REFUSED_SCHEMA
from streaming.providers.refusals import ALTERNATING, OMIT, Body, cause

EARLIER_OPAQUE = "opaque parts of earlier exchanges"
ALL_OPAQUE = "opaque parts"
NO_BETA = "beta header"
NO_TOOLS = "no tools"
TOOLS_OMITTED = "no tools in the last iteration"
TOOLS_DESCRIBED = "tools in the last iteration"
SIMPLE_SCHEMAS = "simple schemas"

REQUIRED = frozenset({"max_tokens", "signature", "thinking_budget"})

_OPAQUE = (
    r"signature|redacted_thinking|encrypted|"
    r"(cannot|could not|not|failed to) (be )?verif|thinking[`'\"]* blocks?"
)
_BLOCKS = frozenset({"text", "tool_use", "tool_result"})


def _blocks(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    return (block for block in message["content"] if isinstance(block, dict))


def _is_opaque(message: dict[str, Any]) -> bool:
    plain = {"type", "id", "name", "input", "cache_control"}
    return any(
        block["type"] not in _BLOCKS
        or (block["type"] == "tool_use" and set(block) - plain)
        for block in _blocks(message)
    )


def _has_opaque(body: Body) -> bool:
    return any(_is_opaque(message) for message in body["messages"])


def _has_earlier_opaque(body: Body) -> bool:
    messages = body["messages"]
    questions = [
        index
        for index, message in enumerate(messages)
        if message["role"] == "user"
        and any(block["type"] == "text" for block in _blocks(message))
    ]
    return any(_is_opaque(each) for each in messages[: max(questions, default=0)])


def _has_tools(body: Body) -> bool:
    return bool(body.get("tools"))


def _must_not_call(body: Body) -> bool:
    return "tool_choice" in body


def _has_calls(body: Body) -> bool:
    blocks = (block for message in body["messages"] for block in _blocks(message))
    return any(block["type"] == "tool_use" for block in blocks)


def _has_calls_only(body: Body) -> bool:
    return _has_calls(body) and not _has_tools(body)


def are_described(request: ModelRequest, model: str, learned: AbstractSet[str]) -> bool:
    """Return True if a request describes the tools.

    If the model must answer without a call, only Claude gets them: llama.cpp ignores
    that `tool_choice` is "none".
    """
    if NO_TOOLS in learned or request.allow_tools:
        return NO_TOOLS not in learned
    refused = {TOOLS_OMITTED, f"{OMIT}tool_choice"}
    return (is_claude(model) or TOOLS_DESCRIBED in learned) and not refused & learned


KNOWN = (
    cause(
        NO_SCHEMA,
        REFUSED_SCHEMA,
        lambda body: "format" in (body.get("output_config") or {}),
    ),
    cause(
        NO_BETA,
        r"\bbeta\b|anthropic-beta|interleaved-thinking|binding-controls|block_binding",
        lambda body: "extra_headers" in body,
    ),
    cause(EARLIER_OPAQUE, _OPAQUE, _has_earlier_opaque),
    cause(ALL_OPAQUE, _OPAQUE, _has_opaque),
    cause(
        TOOLS_OMITTED,
        r"tool_use_failed|tool[_ ]choice",
        _must_not_call,
        replaces=TOOLS_DESCRIBED,
    ),
    cause(
        TOOLS_DESCRIBED,
        r"tools?(\b|config).{0,200}(must|required|missing|specif|defin|expect)|"
        r"(expects?|without|requires?|must)\b.{0,200}\btools?\b",
        _has_calls_only,
        replaces=TOOLS_OMITTED,
    ),
    cause(
        NO_TOOLS,
        r"(not|n't) support[^.]{0,30}(?<!parallel )(tools?|functions?)\b|"
        r"(?<!parallel )(tools?|functions?|function calling|tool use)\b[^.]{0,30}not "
        r"(supported|available|enabled)|"
        r"tool[- ]call-parser|tools? param requires|"
        r"不支持[^。]{0,12}(工具|函数|function|tool)",
        _has_tools,
    ),
    cause(NO_TOOLS, ALTERNATING, _has_calls),
    cause(SIMPLE_SCHEMAS, r"schema|grammar", _has_tools, is_last_resort=True),
)
