"""The request: messages, tools and system prompt in the form of the Messages API.

Every history becomes a valid request: roles alternate, no message is empty, each tool
call has its result, and opaque parts of other vendors are omitted.
"""

from collections.abc import Sequence
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
from streaming.providers.anthropic.models import is_claude, thinking_fields
from streaming.providers.anthropic.refusals import (
    ALL_OPAQUE,
    EARLIER_OPAQUE,
    NO_BETA,
    NO_TOOLS,
    SIMPLE_SCHEMAS,
    are_described,
)
from streaming.providers.base import ModelRequest, ProviderOptions
from streaming.providers.history import (
    NO_OUTPUT,
    Rules,
    drop_refused,
    is_from,
    newest_question,
    prepare,
)
from streaming.providers.output import NO_SCHEMA, describe_output
from streaming.providers.output_limits import limited
from streaming.providers.schemas import is_recursive, simplified, strict
from streaming.providers.streaming_response import json_object

Block = dict[str, Any]

_CACHE = {"cache_control": {"type": "ephemeral"}}
_CACHEABLE = frozenset({"text", "tool_use", "tool_result"})
_THINKING = frozenset({"thinking", "redacted_thinking"})


def build(
    request: ModelRequest,
    *,
    model: str,
    options: ProviderOptions,
    origin: str = "",
    learned: AbstractSet[str] = frozenset(),
) -> dict[str, Any]:
    """Return the request's body, plus `extra_headers` if the model needs any.

    `learned` are the causes for which this server has refused requests.
    """
    schema = _output_schema(request, model, learned)
    request = describe_output(
        request, by_schema=schema is not None, by_tool=NO_TOOLS not in learned
    )
    max_tokens = limited(options.llm_max_tokens, learned)
    fields = thinking_fields(model, options.llm_thinking, max_tokens)
    if NO_BETA in learned and fields.pop("extra_headers", None):
        fields["thinking"] = dict(fields.get("thinking", {}))
        fields["thinking"].pop("block_binding", None)
    thinks = fields.get("thinking", {}).get("type") in ("adaptive", "enabled")
    built: dict[str, Any] = {
        "model": model,
        "messages": _messages(
            request.messages,
            origin=origin,
            learned=learned,
            all_thinking=thinks,
            # llama.cpp puts a question before the results in the same message.
            respond_to_results=not is_claude(model),
        ),
        **fields,
    }
    if request.system.strip():
        built["system"] = [{"type": "text", "text": request.system} | _CACHE]
    if request.tools and are_described(request, model, learned):
        built["tools"] = _tools(request.tools, SIMPLE_SCHEMAS in learned)
        if not request.allow_tools:
            built["tool_choice"] = {"type": "none"}
    if schema is not None:
        output_format = {"type": "json_schema", "schema": schema}
        built["output_config"] = fields.get("output_config", {}) | {
            "format": output_format
        }
    refusals.remove_learned(built, learned)
    return built


def _output_schema(
    request: ModelRequest, model: str, learned: AbstractSet[str]
) -> dict[str, Any] | None:
    """Return the schema of the answer for a model that takes it; None for others.

    Models of other vendors ignore the field without an error.
    """
    if not request.output or NO_SCHEMA in learned or not is_claude(model):
        return None
    schema = request.output.parameters
    return None if is_recursive(schema) else strict(schema, all_required=False)


def _tools(specs: Sequence[ToolSpec], simple: bool) -> list[Block]:
    tools: list[Block] = [
        {
            "name": spec.name,
            "description": spec.description,
            "input_schema": simplified(spec.parameters) if simple else spec.parameters,
        }
        for spec in specs
    ]
    tools[-1] |= _CACHE
    return tools


def _messages(
    messages: Sequence[Message],
    *,
    origin: str,
    learned: AbstractSet[str],
    all_thinking: bool,
    respond_to_results: bool,
) -> list[Block]:
    """Return the messages with alternating roles.

    Without `all_thinking` only the thinking since the newest user message is included:
    the API requires it between tool calls, and cannot use earlier thinking.
    """
    if ALL_OPAQUE in learned or EARLIER_OPAQUE in learned:
        messages = drop_refused(messages, earlier=True, current=ALL_OPAQUE in learned)
    # Ids that the server has sent return: thinking is valid only after equal content.
    rules = Rules(
        keep_ids=True,
        respond_to_results=respond_to_results,
        keep_opaque=True,
        as_text=NO_TOOLS in learned,
    )
    built: list[Block] = []
    prepared = prepare(messages, rules)
    newest = newest_question(prepared)
    for index, message in enumerate(prepared):
        role = "assistant" if message.role == "assistant" else "user"
        thinking = all_thinking or index > newest
        blocks = _blocks(message.parts, thinking=thinking, origin=origin)
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


def _blocks(parts: Sequence[Part], *, thinking: bool, origin: str) -> list[Block]:
    blocks: list[Block] = []
    for part in parts:
        match part:
            case ThinkingPart() | OpaquePart() if not is_from(
                part, "anthropic", origin
            ):
                continue
            case TextPart():
                if part.text.strip():
                    blocks.append({"type": "text", "text": part.text})
            case ThinkingPart(text=text, opaque={"signature": str(signature), **extra}):
                if thinking and signature:
                    block = {"type": "thinking", "thinking": text}
                    known: Block = {str(name): extra[name] for name in extra}
                    blocks.append(known | block | {"signature": signature})
            case OpaquePart(data=data):
                if thinking or data.get("type") not in _THINKING:
                    blocks.append(dict(data))
            case ToolCallPart():
                blocks.append(_tool_use(part, origin))
            case ToolResultPart():
                blocks.append(_tool_result(part))
    return blocks


def _tool_use(call: ToolCallPart, origin: str) -> Block:
    extra = call.extra if call.extra and call.origin in ("", origin) else {}
    return extra | {
        "type": "tool_use",
        "id": call.id,
        "name": call.name,
        "input": json_object(call.arguments),
    }


def _tool_result(result: ToolResultPart) -> Block:
    block: Block = {"type": "tool_result", "tool_use_id": result.id}
    if result.result.strip():
        block["content"] = result.result
    elif result.is_error:  # the API rejects an error without content
        block["content"] = NO_OUTPUT
    if result.is_error:
        block["is_error"] = True
    return block
