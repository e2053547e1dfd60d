"""Arbitrary histories: every ending, several vendors, odd values."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from hypothesis import strategies as st

from streaming.messages import (
    Message,
    OpaquePart,
    Part,
    SummaryPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
    steering_message,
    user_message,
)
from tests.providers.strict_servers import SEAL

DEEP = '{"a":' * 1500 + "1" + "}" * 1500

TEXTS = st.sampled_from(["Hello", "", " ", "\n", "😀", "-", "x" * 200, '"{}'])
IDS = st.sampled_from(
    ["call_1", "call_1", "call00001", "", "toolu_01AbC", "functions.x:0", "é" * 70]
)
NAMES = st.sampled_from(
    ["weather", "multi_tool_use.parallel", "functions.weather", "", "a b", "n" * 90]
)
ARGUMENTS = st.sampled_from(
    [
        '{"city": "Rome"}',
        "{}",
        "",
        "null",
        "[1]",
        '{"city": "Ro',
        '{}{"city": "Rome"}',
        r'"{\"city\": \"Rome\"}"',
        '{"n": 1e999}',
        r'{"s": "\ud83d"}',
        DEEP,
        '{"a":' * 500 + "1" + "}" * 500,
    ]
)


ITEM = {"id": "rs_1", "type": "reasoning", "summary": []}

#: Opaque parts as the servers of each API send them.
ENCRYPTED: Part = ThinkingPart(
    "Hm.", "openai", {**ITEM, "encrypted_content": f"{SEAL}e"}
)
PHASE: Part = OpaquePart("openai", {"phase": "commentary"})
REASONING_CONTENT: Part = ThinkingPart("Hm.", "openai", {"field": "reasoning_content"})
FIELDS: Part = OpaquePart("openai", {"fields": {"reasoning_details": [{"data": SEAL}]}})
SIGNED: Part = ThinkingPart("Hm.", "anthropic", {"signature": f"{SEAL}s"})
REDACTED: Part = OpaquePart(
    "anthropic", {"type": "redacted_thinking", "data": f"{SEAL}d"}
)
THOUGHT = {"extra_content": {"google": {"thought_signature": f"{SEAL}t"}}}

#: Parts of conversations from before origins were stored, sealed by another key.
LEGACY: list[Part] = [
    ThinkingPart("cut off"),
    ThinkingPart("Hm.", "anthropic", {"signature": "other:s"}),
    ThinkingPart("", "anthropic", {"signature": ""}),
    REASONING_CONTENT,
    ThinkingPart("Hm.", "openai", {"field": "reasoning"}),
    ThinkingPart("Hm.", "openai", {**ITEM, "encrypted_content": "other:e"}),
    ThinkingPart("", "openai", ITEM),
    PHASE,
    OpaquePart("anthropic", {"type": "redacted_thinking", "data": "other:d"}),
    FIELDS,
]
LEGACY_EXTRAS = [
    None,
    {"extra_content": {"google": {"thought_signature": "other:t"}}},
    {"vendor_state": "x"},
]


class Source(NamedTuple):
    """A server: its origin, and the opaque parts and fields that it sends."""

    origin: str
    opaque: Sequence[Part]
    extras: Sequence[dict[str, Any] | None]


OLD = Source("", LEGACY, LEGACY_EXTRAS)
ELSEWHERE = Source("https://elsewhere.example chat m", LEGACY, LEGACY_EXTRAS)


def opaque_parts(source: Source) -> st.SearchStrategy[Part]:
    """Opaque parts of a server."""
    if not source.opaque:
        return st.just(ThinkingPart("cut off"))
    return st.sampled_from(
        [msgspec.structs.replace(part, origin=source.origin) for part in source.opaque]
    )


def calls(source: Source, ids: st.SearchStrategy[str]) -> st.SearchStrategy[Part]:
    """Calls with odd ids, names and arguments."""
    extras = st.sampled_from(source.extras)
    origin = st.just(source.origin)
    return st.builds(ToolCallPart, ids, NAMES, ARGUMENTS, extras, origin)


@st.composite
def answers(draw: st.DrawFn, source: Source) -> list[Message]:
    """Some responses and results, cut off anywhere."""
    messages: list[Message] = []
    if draw(st.integers(0, 4)) == 0:
        messages.append(Message("assistant", [SummaryPart("Before.", 2)]))
    kinds = st.one_of(
        st.builds(TextPart, TEXTS), opaque_parts(source), calls(source, IDS)
    )
    for _ in range(draw(st.integers(0, 3))):
        parts = draw(st.lists(kinds, max_size=5))
        messages.append(Message("assistant", parts))
        results: list[Part] = [
            ToolResultPart(p.id, p.name, draw(TEXTS), draw(st.booleans()))
            for p in parts
            if isinstance(p, ToolCallPart) and draw(st.integers(0, 3))
        ]
        if draw(st.integers(0, 9)) == 0:
            results.append(ToolResultPart("lost", "weather", "late"))
        if results:
            messages.append(Message("tool", list(draw(st.permutations(results)))))
        messages += draw(steering())
    return messages


@st.composite
def histories(draw: st.DrawFn, server: Source) -> list[Message]:
    """Exchanges with any server, then one with `server` up to some moment."""
    messages: list[Message] = []
    if draw(st.booleans()):
        messages.append(user_message("[Summary of the conversation before this]"))
    for _ in range(draw(st.integers(0, 4))):
        messages.append(user_message(draw(TEXTS)))
        messages += draw(answers(draw(st.sampled_from([server, ELSEWHERE, OLD]))))
    messages.append(user_message(draw(TEXTS)))
    if draw(st.booleans()):
        messages += draw(loop(server))
        messages += draw(steering())
    return messages


def steering() -> st.SearchStrategy[list[Message]]:
    """Texts that steered the run, mostly none."""
    texts = st.lists(st.builds(steering_message, TEXTS), min_size=1, max_size=2)
    return st.one_of(st.just([]), st.just([]), texts)


@st.composite
def loop(draw: st.DrawFn, server: Source) -> list[Message]:
    """The calls of one response in the newest exchange, and their results."""
    ids = [f"c{number}" for number in range(draw(st.integers(1, 3)))]
    asked = [draw(calls(server, st.just(id))) for id in ids]
    before = draw(st.lists(opaque_parts(server), max_size=2))
    results: list[Part] = [
        ToolResultPart(call.id, call.name, draw(TEXTS))
        for call in asked
        if isinstance(call, ToolCallPart)
    ]
    return [Message("assistant", [*before, *asked]), Message("tool", results)]
