"""Stand-ins for servers that are strict about requests: the published rules of each.

A server is a function of a request's body. It raises `Refused`, in its own wording, or
returns. Opaque values that a server has issued begin with its `SEAL`.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Body = Mapping[str, Any]
Server = Callable[[Body], None]

SEAL = "sealed-here:"

NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
MISTRAL_ID = re.compile(r"[a-zA-Z0-9]{9}")


class Refused(Exception):
    """A refusal: the status, and the body of the response."""

    def __init__(self, body: object, status: int = 400) -> None:
        self.status = status
        self.text = json.dumps(body)
        super().__init__(self.text)


def check(fact: object, message: str, param: str | None = None) -> None:
    """Refuse as OpenAI does unless the fact holds."""
    if not fact:
        error = {"message": message, "type": "invalid_request_error", "param": param}
        raise Refused({"error": error})


def forbid_extra(fields: Mapping[str, Any], allowed: set[str], *path: object) -> None:
    """Refuse unknown fields as servers built with FastAPI do."""
    for name in fields:
        if name not in allowed:
            problem = {
                "type": "extra_forbidden",
                "loc": ["body", *path, name],
                "msg": "Extra inputs are not permitted",
                "input": fields[name],
            }
            raise Refused({"detail": [problem]}, 422)


def is_object(text: object) -> bool:
    """Return True for JSON text of an object that is not nested too deeply."""
    try:
        value = json.loads(str(text), parse_constant=_reject)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and _depth(value) <= 128


def _reject(constant: str) -> None:
    raise ValueError(constant)


def _depth(value: object) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        return 0
    return 1 + max((_depth(each) for each in value), default=0)


# Chat Completions

TOP = {"model", "messages", "stream", "tools", "tool_choice"}
MESSAGE = {
    "system": {"role", "content"},
    "developer": {"role", "content"},
    "user": {"role", "content"},
    "assistant": {"role", "content", "tool_calls"},
    "tool": {"role", "content", "tool_call_id"},
}


def _check_chat(messages: Sequence[Mapping[str, Any]]) -> None:
    """Check the rules that all servers of Chat Completions share."""
    check(messages, "messages must not be empty")
    waiting: list[str] = []
    seen: set[str] = set()
    for number, message in enumerate(messages):
        where = f"messages[{number}]"
        role, content = message["role"], message.get("content")
        if role == "tool":
            check(message["tool_call_id"] in waiting, f"{where}: unexpected tool id")
            waiting.remove(message["tool_call_id"])
            check(isinstance(content, str), f"{where}: result is no text")
            continue
        check(not waiting, f"tool_call_ids without a response: {waiting}")
        calls = message.get("tool_calls") or []
        if calls:
            check(role == "assistant", f"{where}: calls of {role}")
        else:
            check(isinstance(content, str) and content.strip(), f"{where} is empty")
        for call in calls:
            function = call["function"]
            check(NAME.fullmatch(call["id"]), f"{where}: bad id {call['id']!r}")
            check(call["id"] not in seen, f"{where}: id used twice")
            check(NAME.fullmatch(function["name"]), f"{where}: bad function")
            check(is_object(function["arguments"]), f"{where}: bad arguments")
            seen.add(call["id"])
            waiting.append(call["id"])
    check(not waiting, f"tool_call_ids without a response: {waiting}")
    check(
        messages[-1]["role"] in ("user", "tool"), "the last role must be user or tool"
    )


def _check_order(messages: Sequence[Mapping[str, Any]]) -> None:
    """Check the order of Mistral's template: user, assistant, and tools between."""
    before = "assistant"
    for message in messages:
        role = message["role"]
        if role == "system":
            continue
        allowed = {
            "user": {"assistant"},
            "assistant": {"user", "tool"},
            "tool": {"assistant", "tool"},
        }
        check(
            before in allowed[role], f"Unexpected role '{role}' after role '{before}'"
        )
        before = role


def openai_chat(body: Body) -> None:
    """OpenAI's reasoning models: no `max_tokens`, no foreign fields."""
    for name in body:
        known = TOP | {"max_completion_tokens", "stream_options", "reasoning_effort"}
        hint = " Use 'max_completion_tokens' instead." if name == "max_tokens" else ""
        message = f"Unsupported parameter: '{name}' is not supported.{hint}"
        check(name in known, message, name)
    for number, message in enumerate(body["messages"]):
        for name in message:
            path = f"messages[{number}].{name}"
            allowed = name in MESSAGE[message["role"]]
            check(allowed, f"Unknown parameter: '{path}'.", path)
    _check_chat(body["messages"])


