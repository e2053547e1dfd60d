"""Chat Completions, the request: messages for OpenAI and compatible servers."""

from collections.abc import Iterable, Iterator
from typing import Any

from streaming.messages import (
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
from streaming.providers.openai.tool_calls import is_object

ChatMessage = dict[str, Any]


def body(
    request: ModelRequest,
    *,
    model: str,
    max_tokens: int,
    thinking: str,
    at_openai: bool,
) -> dict[str, Any]:
    """Return the request's body; `at_openai` tells OpenAI from other servers."""
    built: dict[str, Any] = {
        "model": model,
        "messages": list(_messages(request)),
        "max_completion_tokens" if at_openai else "max_tokens": max_tokens,
        "stream_options": {"include_usage": True},
    }
    if request.tools:
        built["tools"] = [_tool(tool) for tool in request.tools]
        built["tool_choice"] = "auto" if request.allow_tools else "none"
    effort = models.effort(thinking, model)
    if effort and (models.reasons(model) or not at_openai):
        built["reasoning_effort"] = effort
    return built


def _tool(tool: ToolSpec) -> dict[str, Any]:
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
    }
    return {"type": "function", "function": function}


def _messages(request: ModelRequest) -> Iterator[ChatMessage]:
    if request.system.strip():
        yield {"role": "system", "content": request.system}
    for message in add_missing_results(request.messages):
        match message.role:
            case "user":
                yield {"role": "user", "content": message.text}
            case "assistant":
                if built := _assistant(message.parts):
                    yield built
            case "tool":
                for part in message.parts:
                    if isinstance(part, ToolResultPart):
                        yield {
                            "role": "tool",
                            "tool_call_id": part.id,
                            "content": part.result,
                        }


def _assistant(parts: Iterable[Part]) -> ChatMessage | None:
    """Return None if the message has no content: servers reject an empty message."""
    built: ChatMessage = {"role": "assistant", "content": ""}
    for part in parts:
        match part:
            case TextPart():
                built["content"] += part.text
            case ToolCallPart():
                built.setdefault("tool_calls", []).append(_tool_call(part))
            case ThinkingPart(provider="openai", opaque={"field": str(name)}):
                # It returns in the field in which it came; some servers require it.
                built[name] = built.get(name, "") + part.text
    if not built["content"]:
        if "tool_calls" not in built:
            return None
        built["content"] = None
    return built


def _tool_call(call: ToolCallPart) -> dict[str, Any]:
    # Servers parse the arguments for their chat template, and fail on invalid JSON.
    arguments = call.arguments if is_object(call.arguments) else "{}"
    function = {"name": call.name, "arguments": arguments}
    return {"id": call.id, "type": "function", "function": function}
