"""Provider streams for fuzzing: composed of each API's features, then damaged.

All of it depends on the random numbers alone, so that a seed repeats a failure.
"""

import copy
import json
import random
from collections.abc import Callable, Sequence
from typing import Any, Literal

from tests.providers import anthropic_streams as anthropic
from tests.providers import openai_streams as openai

Api = Literal["chat", "responses", "messages"]
APIS: tuple[Api, ...] = Api.__args__  # type: ignore[attr-defined]
Payload = dict[str, Any]
Mutation = Callable[[random.Random, list[Payload]], None]

WORDS = ("Hello", " wörld", " 👋🏽", "\n\n", "{", "data: x", " ", "\u2028", "0")
ARGUMENTS = (
    '{"text": "hi"}',
    '{"text"',
    "{}",
    "",
    "[1]",
    '"{}"',
    '{"text": "\\u0000"}',
)
TOOLS = ("echo", "fail", "functions.echo", "missing", "")
USAGE = ("prompt_tokens", "completion_tokens", "input_tokens", "output_tokens")
#: Values in place of others: of every type, and at or beyond every bound.
ODD: Sequence[Any] = (
    None,
    True,
    False,
    0,
    -35,
    2**31,
    2**63,
    10**400,
    0.5,
    -1e308,
    float("nan"),
    float("inf"),
    "",
    "null",
    "5",
    "\0",
    "a\ud800b",
    "x" * 5000,
    "tool_use",
    "error",
    "length",
    [],
    {},
    [None],
    [{"error": {"code": 429}}],
    {"error": {"message": "Insufficient credits", "code": 402}},
    {"type": "tool_use", "id": 5, "name": [], "input": "no"},
    {"text": {"text": ["a"]}, "index": "0"},
    json.loads("[" * 150 + "]" * 150),
)
#: Lines between events: other fields, other formats, and events that are cut off.
LINES = (
    b": keep-alive\n\n",
    b"event: ping\n\n",
    b"data:\n\n",
    b"data: [DONE]\n\n",
    b"data: {}\n\n",
    b"data: []\n\n",
    b"data: null\n\n",
    b'data: {"type": "error", "error": {"type": "overloaded_error"}}\n\n',
    b'data: {"error": "out of memory"}\n\n',
    b'data: {"object": "error", "message": "no", "code": 400}\n\n',
    b'error: {"code": 500, "message": "loading"}\n\n',
    b"error: broken\n\n",
    b"<html>502</html>\n\n",
    b"data: {\n\n",
    b"data: " + b"[" * 3000 + b"\n\n",
    b'data: {"choices": [{"delta": {"content": "\xff\xfe"}}]}\n\n',
    b"id: 7\nretry: 5\ndata: {}\n\n",
    b"\r\n\r\n",
    b"\xef\xbb\xbf",
)


def good_stream(api: Api, text: str = "Good") -> bytes:
    """Return a regular response with a text."""
    match api:
        case "chat":
            chunks = [openai.chunk(content=text), openai.chunk("stop")]
            return openai.chunks(*chunks) + openai.DONE
        case "responses":
            return openai.events(*openai.text_deltas(text), openai.ended())
        case "messages":
            return anthropic.message(anthropic.text_block(0, text))


def damaged_stream(chance: random.Random, api: Api) -> bytes:
    """Return a composed response with some mutations of its events and bytes."""
    events = COMPOSERS[api](chance)
    for _ in range(chance.choice((0, 1, 1, 2, 3, 8))):
        if events:
            chance.choice(MUTATIONS)(chance, events)
    named = api != "chat"
    frames = [_frame(event, named=named) for event in events]
    if api == "chat" and chance.random() < 0.8:
        frames.append(openai.DONE)
    for _ in range(chance.choice((0, 0, 0, 1, 2))):
        frames.insert(chance.randint(0, len(frames)), chance.choice(LINES))
    body = b"".join(frames)
    match chance.randint(0, 11):
        case 0:
            body = body[: chance.randint(0, len(body))]
        case 1:
            body = body.replace(b"\n", b"\r\n")
        case 2:
            body = body.rstrip(b"\n")
        case 3 if body:
            at = chance.randrange(len(body))
            body = body[:at] + chance.randbytes(3) + body[at + 1 :]
        case 4 if events:
            body = json.dumps(events[0]).encode()
    return body


def cut(chance: random.Random, body: bytes) -> list[bytes]:
    """Return the bytes in the pieces in which they arrive."""
    cuts = sorted(chance.randint(0, len(body)) for _ in range(chance.randint(0, 6)))
    bounds = [0, *cuts, len(body)]
    pieces = [body[a:b] for a, b in zip(bounds, bounds[1:], strict=False)]
    return [piece for piece in pieces if piece]


def _frame(event: Payload, *, named: bool) -> bytes:
    name = event.get("type")
    head = f"event: {name}\n" if named and isinstance(name, str) else ""
    if "\n" in str(name) or not head.isascii():
        head = ""
    return f"{head}data: {json.dumps(event)}\n\n".encode()


# Composition