def mistral(body: Body) -> None:
    """Mistral: roles in order, ids of nine characters, no unknown fields."""
    forbid_extra(body, TOP | {"max_tokens"})
    for number, message in enumerate(body["messages"]):
        role = message["role"]
        forbid_extra(message, MESSAGE[role], "messages", number, role)
        for call in message.get("tool_calls") or ():
            text = f"Tool call id was {call['id']} but must be a-z, A-Z, 0-9"
            check(MISTRAL_ID.fullmatch(call["id"]), text)
    _check_chat(body["messages"])
    _check_order(body["messages"])


def gemini(body: Body) -> None:
    """Gemini: the first of parallel calls is signed, and a part of JSON Schema."""
    for tool in body.get("tools") or ():
        schema = json.dumps(tool["function"]["parameters"])
        for name in ("additionalProperties", "$ref", "exclusiveMinimum"):
            text = f'Invalid JSON payload received. Unknown name "{name}" at "tools[0]"'
            check(f'"{name}"' not in schema, text)
    messages = body["messages"]
    for message in messages:
        for position, call in enumerate(message.get("tool_calls") or ()):
            extra = call.get("extra_content", {}).get("google", {})
            signature = extra.get("thought_signature", "")
            check(
                not signature or signature.startswith(SEAL),
                "Thought signature is not valid.",
            )
            if position == 0:
                check(signature, "Function call is missing a thought_signature.")
    _check_chat(messages)
    _check_order(messages)


def deepseek(body: Body) -> None:
    """DeepSeek: reasoning on each assistant message, no `stream_options`."""
    text = "Unrecognized request argument supplied: stream_options"
    check("stream_options" not in body, text)
    for message in body["messages"]:
        if message["role"] == "assistant":
            check(
                (message.get("reasoning_content") or "").strip(),
                "The `reasoning_content` in the thinking mode must be passed back to "
                "the API.",
            )
        unknown = message.keys() - MESSAGE[message["role"]] - {"reasoning_content"}
        check(not unknown, f"unknown field: {sorted(unknown)}")
    _check_chat(body["messages"])
    _check_order(body["messages"])


def gemma(body: Body) -> None:
    """A template without tools and without a role for the system prompt."""
    text = "This model does not support tools."
    check("tools" not in body, text)
    roles = [message["role"] for message in body["messages"]]
    check("system" not in roles, "System role not supported")
    for number, role in enumerate(roles):
        expected = "assistant" if number % 2 else "user"
        check(
            role == expected,
            "Conversation roles must alternate user/assistant/user/assistant/...",
        )
    _check_chat(body["messages"])


def _check_template(roles: Sequence[str]) -> None:
    """Check the roles as llama.cpp does with Gemma's template."""
    for number, role in enumerate(roles):
        check(
            role == ("assistant" if number % 2 else "user"),
            "Unable to generate parser for this template. Automatic parser generation "
            "failed: \n------------\nWhile executing CallExpression at line 10, column "
            "24 in source:\n...exception('Conversation roles must alternate user...\n"
            "Error: Jinja Exception: Conversation roles must alternate "
            "user/assistant/user/assistant/...",
        )


def gemma_responses(body: Body) -> None:
    """The Responses API of llama.cpp, which joins the items of one response."""
    roles: list[str] = []
    for item in body["input"]:
        kinds = {"function_call": "assistant", "function_call_output": "tool"}
        role = kinds.get(item["type"]) or item["role"]
        if role != "assistant" or roles[-1:] != ["assistant"]:
            roles.append(role)
    _check_template(roles)


def gemma_messages(body: Body) -> None:
    """The Messages API of llama.cpp, which makes a message of each result."""
    roles: list[str] = []
    for message in body["messages"]:
        kinds = [block["type"] for block in message["content"]]
        if "text" in kinds or "tool_use" in kinds:
            roles.append(message["role"])
        roles += ["tool"] * kinds.count("tool_result")
    _check_template(roles)


# Responses


