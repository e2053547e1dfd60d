"""What goes into the model: messages made of ordered parts.

A part's JSON form (its `type` tag and fields) is what the database keeps.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec

Role = Literal["user", "assistant", "tool"]

# A history is hundreds of these, without cycles: nothing for the garbage collector.


class TextPart(msgspec.Struct, tag="text", gc=False):
    """Text that a person or the model wrote."""

    text: str


class ThinkingPart(msgspec.Struct, tag="thinking", omit_defaults=True, gc=False):
    """The model's reasoning.

    `opaque` is what `provider` wants back unchanged with it (a signature, encrypted
    content); another provider is never sent it.
    """

    text: str
    provider: str = ""
    opaque: dict[str, Any] | None = None


class ToolCallPart(msgspec.Struct, tag="tool_call", gc=False):
    """The model asks for a tool; `arguments` is a JSON object as text."""

    id: str
    name: str
    arguments: str


class ToolResultPart(msgspec.Struct, tag="tool_result", omit_defaults=True, gc=False):
    """What a tool answered to the call of the same `id`."""

    id: str
    name: str
    result: str
    is_error: bool = False


class OpaquePart(msgspec.Struct, tag="opaque", gc=False):
    """A block that only `provider` understands and wants back unchanged."""

    provider: str
    data: dict[str, Any]


Part = TextPart | ThinkingPart | ToolCallPart | ToolResultPart | OpaquePart


class Message(msgspec.Struct, gc=False):
    """One message of a conversation, its parts in the order they came."""

    role: Role
    parts: list[Part]

    @property
    def text(self) -> str:
        """All text parts, joined."""
        text = ""
        for part in self.parts:
            if isinstance(part, TextPart):
                text += part.text
        return text

    @property
    def tool_calls(self) -> list[ToolCallPart]:
        """The tool calls, in order."""
        return [p for p in self.parts if isinstance(p, ToolCallPart)]


class ToolSpec(msgspec.Struct, frozen=True):
    """A tool as the model sees it; `parameters` is a JSON Schema of an object."""

    name: str
    description: str
    parameters: dict[str, Any]


def user_message(text: str) -> Message:
    """A message that a person wrote."""
    return Message("user", [TextPart(text)])


def parts_to_json(parts: Sequence[Part]) -> list[dict[str, Any]]:
    """Parts as plain JSON values, for the database."""
    built: list[dict[str, Any]] = msgspec.to_builtins(parts)
    return built


def parts_from_json(data: list[dict[str, Any]]) -> list[Part]:
    """The inverse of `parts_to_json`."""
    return msgspec.convert(data, list[Part])


#: The same of many messages, a line each of JSON that is text still; much quicker.
parts_from_lines = msgspec.json.Decoder(list[Part]).decode_lines


def json_size(messages: Iterable[Message]) -> int:
    """The characters that the parts of messages take as JSON, a line each."""
    parts = [message.parts for message in messages]
    return len(_encode_lines(parts).decode())


_encode_lines = msgspec.json.Encoder().encode_lines


UNANSWERED = "The tool did not finish: the run was stopped."


def answer_open_calls(messages: Iterable[Message]) -> list[Message]:
    """Give each tool call that has no result an error result.

    Providers refuse a history with an unanswered call; a run that was cancelled or
    killed leaves one behind.
    """
    answered: list[Message] = []
    open_calls: list[ToolCallPart] = []
    for message in messages:
        if open_calls and message.role != "tool":
            _answer(open_calls, answered)
            open_calls = []
        answered.append(message)
        # Of hundreds of messages: `isinstance` takes three times as long.
        for part in message.parts:
            if type(part) is ToolCallPart:
                open_calls.append(part)
            elif type(part) is ToolResultPart:
                open_calls = [call for call in open_calls if call.id != part.id]
    if open_calls:
        _answer(open_calls, answered)
    return answered


def _answer(calls: Iterable[ToolCallPart], messages: list[Message]) -> None:
    """Add the results of calls that were never answered."""
    results: list[Part] = [
        ToolResultPart(c.id, c.name, UNANSWERED, is_error=True) for c in calls
    ]
    if messages[-1].role == "tool":
        results = messages.pop().parts + results
    messages.append(Message("tool", results))


def newest_exchanges(messages: Sequence[Message], excess: int) -> list[Message]:
    """The newest whole turns: without the oldest, of `excess` characters at least.

    A turn begins with a user message and holds all that follows up to the next, so a
    tool call is never parted from its result. The newest turn always stays.
    """
    start = len(messages)
    for index, message in enumerate(messages):
        if message.role == "user":
            start = index
            if excess <= 0:
                break
        excess -= json_size([message])
    return list(messages[start:])
