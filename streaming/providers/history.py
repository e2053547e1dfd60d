"""The history as a server may receive it: the part that all wire APIs share.

The transcript that people read is not the request for a server. `prepare` derives a
history from it that strict servers accept, however its runs ended: roles in order, no
empty message, a result for each call, ids and names in the accepted alphabet, and
arguments that are an object. The request module of each API builds its body from that.
"""

import re
from collections.abc import Sequence
from itertools import dropwhile

import msgspec

from streaming.messages import (
    Message,
    OpaquePart,
    Part,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
)
from streaming.providers.streaming_response import json_object
from streaming.tool_calls import is_object, object_text

#: The result of a tool call that has none.
UNFINISHED = "The tool did not finish: the run was stopped."
#: The response of a run that ended between a tool's result and the model's response.
INTERRUPTED = "(The run ended before the response.)"
#: The response between a tool's result and a text that steers the run.
RECEIVED = "(The result was received.)"
#: The text of a question without any: servers reject an empty message.
EMPTY = "(no text)"

#: The result of a tool that returned an empty text.
NO_OUTPUT = "(no output)"

#: Servers decode arguments, and their JSON parsers have limits.
MAX_DEPTH = 100
MAX_NAME = 64

_VALID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_INVALID_CHARACTERS = re.compile(r"[^a-zA-Z0-9_-]")
_BRACKETS = re.compile(r'[{[\]}]|"(?:[^"\\]|\\.)*"')


class Rules(msgspec.Struct, frozen=True):
    """The rules of an API that differ from those of the others."""

    #: Keep ids that are valid and unique; else all ids are generated.
    keep_ids: bool = False
    #: Insert a response between a tool's result and the next question.
    respond_to_results: bool = True
    #: Keep messages that have opaque parts only.
    keep_opaque: bool = False
    #: Write tool calls and results as text, for servers without tools.
    as_text: bool = False
    #: Write those before the newest question as text: servers require signatures.
    earlier_as_text: bool = False


def prepare(messages: Sequence[Message], rules: Rules) -> list[Message]:
    """Return a history that begins with a question and that any server accepts."""
    return _Preparation(rules).prepare(messages)


class _Preparation:
    """One history while it is prepared."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._prepared: list[Message] = []
        self._ids: set[str] = set()
        self._calls = 0
        self._as_text = False

    def prepare(self, messages: Sequence[Message]) -> list[Message]:
        """Add all messages, each group of tool messages with the calls before it."""
        results: list[ToolResultPart] = []
        calling: Message | None = None
        newest = messages[newest_question(messages)] if messages else None
        for message in dropwhile(lambda each: each.role != "user", messages):
            if message.role == "tool":
                results += [p for p in message.parts if type(p) is ToolResultPart]
                continue
            if calling:
                self._add_calls(calling, results)
                calling = None
            results = []
            if message.role == "user":
                if message.begins_exchange or not self._prepared:
                    self._as_text = self._rules.as_text or (
                        self._rules.earlier_as_text and message is not newest
                    )
                self._add_question(message)
            elif any(type(part) is ToolCallPart for part in message.parts):
                calling = message
            elif self._is_sent(message):
                self._append("assistant", message.parts)
        if calling:
            self._add_calls(calling, results)
        return self._prepared

    def _is_sent(self, message: Message) -> bool:
        if self._rules.keep_opaque and any(
            type(part) is OpaquePart or type(part) is ThinkingPart
            for part in message.parts
        ):
            return True
        return bool(message.text.strip())

    def _add_question(self, message: Message) -> None:
        last = self._prepared[-1].role if self._prepared else ""
        if last == "tool" and self._rules.respond_to_results:
            text = RECEIVED if message.steers else INTERRUPTED
            self._append("assistant", [TextPart(text)])
        texts: list[Part] = [
            part
            for part in message.parts
            if isinstance(part, TextPart) and part.text.strip()
        ]
        self._append("user", texts or [TextPart(EMPTY)])

    def _add_calls(self, message: Message, results: list[ToolResultPart]) -> None:
        """Add a message with calls, then one message with a result for each of them."""
        calls = [part for part in message.parts if type(part) is ToolCallPart]
        paired = _pair(calls, results)
        if self._as_text:
            self._add_as_text(message, paired)
            return
        ids = [self._wire_id(call.id) for call in calls]
        sent = iter(
            [
                ToolCallPart(
                    id, wire_name(c.name), _wire_arguments(c), c.extra, c.origin
                )
                for id, c in zip(ids, calls, strict=True)
            ]
        )
        parts: list[Part] = [
            next(sent) if type(part) is ToolCallPart else part for part in message.parts
        ]
        self._append("assistant", parts)
        answers: list[Part] = [
            ToolResultPart(id, wire_name(r.name), r.result, r.is_error)
            for id, r in zip(ids, paired, strict=True)
        ]
        self._prepared.append(Message("tool", answers))

    def _add_as_text(self, message: Message, results: list[ToolResultPart]) -> None:
        calls = "\n".join(
            f"[Tool call: {part.name} {part.arguments}]"
            for part in message.parts
            if type(part) is ToolCallPart
        )
        text = "\n".join(filter(None, (message.text.strip(), calls)))
        self._append("assistant", [TextPart(text)])
        answers = "\n".join(f"[Result of {r.name}: {r.result}]" for r in results)
        self._append("user", [TextPart(answers)])

    def _append(self, role: str, parts: Sequence[Part]) -> None:
        """Append a message, or its parts to the last one if that has the same role."""
        if self._prepared and self._prepared[-1].role == role:
            self._prepared[-1].parts.extend(parts)
        elif role == "user":
            self._prepared.append(Message("user", list(parts)))
        else:
            self._prepared.append(Message("assistant", list(parts)))

    def _wire_id(self, id: str) -> str:
        """Return an id that is unique in the request.

        Generated ids depend on the position only, so that a provider's cache finds the
        same prefix again. They have nine letters and digits: Mistral accepts no others.
        """
        self._calls += 1
        if not (self._rules.keep_ids and _VALID.fullmatch(id) and id not in self._ids):
            id = f"call{self._calls:05}"
            while id in self._ids:
                self._calls += 1
                id = f"call{self._calls:05}"
        self._ids.add(id)
        return id


def _pair(
    calls: Sequence[ToolCallPart], results: list[ToolResultPart]
) -> list[ToolResultPart]:
    """Return a result for each call: with its id, else by position, else an error.

    Calls with equal ids take the results with that id in their order.
    """
    remaining = list(results)
    found: list[ToolResultPart | None] = []
    for call in calls:
        result = next((r for r in remaining if r.id == call.id), None)
        if result:
            remaining.remove(result)
        found.append(result)
    if found.count(None) == len(remaining):
        unmatched = iter(remaining)
        found = [result or next(unmatched) for result in found]
    return [
        result or ToolResultPart(call.id, call.name, UNFINISHED, is_error=True)
        for call, result in zip(calls, found, strict=True)
    ]


def wire_name(name: str) -> str:
    """Return a tool's name in the alphabet that all APIs accept."""
    return _INVALID_CHARACTERS.sub("_", name)[:MAX_NAME] or "_"


