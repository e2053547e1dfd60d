"""What goes into the model: messages made of ordered parts.

A part's JSON form (its `type` tag and fields) is what the database keeps.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec

Role = Literal["user", "assistant", "tool"]


class TextPart(msgspec.Struct, tag="text"):
    """Text that a person or the model wrote."""

    text: str


class ThinkingPart(msgspec.Struct, tag="thinking", omit_defaults=True):
    """The model's reasoning.

    `opaque` is what `provider` wants back unchanged with it (a signature, encrypted
    content); another provider is never sent it.
    """

    text: str
    provider: str = ""
    opaque: dict[str, Any] | None = None


class ToolCallPart(msgspec.Struct, tag="tool_call"):
    """The model asks for a tool; `arguments` is a JSON object as text."""

    id: str
    name: str
    arguments: str


class ToolResultPart(msgspec.Struct, tag="tool_result", omit_defaults=True):
    """What a tool answered to the call of the same `id`."""

    id: str
    name: str
    result: str
    is_error: bool = False


class OpaquePart(msgspec.Struct, tag="opaque"):
    """A block that only `provider` understands and wants back unchanged."""

    provider: str
    data: dict[str, Any]


Part = TextPart | ThinkingPart | ToolCallPart | ToolResultPart | OpaquePart


class Message(msgspec.Struct):
    """One message of a conversation, its parts in the order they came."""

    role: Role
    parts: list[Part]

    @property
    def text(self) -> str:
        """All text parts, joined."""
        return "".join(p.text for p in self.parts if isinstance(p, TextPart))

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


def parts_from_text(text: str) -> list[Part]:
    """The same of JSON that is text still, which is several times as quick."""
    return _decode_parts(text)


_decode_parts = msgspec.json.Decoder(list[Part]).decode

UNANSWERED = "The tool did not finish: the run was stopped."


def answer_open_calls(messages: Iterable[Message]) -> list[Message]:
    """Give each tool call that has no result an error result.

    Providers refuse a history with an unanswered call; a run that was cancelled or
    killed leaves one behind.
    """
    answered: list[Message] = []
    open_calls: list[ToolCallPart] = []

    def close() -> None:
        if open_calls:
            parts: list[Part] = [
                ToolResultPart(c.id, c.name, UNANSWERED, is_error=True)
                for c in open_calls
            ]
            if answered[-1].role == "tool":
                parts = answered.pop().parts + parts
            answered.append(Message("tool", parts))
            open_calls.clear()

    for message in messages:
        if message.role == "tool":
            done = {p.id for p in message.parts if isinstance(p, ToolResultPart)}
            open_calls = [c for c in open_calls if c.id not in done]
        else:
            close()
        answered.append(message)
        if message.role == "assistant":
            open_calls = message.tool_calls
    close()
    return answered


def newest_turns(newest_first: Iterable[Message], budget: int) -> list[Message]:
    """The newest whole turns that fit into `budget` bytes of JSON, oldest first.

    A turn begins with a user message and holds all that follows up to the next, so a
    tool call is never parted from its result. The newest turn always stays. Reads no
    further than it must.
    """
    kept: list[Message] = []
    turn: list[Message] = []
    for message in newest_first:
        turn.append(message)
        budget -= len(msgspec.json.encode(message))
        if budget < 0 and kept:
            break
        if message.role == "user":
            kept += turn
            turn = []
    return kept[::-1]
