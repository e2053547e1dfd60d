"""The request: messages, tools and system prompt in the form of the Messages API.

Every history becomes a valid request: roles alternate, no message is empty, each tool
call has its result, and opaque parts of other vendors are omitted.
"""

import re
from collections.abc import Sequence
from itertools import dropwhile
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
from streaming.providers.anthropic.models import thinking_fields
from streaming.providers.base import ModelRequest, ProviderOptions
from streaming.providers.streaming_response import json_object

Block = dict[str, Any]

_CACHE = {"cache_control": {"type": "ephemeral"}}
_CACHEABLE = frozenset({"text", "tool_use", "tool_result"})
_THINKING = frozenset({"thinking", "redacted_thinking"})

# The API rejects these characters; ids of other vendors may contain them.
_INVALID_IN_IDS = re.compile(r"[^a-zA-Z0-9_-]")


def build(
    request: ModelRequest, *, model: str, options: ProviderOptions
) -> dict[str, Any]:
    """Return the request's body, plus `extra_headers` if the model needs any."""
    fields = thinking_fields(model, options.llm_thinking, options.llm_max_tokens)
    thinks = fields.get("thinking", {}).get("type") in ("adaptive", "enabled")
    built: dict[str, Any] = {
        "model": model,
        "messages": _messages(request.messages, all_thinking=thinks),
        **fields,
    }
    if request.system.strip():
        built["system"] = [{"type": "text", "text": request.system} | _CACHE]
    if request.tools:
        built["tools"] = _tools(request.tools)
        if not request.allow_tools:
            built["tool_choice"] = {"type": "none"}
    return built


def _tools(specs: Sequence[ToolSpec]) -> list[Block]:
    tools: list[Block] = [
        {
            "name": spec.name,
            "description": spec.description,
            "input_schema": spec.parameters,
        }
        for spec in specs
    ]
    tools[-1] |= _CACHE
    return tools


def _messages(messages: Sequence[Message], *, all_thinking: bool) -> list[Block]:
    """Return the messages with alternating roles.

    Without `all_thinking` only the thinking since the newest user message is included:
    the API requires it between tool calls, and cannot use earlier thinking.
    """
    built: list[Block] = []
    from_question = dropwhile(lambda message: message.role != "user", messages)
    completed = add_missing_results(from_question)
    backwards = reversed(range(len(completed)))
    newest = next((n for n in backwards if completed[n].role == "user"), 0)
    for index, message in enumerate(completed):
        role = "assistant" if message.role == "assistant" else "user"
        blocks = _blocks(message.parts, thinking=all_thinking or index > newest)
        while blocks and blocks[-1]["type"] in _THINKING:
            blocks.pop()  # was cut off; the API rejects thinking at the end
        if not blocks:
            continue
        if built and built[-1]["role"] == role:
            built[-1]["content"] += blocks
        else:
            built.append({"role": role, "content": blocks})
    _mark_for_cache(built)
    return built


def _mark_for_cache(messages: list[Block]) -> None:
    for block in reversed(messages[-1]["content"] if messages else ()):
        if block["type"] in _CACHEABLE:
            block |= _CACHE
            return


def _blocks(parts: Sequence[Part], *, thinking: bool) -> list[Block]:
    blocks: list[Block] = []
    for part in parts:
        match part:
            case TextPart():
                if part.text.strip():
                    blocks.append({"type": "text", "text": part.text})
            case ThinkingPart(text, "anthropic", {"signature": str(signature)}):
                if thinking and signature:
                    block = {"type": "thinking", "thinking": text}
                    blocks.append({**block, "signature": signature})
            case OpaquePart("anthropic", data):
                if thinking or data.get("type") not in _THINKING:
                    blocks.append(dict(data))
            case ToolCallPart():
                blocks.append(_tool_use(part))
            case ToolResultPart():
                blocks.append(_tool_result(part))
    return blocks


def _tool_use(call: ToolCallPart) -> Block:
    return {
        "type": "tool_use",
        "id": _id(call.id),
        "name": _id(call.name),
        "input": json_object(call.arguments),
    }


def _tool_result(result: ToolResultPart) -> Block:
    block: Block = {"type": "tool_result", "tool_use_id": _id(result.id)}
    if result.result:
        block["content"] = result.result
    if result.is_error:
        block["is_error"] = True
    return block


def _id(text: str) -> str:
    return _INVALID_IN_IDS.sub("_", text) or "_"