def _wire_arguments(call: ToolCallPart) -> str:
    """Return the arguments as the text of an object; empty if they are none."""
    text = object_text(call.arguments)
    if text is None or _depth(text) > MAX_DEPTH:
        return "{}"
    if not is_object(text):  # it has numbers or characters that strict servers reject
        return msgspec.json.encode(json_object(text)).decode()
    return text


def _depth(text: str) -> int:
    """Return how deep the values of a JSON text are nested."""
    if text.count("{") + text.count("[") <= MAX_DEPTH:
        return 1
    depth = deepest = 0
    for match in _BRACKETS.finditer(text):
        if match[0] in "{[":
            depth += 1
            deepest = max(deepest, depth)
        elif match[0] in "]}":
            depth -= 1
    return deepest


def is_from(part: ThinkingPart | OpaquePart, provider: str, origin: str) -> bool:
    """Return True for an opaque part that this server, API and model has sent."""
    return part.provider == provider and part.origin in ("", origin)


def newest_question(messages: Sequence[Message]) -> int:
    """Return the index of the newest question; 0 without any."""
    backwards = reversed(range(len(messages)))
    return next((n for n in backwards if messages[n].begins_exchange), 0)


def drop_refused(
    messages: Sequence[Message], *, earlier: bool, current: bool
) -> list[Message]:
    """Return the messages without opaque parts, which a server has refused.

    `earlier` selects the messages before the newest question, `current` the others.
    """
    newest = newest_question(messages)
    return [
        _without_opaque(message)
        if (earlier if index < newest else current)
        else message
        for index, message in enumerate(messages)
    ]


def has_opaque(message: Message) -> bool:
    """Return True if a message has parts or fields that only a provider reads."""
    return any(
        (type(part) is OpaquePart)
        or (type(part) is ThinkingPart and bool(part.opaque))
        or (type(part) is ToolCallPart and bool(part.extra))
        for part in message.parts
    )


def _without_opaque(message: Message) -> Message:
    if not has_opaque(message):
        return message
    parts: list[Part] = []
    for part in message.parts:
        if isinstance(part, ToolCallPart):
            parts.append(ToolCallPart(part.id, part.name, part.arguments))
        elif isinstance(part, ThinkingPart) and set(part.opaque or ()) == {"field"}:
            parts.append(part)  # plain text, which no server verifies
        elif not isinstance(part, OpaquePart | ThinkingPart):
            parts.append(part)
    return Message(message.role, parts)
