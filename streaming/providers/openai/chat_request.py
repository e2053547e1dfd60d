"""Chat Completions, the request: messages for OpenAI and compatible servers."""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from streaming.messages import (
    Message,
    OpaquePart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
    ToolSpec,
)
from streaming.providers import refusals
from streaming.providers.base import ModelRequest
from streaming.providers.history import (
    NO_OUTPUT,
    Rules,
    drop_refused,
    is_from,
    prepare,
)
from streaming.providers.openai import models
from streaming.providers.openai.output_schema import schema_fields, with_output
from streaming.providers.openai.refusals import (
    ALL_OPAQUE,
    CALLS_AS_TEXT,
    DEVELOPER,
    EARLIER_OPAQUE,
    NO_NULL,
    NO_REASONING,
    NO_SYSTEM,
    NO_TOOLS,
    REASONING_EVERYWHERE,
    SIMPLE_SCHEMAS,
    are_described,
)
from streaming.providers.output_limits import limited
from streaming.providers.schemas import simplified

ChatMessage = dict[str, Any]

#: The reasoning of a message that has none, for servers that require some.
NO_REASONING_TEXT = "(not recorded)"
REASONING_FIELD = "reasoning_content"


def body(
    request: ModelRequest,
    *,
    model: str,
    max_tokens: int,
    thinking: str,
    at_openai: bool,
    origin: str = "",
    learned: AbstractSet[str] = frozenset(),
) -> dict[str, Any]:
    """Return the request's body; `at_openai` tells OpenAI from other servers.

    `learned` are the causes for which this server has refused requests.
    """
    request = with_output(request, learned)
    built: dict[str, Any] = {
        "model": model,
        "messages": _messages(request, origin, learned),
        "stream_options": {"include_usage": True},
    }
    limits = ["max_completion_tokens", "max_tokens"]
    for name in limits if at_openai else reversed(limits):
        if f"{refusals.OMIT}{name}" not in learned:
            built[name] = limited(max_tokens, learned)
            break
    if request.tools:
        built |= _tool_fields(request, at_openai, learned)
    if request.output:
        schema = schema_fields(request.output)
        built["response_format"] = {"type": "json_schema", "json_schema": schema}
    effort = models.effort(thinking, model)
    if effort and (models.reasons(model) or not at_openai):
        built["reasoning_effort"] = effort
    refusals.remove_learned(built, learned)
    return built


def _tool_fields(
    request: ModelRequest, at_openai: bool, learned: AbstractSet[str]
) -> dict[str, Any]:
    """Return the fields that describe the tools.

    If the model must answer without a call, other servers than OpenAI get no tools:
    some ignore `tool_choice`, others refuse "none".
    """
    if not are_described(request, at_openai, learned):
        return {}
    return {
        "tools": [_tool(tool, SIMPLE_SCHEMAS in learned) for tool in request.tools],
        "tool_choice": "auto" if request.allow_tools else "none",
    }


def _tool(tool: ToolSpec, simple: bool) -> dict[str, Any]:
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": simplified(tool.parameters) if simple else tool.parameters,
    }
    return {"type": "function", "function": function}


def _messages(
    request: ModelRequest, origin: str, learned: AbstractSet[str]
) -> list[ChatMessage]:
    messages: Sequence[Message] = request.messages
    if ALL_OPAQUE in learned or EARLIER_OPAQUE in learned:
        messages = drop_refused(messages, earlier=True, current=ALL_OPAQUE in learned)
    rules = Rules(as_text=NO_TOOLS in learned, earlier_as_text=CALLS_AS_TEXT in learned)
    prepared = prepare(messages, rules)
    built = [item for each in prepared for item in _built(each, origin, learned)]
    if system := request.system if request.system.strip() else "":
        if NO_SYSTEM not in learned:
            role = "developer" if DEVELOPER in learned else "system"
            return [{"role": role, "content": system}, *built]
        if built:
            built[0]["content"] = f"{system}\n\n{built[0]['content']}"
    return built


def _built(
    message: Message, origin: str, learned: AbstractSet[str]
) -> Iterator[ChatMessage]:
    match message.role:
        case "user":
            texts = [part.text for part in message.parts if isinstance(part, TextPart)]
            yield {"role": "user", "content": "\n\n".join(texts)}
        case "assistant":
            yield _assistant(message, origin, learned)
        case "tool":
            for part in message.parts:
                if isinstance(part, ToolResultPart):
                    yield {
                        "role": "tool",
                        "tool_call_id": part.id,
                        "content": part.result or NO_OUTPUT,
                    }


def _assistant(message: Message, origin: str, learned: AbstractSet[str]) -> ChatMessage:
    text = message.text
    built: ChatMessage = {"role": "assistant", "content": text if text.strip() else ""}
    for part in message.parts:
        match part:
            case ToolCallPart():
                built.setdefault("tool_calls", []).append(_tool_call(part, origin))
            case OpaquePart(data={"fields": dict(fields)}):
                if is_from(part, "openai", origin):
                    built = fields | built
    if NO_REASONING not in learned:
        built |= _reasoning(message, origin, REASONING_EVERYWHERE in learned)
    if not built["content"] and NO_NULL not in learned:
        built["content"] = None
    return built


def _reasoning(message: Message, origin: str, everywhere: bool) -> dict[str, str]:
    """Return the reasoning in the field in which it came.

    With `everywhere`, a message without any gets a text instead.
    """
    fields: dict[str, str] = {}
    for part in message.parts:
        match part:
            case ThinkingPart(text=text, opaque={"field": str(name)}):
                if is_from(part, "openai", origin):
                    name = REASONING_FIELD if everywhere else name
                    fields[name] = fields.get(name, "") + text
    if everywhere and not fields.get(REASONING_FIELD, "").strip():
        fields[REASONING_FIELD] = NO_REASONING_TEXT
    return fields


def _tool_call(call: ToolCallPart, origin: str) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    built = {"id": call.id, "type": "function", "function": function}
    if not call.extra or call.origin not in ("", origin):
        return built
    extra = dict(call.extra)
    inner = extra.pop("function", None)
    if isinstance(inner, dict):
        built["function"] = inner | function
    return extra | built
