"""Messages as a transcript: by run, with each tool result at its call."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby

import msgspec

from streaming.admin.display import Clip, clip, facts, moment, pretty_json
from streaming.messages import (
    OpaquePart,
    Part,
    SummaryPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
    parts_from_json,
)
from streaming.models import Message, Run

#: Longer texts are clipped; a link shows the whole.
MOST_CHARACTERS = 10_000


@dataclass
class Block:
    """A piece of a message. `source` is the message that holds its text."""

    kind: str
    source: int
    body: Clip
    name: str = ""
    result: "Block | None" = None
    is_error: bool = False


@dataclass
class Entry:
    """A message and its blocks. A tool result belongs to its call, if that is known."""

    message: Message
    blocks: list[Block] = field(default_factory=list)

    @property
    def time(self) -> str:
        """Return the time of the message."""
        return moment(self.message.created_at)


@dataclass
class Section:
    """The messages of one run; the run is None for messages without one."""

    run: Run | None
    entries: list[Entry]
    facts: dict[str, str]


def transcript(messages: Iterable[Message], whole: int = 0) -> list[Section]:
    """Group messages into sections. The message with the key `whole` is not clipped."""
    calls: dict[str, Block] = {}
    entries = [_entry(message, calls, whole) for message in messages]
    shown = [entry for entry in entries if entry.blocks]
    grouped = groupby(shown, key=lambda entry: entry.message.run_id)
    sections = [list(group) for _, group in grouped]
    runs = [section[0].message.run for section in sections]
    return [
        Section(run, section, facts(run) if run else {})
        for run, section in zip(runs, sections, strict=True)
    ]


def _entry(message: Message, calls: dict[str, Block], whole: int) -> Entry:
    """Return the message's entry. `calls` are the tool calls without a result."""
    entry = Entry(message)
    limit = None if message.pk == whole else MOST_CHARACTERS
    for part in _parts(message):
        block = _block(part, message.pk, limit)
        if isinstance(part, ToolResultPart) and part.id in calls:
            calls.pop(part.id).result = block
            continue
        if isinstance(part, ToolCallPart):
            calls[part.id] = block
        entry.blocks.append(block)
    return entry


def _block(part: Part, source: int, limit: int | None) -> Block:
    match part:
        case TextPart():
            return Block("text", source, clip(part.text, limit))
        case ThinkingPart():
            return Block("thinking", source, clip(part.text, limit))
        case ToolCallPart():
            arguments = clip(pretty_json(part.arguments), limit)
            return Block("tool", source, arguments, part.name)
        case ToolResultPart():
            result = clip(part.result, limit)
            return Block("result", source, result, part.name, is_error=part.is_error)
        case SummaryPart():
            body = clip(part.text, limit)
            return Block("summary", source, body, str(part.exchanges))
        case OpaquePart():
            kind = str(part.data.get("type", "block"))
            return Block("opaque", source, Clip(kind), part.provider)


def _parts(message: Message) -> list[Part]:
    """Return the parts; if they are invalid, the stored JSON as text."""
    try:
        return parts_from_json(message.parts)
    except msgspec.ValidationError:
        return [TextPart(json.dumps(message.parts, ensure_ascii=False))]