def _chat(chance: random.Random) -> list[Payload]:
    events = [openai.chunk(role="assistant", content="")]
    field = chance.choice(("reasoning_content", "reasoning"))
    if chance.random() < 0.3:
        events += [openai.chunk(**{field: word}) for word in _words(chance)]
    if chance.random() < 0.8:
        events += [openai.chunk(content=word) for word in _words(chance)]
    if chance.random() < 0.1:
        events.append(openai.chunk(refusal="No."))
    for index in range(chance.choice((0, 0, 1, 2, 40))):
        call = {"index": index, "id": f"call_{index}", "name": chance.choice(TOOLS)}
        events.append(openai.fragment(**call))
        events.append(openai.fragment(chance.choice(ARGUMENTS), index=index))
    reasons = ("stop", "tool_calls", "length", "content_filter", "error", None)
    events.append(openai.chunk(chance.choice(reasons)))
    if chance.random() < 0.2:
        message = {"role": "assistant", "content": "Hi"}
        events.append({"choices": [{"message": message, "finish_reason": "stop"}]})
    if chance.random() < 0.7:
        events.append({"choices": [], "usage": _usage(chance)})
    return events


def _responses(chance: random.Random) -> list[Payload]:
    events: list[Payload] = [{"type": "response.created", "response": {}}]
    index = 0
    if chance.random() < 0.4:
        item = openai.reasoning_item(summary=[{"type": "summary_text", "text": "Hm"}])
        events.append(openai.event("output_item.added", index, item=item))
        events += openai.thinking_deltas(*_words(chance), index=index)
        events.append(openai.item_done(item, index))
        index += 1
    if chance.random() < 0.8:
        item = {"type": "message", "phase": "commentary", "content": [{"text": "Hi"}]}
        events.append(openai.event("output_item.added", index, item=item))
        events += openai.text_deltas(*_words(chance), index=index)
        events.append(openai.item_done(item, index))
        index += 1
    for number in range(chance.choice((0, 0, 1, 2, 40))):
        arguments, name = chance.choice(ARGUMENTS), chance.choice(TOOLS)
        item = openai.call_item(arguments, f"call_{number}", name)
        kind = "function_call_arguments.delta"
        events.append(openai.event(kind, index + number, delta=arguments))
        events.append(openai.item_done(item, index + number))
    details = {"reason": chance.choice(("max_output_tokens", "content_filter"))}
    status = chance.choice(("completed", "completed", "incomplete", "failed"))
    more: Payload = {"incomplete_details": details} if status == "incomplete" else {}
    events.append(openai.ended(status, usage=_usage(chance), **more))
    return events


def _messages(chance: random.Random) -> list[Payload]:
    blocks: list[Payload] = []
    index = 0
    if chance.random() < 0.4:
        blocks += anthropic.thinking_block(index, *_words(chance), signature="sig")
        index += 1
    if chance.random() < 0.2:
        blocks += anthropic.redacted_block(index, "cmVkYWN0ZWQ=")
        index += 1
    if chance.random() < 0.8:
        blocks += anthropic.text_block(index, *_words(chance))
        index += 1
    for number in range(chance.choice((0, 0, 1, 2, 40))):
        arguments, name = chance.choice(ARGUMENTS), chance.choice(TOOLS)
        id = f"toolu_{number}"
        blocks += anthropic.tool_block(index + number, id, name, arguments)
    reasons = ("end_turn", "tool_use", "max_tokens", "refusal", "pause_turn", None)
    end = anthropic.message_delta(chance.choice(reasons), usage=_usage(chance))
    return [anthropic.start(), anthropic.PING, *blocks, end, dict(anthropic.STOP)]


COMPOSERS: dict[Api, Callable[[random.Random], list[Payload]]] = {
    "chat": _chat,
    "responses": _responses,
    "messages": _messages,
}


def _words(chance: random.Random) -> list[str]:
    return chance.choices(WORDS, k=chance.randint(1, 5))


def _usage(chance: random.Random) -> Payload:
    counts = (7, 0, -35, 2**31, 1.0, None, "9")
    usage: Payload = {name: chance.choice(counts) for name in USAGE}
    usage["completion_tokens_details"] = {"reasoning_tokens": chance.choice(counts)}
    return usage


# Mutations


def _drop(chance: random.Random, events: list[Payload]) -> None:
    del events[chance.randrange(len(events))]


def _duplicate(chance: random.Random, events: list[Payload]) -> None:
    event = copy.deepcopy(chance.choice(events))
    events.insert(chance.randint(0, len(events)), event)


def _reorder(chance: random.Random, events: list[Payload]) -> None:
    event = events.pop(chance.randrange(len(events)))
    events.insert(chance.randint(0, len(events)), event)


def _truncate(chance: random.Random, events: list[Payload]) -> None:
    del events[chance.randint(0, len(events)) :]


def _change(chance: random.Random, events: list[Payload]) -> None:
    """Replace, remove or add a field at any depth of one event."""
    at = chance.randrange(len(events))
    events[at] = copy.deepcopy(events[at])
    owner: Any = events[at]
    while True:
        keys = list(owner) if isinstance(owner, dict) else list(range(len(owner)))
        if not keys:
            return
        key = chance.choice(keys)
        inner = owner[key]
        if not isinstance(inner, dict | list) or not inner or chance.random() < 0.2:
            break
        owner = inner
    match chance.randint(0, 3):
        case 0 if isinstance(owner, dict):
            del owner[key]
        case 1 if isinstance(owner, dict):
            owner[chance.choice(("extra", "error", "index", "id"))] = _odd(chance)
        case _:
            owner[key] = _odd(chance)


def _odd(chance: random.Random) -> Any:  # noqa: ANN401
    return copy.deepcopy(chance.choice(ODD))


MUTATIONS: Sequence[Mutation] = (
    _drop,
    _duplicate,
    _reorder,
    _truncate,
    _change,
    _change,
    _change,
)
