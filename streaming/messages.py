"""The messages of a conversation, made of ordered parts.

The database stores the JSON form of a part: its `type` tag and its fields.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, Literal

import msgspec

Role = Literal["user", "assistant", "tool"]

# A history has hundreds of these and no cycles, so the garbage collector skips them.


class TextPart(msgspec.Struct, tag="text", omit_defaults=True, gc=False):
    """Text of the user or the model."""

    text: str
    #: Whether it is a text of the user that steered an active run.
    steers: bool = False


class ThinkingPart(msgspec.Struct, tag="thinking", omit_defaults=True, gc=False):
    """Reasoning of the model.

    `opaque` (a signature, encrypted content) must be returned unchanged to its origin,
    and is never sent to another server, API or model.
    """

    text: str
    provider: str = ""
    opaque: dict[str, Any] | None = None
    #: Empty: any server of `provider`.
    origin: str = ""


class ToolCallPart(msgspec.Struct, tag="tool_call", omit_defaults=True, gc=False):
    """A tool call of the model; `arguments` is a JSON object as text.

    `extra` holds the fields that only its origin understands, to be returned to it.
    """

    id: str
    name: str
    arguments: str
    extra: dict[str, Any] | None = None
    origin: str = ""


class ToolResultPart(msgspec.Struct, tag="tool_result", omit_defaults=True, gc=False):
    """The result of the tool call with the same `id`."""

    id: str
    name: str
    result: str
    is_error: bool = False


class OpaquePart(msgspec.Struct, tag="opaque", omit_defaults=True, gc=False):
    """A block that only its origin understands, to be returned to it unchanged."""

    provider: str
    data: dict[str, Any]
    #: Empty: any server of `provider`.
    origin: str = ""


class SummaryPart(msgspec.Struct, tag="summary", omit_defaults=True, gc=False):
    """A summary of the oldest exchanges, written by the model for later requests.

    It is the only part of its message. Requests have it in place of the exchanges that
    it covers, if `AGENT_SUMMARIZE_HISTORY` is on; people still see them.
    """

    text: str
    #: The number of exchanges that it covers, with those of the summary before it.
    exchanges: int
    #: The number of exchanges after these, up to the one that has the summary.
    kept: int = 1


Part = (
    TextPart | ThinkingPart | ToolCallPart | ToolResultPart | OpaquePart | SummaryPart
)


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
    def begins_exchange(self) -> bool:
        """Whether it is a question, and no text that steered the run of another."""
        return self.role == "user" and not self.steers

    @property
    def steers(self) -> bool:
        """Whether it is a text of the user that steered an active run."""
        return bool(self.parts) and all(
            isinstance(part, TextPart) and part.steers for part in self.parts
        )

    @property
    def is_summary(self) -> bool:
        """Whether it is a summary of the oldest exchanges."""
        return any(isinstance(part, SummaryPart) for part in self.parts)

    @property
    def tool_calls(self) -> list[ToolCallPart]:
        """The tool calls, in order."""
        return [p for p in self.parts if isinstance(p, ToolCallPart)]


def unanswered_calls(messages: Sequence[Message]) -> list[ToolCallPart]:
    """Return the tool calls of the newest response that have no result."""
    answered: set[str] = set()
    for message in reversed(messages):
        if message.role != "tool":
            return [call for call in message.tool_calls if call.id not in answered]
        answered |= {p.id for p in message.parts if isinstance(p, ToolResultPart)}
    return []


class ToolSpec(msgspec.Struct, frozen=True):
    """A tool as the model sees it; `parameters` is a JSON Schema of an object."""

    name: str
    description: str
    parameters: dict[str, Any]


def user_message(text: str) -> Message:
    """Return a message of the user."""
    return Message("user", [TextPart(text)])


def steering_message(text: str) -> Message:
    """Return a message with which the user steers an active run."""
    return Message("user", [TextPart(text, steers=True)])


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


def newest_exchanges(messages: Sequence[Message], excess: int) -> list[Message]:
    """Return the newest exchanges, without the oldest of `excess` characters or more.

    An exchange is a question with all messages up to the next one, so a tool call
    always stays with its result, and a text that steered the run with its question. The
    newest exchange is always returned.
    """
    start = len(messages)
    for index, message in enumerate(messages):
        if message.begins_exchange:
            start = index
            if excess <= 0:
                break
        excess -= json_size([message])
    return list(messages[start:])


def split_exchanges(messages: Sequence[Message]) -> list[Sequence[Message]]:
    """Return the exchanges of a history, the oldest first.

    The first one may lack its user message.
    """
    starts = [n for n, message in enumerate(messages) if n and message.begins_exchange]
    bounds = [0, *starts, len(messages)]
    return [messages[start:end] for start, end in pairwise(bounds)]


def join_exchanges(exchanges: Iterable[Sequence[Message]]) -> list[Message]:
    """Return the messages of exchanges in order: the inverse of `split_exchanges`."""
    return [message for exchange in exchanges for message in exchange]
