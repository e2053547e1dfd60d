"""The Responses API, the request: messages as its input items."""

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from streaming.messages import (
    Message,
    OpaquePart,
    Part,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
    ToolSpec,
)
from streaming.providers import refusals
from streaming.providers.base import ModelRequest
from streaming.providers.history import Rules, drop_refused, is_from, prepare
from streaming.providers.openai import models
from streaming.providers.openai.output_schema import schema_fields, with_output
from streaming.providers.openai.refusals import (
    ALL_OPAQUE,
    CALLS_AS_TEXT,
    EARLIER_OPAQUE,
    NO_TOOLS,
    SIMPLE_SCHEMAS,
    are_described,
)
from streaming.providers.output_limits import limited
from streaming.providers.schemas import simplified

Item = dict[str, Any]


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
    """Return the request's body. OpenAI stores nothing of it.

    `learned` are the causes for which this server has refused requests.
    """
    request = with_output(request, learned)
    messages: Sequence[Message] = request.messages
    if ALL_OPAQUE in learned or EARLIER_OPAQUE in learned:
        messages = drop_refused(messages, earlier=True, current=ALL_OPAQUE in learned)
    rules = Rules(
        respond_to_results=not at_openai,
        as_text=NO_TOOLS in learned,
        earlier_as_text=CALLS_AS_TEXT in learned,
    )
    prepared = prepare(messages, rules)
    built: dict[str, Any] = {
        "model": model,
        "input": list(_input(prepared, models.reasons(model), origin)),
        "max_output_tokens": limited(max_tokens, learned),
        "store": False,
    }
    if request.system.strip():
        built["instructions"] = request.system
    if request.tools and are_described(request, at_openai, learned):
        simple = SIMPLE_SCHEMAS in learned
        built["tools"] = [_tool(tool, simple) for tool in request.tools]
        built["tool_choice"] = "auto" if request.allow_tools else "none"
    if request.output:
        schema = schema_fields(request.output)
        built["text"] = {"format": {"type": "json_schema"} | schema}
    effort = models.effort(thinking, model)
    reasoning = {"effort": effort} if effort else {}
    if models.reasons(model):
        built["include"] = ["reasoning.encrypted_content"]
        shown = {} if thinking in models.OFF else {"summary": "auto"}
        built["reasoning"] = shown | reasoning
    elif reasoning and not at_openai:
        built["reasoning"] = reasoning
    refusals.remove_learned(built, learned)
    return built


def _tool(tool: ToolSpec, simple: bool) -> dict[str, Any]:
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": simplified(tool.parameters) if simple else tool.parameters,
        "strict": False,
    }


def _input(messages: Iterable[Message], reasons: bool, origin: str) -> Iterator[Item]:
    for message in messages:
        match message.role:
            case "user":
                content = [
                    {"type": "input_text", "text": part.text}
                    for part in message.parts
                    if isinstance(part, TextPart)
                ]
                yield {"type": "message", "role": "user", "content": content}
            case "assistant":
                yield from _output_items(message.parts, reasons, origin)
            case "tool":
                for part in message.parts:
                    if isinstance(part, ToolResultPart):
                        yield {
                            "type": "function_call_output",
                            "call_id": part.id,
                            "output": part.result,
                        }


def _output_items(parts: Iterable[Part], reasons: bool, origin: str) -> list[Item]:
    """Return an earlier response of the model as items."""
    items: list[Item] = []
    phase: dict[str, str] = {}
    for part in parts:
        match part:
            case ThinkingPart() | OpaquePart() if not is_from(part, "openai", origin):
                continue
            case TextPart():
                if part.text.strip():
                    content = [{"type": "output_text", "text": part.text}]
                    role = {"type": "message", "role": "assistant"}
                    items.append({**role, "content": content, **phase})
                    phase = {}
            case ThinkingPart(opaque=dict(item)):
                if item.get("type") == "reasoning" and _is_reusable(item, reasons):
                    items.append(item)
            case OpaquePart(data={"phase": str(name)}):
                phase = {"phase": name}
            case OpaquePart(data={"item": dict(item)}):
                items.append(item)
            case ToolCallPart():
                items.append(_call_item(part, origin))
    while items and items[-1].get("type") == "reasoning":
        items.pop()  # the API rejects it without a following item
    return items


def _call_item(call: ToolCallPart, origin: str) -> Item:
    extra = call.extra if call.extra and call.origin in ("", origin) else {}
    return extra | {
        "type": "function_call",
        "call_id": call.id,
        "name": call.name,
        "arguments": call.arguments,
    }


def _is_reusable(reasoning: Item, reasons: bool) -> bool:
    """Return True for reasoning that a request can contain.

    OpenAI's has encrypted content, which only reasoning models take. That of other
    servers has plain content. OpenAI would look up an item with neither, and fail.
    """
    if reasoning.get("encrypted_content"):
        return reasons
    return bool(reasoning.get("content"))
