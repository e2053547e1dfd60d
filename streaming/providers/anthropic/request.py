"""The request: our messages, tools and system prompt as the Messages API wants them.

Whatever the history holds, what is sent is valid: turns alternate, none is empty, each
tool call has its result, and nothing of another vendor's goes along.
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
    answer_open_calls,
)
from streaming.providers.anthropic.models import thinking_fields
from streaming.providers.base import ModelRequest, ProviderOptions
from streaming.providers.streaming_response import json_object

Block = dict[str, Any]

_CACHE = {"cache_control": {"type": "ephemeral"}}
_CACHEABLE = frozenset({"text", "tool_use", "tool_result"})
_THINKING = frozenset({"thinking", "redacted_thinking"})

# The API refuses other characters; other vendors' ids may have them.
_NOT_IN_IDS = re.compile(r"[^a-zA-Z0-9_-]")


def build(
    request: ModelRequest, *, model: str, options: ProviderOptions
) -> dict[str, Any]:
    """The request's body, and beside it `extra_headers` where a model wants some."""
    fields = thinking_fields(model, options.llm_thinking, options.llm_max_tokens)
    thinks = fields.get("thinking", {}).get("type") in ("adaptive", "enabled")
    built: dict[str, Any] = {
        "model": model,
        "messages": _turns(request.messages, all_thinking=thinks),
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


def _turns(messages: Sequence[Message], *, all_thinking: bool) -> list[Block]:
    """The messages as turns that alternate.

    Without `all_thinking` only the thinking since the newest user message goes along:
    in mid-answer the API insists on it, and the rest it could not use.
    """
    turns: list[Block] = []
    begun = dropwhile(lambda message: message.role != "user", messages)
    answered = answer_open_calls(begun)
    backwards = reversed(range(len(answered)))
    newest = next((at for at in backwards if answered[at].role == "user"), 0)
    for index, message in enumerate(answered):
        role = "assistant" if message.role == "assistant" else "user"
        blocks = _blocks(message.parts, thinking=all_thinking or index > newest)
        while blocks and blocks[-1]["type"] in _THINKING:
            blocks.pop()  # cut off here, and refused at the end of a turn
        if not blocks:
            continue
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": role, "content": blocks})
    _mark_for_cache(turns)
    return turns


def _mark_for_cache(turns: list[Block]) -> None:
    for block in reversed(turns[-1]["content"] if turns else ()):
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
                    blocks.append(_thinking(text, signature))
            case OpaquePart("anthropic", data):
                if thinking or data.get("type") not in _THINKING:
                    blocks.append(dict(data))
            case ToolCallPart():
                blocks.append(_tool_use(part))
            case ToolResultPart():
                blocks.append(_tool_result(part))
    return blocks


def _thinking(text: str, signature: str) -> Block:
    return {"type": "thinking", "thinking": text, "signature": signature}


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
    return _NOT_IN_IDS.sub("_", text) or "_"