def responses(body: Body) -> None:
    """The Responses API of OpenAI."""
    known = {"model", "input", "max_output_tokens", "store", "instructions", "tools"}
    known |= {"tool_choice", "reasoning", "include", "stream"}
    for name in body:
        check(name in known, f"Unknown parameter: '{name}'.", name)
    items = body["input"]
    check(items, "input must not be empty")
    waiting: set[str] = set()
    seen: set[str] = set()
    for number, item in enumerate(items):
        following = items[number + 1] if number + 1 < len(items) else {}
        match item["type"]:
            case "message":
                text = f"No tool output found for {waiting}"
                check(not waiting or item["role"] == "assistant", text)
                texts = [part["text"] for part in item["content"]]
                check(texts and all(t.strip() for t in texts), "empty message")
            case "reasoning":
                sealed = item.get("encrypted_content", "")
                text = f"The encrypted content for item {item['id']} could not be "
                text += "verified."
                check(sealed.startswith(SEAL), text)
                text = f"Item '{item['id']}' of type 'reasoning' was provided without "
                text += "its required following item."
                output = {"function_call_output"}
                check(following and following["type"] not in output, text)
                check(following.get("role") != "user", text)
            case "function_call":
                check(item["call_id"] not in seen, "Duplicate call_id")
                check(NAME.fullmatch(item["call_id"]), "Invalid call_id")
                check(NAME.fullmatch(item["name"]), "Invalid name")
                check(is_object(item["arguments"]), "Invalid arguments")
                allowed = {"type", "call_id", "name", "arguments"}
                for name in item.keys() - allowed:
                    path = f"input[{number}].{name}"
                    check(False, f"Unknown parameter: '{path}'.", path)
                seen.add(item["call_id"])
                waiting.add(item["call_id"])
            case "function_call_output":
                check(item["call_id"] in waiting, "No tool call found for output")
                waiting.remove(item["call_id"])
            case other:
                check(False, f"Invalid type {other}")
    check(not waiting, f"No tool output found for {waiting}")


# Messages

BLOCK = {
    "text": {"type", "text", "cache_control"},
    "thinking": {"type", "thinking", "signature"},
    "redacted_thinking": {"type", "data"},
    "tool_use": {"type", "id", "name", "input", "cache_control"},
    "tool_result": {"type", "tool_use_id", "content", "is_error", "cache_control"},
}


def anthropic(body: Body) -> None:
    """The Messages API of Anthropic."""
    messages = body["messages"]
    check(messages and messages[0]["role"] == "user", "first message must be user")
    waiting: list[str] = []
    seen: set[str] = set()
    before = ""
    for number, message in enumerate(messages):
        role, blocks = message["role"], message["content"]
        check(role != before, "roles must alternate")
        check(blocks, f"messages.{number}: content must not be empty")
        before = role
        waiting = _check_results(number, blocks, waiting)
        for position, block in enumerate(blocks):
            _check_block(f"messages.{number}.content.{position}", block, role, seen)
            if block["type"] == "tool_use":
                waiting.append(block["id"])
        text = "The final block in an assistant message cannot be `thinking`."
        check(not blocks[-1]["type"].endswith("thinking"), text)
    check(not waiting, f"tool_use ids without tool_result: {waiting}")
    if seen:
        check(body.get("tools"), "Requests with tool_use blocks must define tools.")


def _check_results(
    number: int, blocks: Sequence[Mapping[str, Any]], waiting: list[str]
) -> list[str]:
    results = [b["tool_use_id"] for b in blocks if b["type"] == "tool_result"]
    where = f"messages.{number}"
    check(sorted(results) == sorted(waiting), f"{where}: results do not match")
    kinds = [block["type"] for block in blocks]
    check(kinds[: len(results)] == ["tool_result"] * len(results), f"{where}: order")
    return []


def _check_block(
    where: str, block: Mapping[str, Any], role: str, seen: set[str]
) -> None:
    kind = block["type"]
    for name in block.keys() - BLOCK[kind]:
        check(False, f"{where}.{kind}.{name}: Extra inputs are not permitted")
    match kind:
        case "text":
            check(block["text"].strip(), f"{where}: text must contain non-whitespace")
        case "thinking":
            text = f"{where}: Invalid `signature` in `thinking` block"
            check(block["signature"].startswith(SEAL), text)
        case "redacted_thinking":
            text = f"{where}: Invalid `data` in `redacted_thinking` block"
            check(block["data"].startswith(SEAL), text)
        case "tool_use":
            check(role == "assistant", f"{where}: tool_use of {role}")
            check(NAME.fullmatch(block["id"]), f"{where}.id: bad pattern")
            check(NAME.fullmatch(block["name"]), f"{where}.name: bad pattern")
            check(block["id"] not in seen, "tool_use ids must be unique")
            check(isinstance(block["input"], dict), f"{where}.input: no object")
            check(_depth(block["input"]) <= 128, f"{where}.input: too deep")
            seen.add(block["id"])
        case "tool_result" if block.get("is_error"):
            check(block.get("content"), f"{where}: content cannot be empty")
