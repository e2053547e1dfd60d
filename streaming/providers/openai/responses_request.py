"""The Responses API, the request: messages as its input items."""

from collections.abc import Iterable, Iterator
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
    add_missing_results,
)
from streaming.providers.base import ModelRequest
from streaming.providers.openai import models

Item = dict[str, Any]


def body(
    request: ModelRequest,
    *,
    model: str,
    max_tokens: int,
    thinking: str,
    at_openai: bool,
) -> dict[str, Any]:
    """Return the request's body. OpenAI stores nothing of it."""
    built: dict[str, Any] = {
        "model": model,
        "input": list(_input(request.messages, models.reasons(model))),
        "max_output_tokens": max_tokens,
        "store": False,
    }
    if request.system.strip():
        built["instructions"] = request.system
    if request.tools:
        built["tools"] = [_tool(tool) for tool in request.tools]
        built["tool_choice"] = "auto" if request.allow_tools else "none"
    effort = models.effort(thinking, model)
    reasoning = {"effort": effort} if effort else {}
    if models.reasons(model):
        built["include"] = ["reasoning.encrypted_content"]
        shown = {} if thinking in models.OFF else {"summary": "auto"}
        built["reasoning"] = shown | reasoning
    elif reasoning and not at_openai:
        built["reasoning"] = reasoning
    return built


def _tool(tool: ToolSpec) -> dict[str, Any]:
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
        "strict": False,
    }


def _input(messages: Iterable[Message], reasons: bool) -> Iterator[Item]:
    for message in add_missing_results(messages):
        match message.role:
            case "user":
                content = [{"type": "input_text", "text": message.text}]
                yield {"type": "message", "role": "user", "content": content}
            case "assistant":
                yield from _output_items(message.parts, reasons)
            case "tool":
                for part in message.parts:
                    if isinstance(part, ToolResultPart):
                        yield {
                            "type": "function_call_output",
                            "call_id": part.id,
                            "output": part.result,
                        }


def _output_items(parts: Iterable[Part], reasons: bool) -> list[Item]:
    """Return an earlier response of the model as items."""
    items: list[Item] = []
    phase: dict[str, str] = {}
    for part in parts:
        match part:
            case TextPart():
                if part.text:
                    content = [{"type": "output_text", "text": part.text}]
                    role = {"type": "message", "role": "assistant"}
                    items.append({**role, "content": content, **phase})
                    phase = {}
            case ThinkingPart(provider="openai", opaque=dict(item)):
                if _is_reusable(item, reasons):
                    items.append(item)
            case OpaquePart(provider="openai", data={"phase": str(name)}):
                phase = {"phase": name}
            case ToolCallPart():
                items.append(_call_item(part))
    while items and items[-1].get("type") == "reasoning":
        items.pop()  # the API rejects it without a following item
    return items


def _call_item(call: ToolCallPart) -> Item:
    return {
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
