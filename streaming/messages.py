"""The messages of a conversation, made of ordered parts.

The database stores the JSON form of a part: its `type` tag and its fields.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec

Role = Literal["user", "assistant", "tool"]

# A history has hundreds of these and no cycles, so the garbage collector skips them.


class TextPart(msgspec.Struct, tag="text", gc=False):
    """Text of the user or the model."""

    text: str


class ThinkingPart(msgspec.Struct, tag="thinking", omit_defaults=True, gc=False):
    """Reasoning of the model.

    `opaque` (a signature, encrypted content) must be returned unchanged to `provider`,
    and is never sent to another provider.
    """

    text: str
    provider: str = ""
    opaque: dict[str, Any] | None = None


class ToolCallPart(msgspec.Struct, tag="tool_call", gc=False):
    """A tool call of the model; `arguments` is a JSON object as text."""

    id: str
    name: str
    arguments: str


class ToolResultPart(msgspec.Struct, tag="tool_result", omit_defaults=True, gc=False):
    """The result of the tool call with the same `id`."""

    id: str
    name: str
    result: str
    is_error: bool = False


class OpaquePart(msgspec.Struct, tag="opaque", gc=False):
    """A block that only `provider` understands, to be returned to it unchanged."""

    provider: str
    data: dict[str, Any]


Part = TextPart | ThinkingPart | ToolCallPart | ToolResultPart | OpaquePart


class Message(msgspec.Struct, gc=False):
    """A message of a conversation, its parts in the order in which they came."""

    role: Role
    parts: list[Part]

    @property
    def text(self) -> str:
        """The text parts, joined."""
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
    """Return a message of the user."""
    return Message("user", [TextPart(text)])


def parts_to_json(parts: Sequence[Part]) -> list[dict[str, Any]]:
    """Convert parts to plain JSON values, for the database."""
    built: list[dict[str, Any]] = msgspec.to_builtins(parts)
    return built


def parts_from_json(data: list[dict[str, Any]]) -> list[Part]:
    """Convert the result of `parts_to_json` back."""
    return msgspec.convert(data, list[Part])


#: Converts the undecoded JSON of many messages, one a line; much quicker.
parts_from_lines = msgspec.json.Decoder(list[Part]).decode_lines


def json_size(messages: Iterable[Message]) -> int:
    """Return the length of the parts of messages as JSON, one message a line."""
    parts = [message.parts for message in messages]
    return len(_encode_lines(parts).decode())


_encode_lines = msgspec.json.Encoder().encode_lines


#: The result of a tool call that has none.
UNFINISHED = "The tool did not finish: the run was stopped."


def add_missing_results(messages: Iterable[Message]) -> list[Message]:
    """Return the messages with an error result for each tool call that has none.

    Providers reject a history with such a call; a run that was cancelled or killed
    leaves one behind.
    """
    completed: list[Message] = []
    open_calls: list[ToolCallPart] = []
    for message in messages:
        if open_calls and message.role != "tool":
            _append_results(open_calls, completed)
            open_calls = []
        completed.append(message)
        # Runs over hundreds of messages: `isinstance` takes three times as long.
        for part in message.parts:
            if type(part) is ToolCallPart:
                open_calls.append(part)
            elif type(part) is ToolResultPart:
                open_calls = [call for call in open_calls if call.id != part.id]
    if open_calls:
        _append_results(open_calls, completed)
    return completed


def _append_results(calls: Iterable[ToolCallPart], messages: list[Message]) -> None:
    """Append error results for tool calls without a result."""
    results: list[Part] = [
        ToolResultPart(c.id, c.name, UNFINISHED, is_error=True) for c in calls
    ]
    if messages[-1].role == "tool":
        results = messages.pop().parts + results
    messages.append(Message("tool", results))


def newest_exchanges(messages: Sequence[Message], excess: int) -> list[Message]:
    """Return the newest exchanges, without the oldest of `excess` characters or more.

    An exchange is a user message with all messages up to the next one, so a tool call
    always stays with its result. The newest exchange is always returned.
    """
    start = len(messages)
    for index, message in enumerate(messages):
        if message.role == "user":
            start = index
            if excess <= 0:
                break
        excess -= json_size([message])
    return list(messages[start:])
