"""Messages, their exchanges and their stored form."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from streaming.messages import (
    Message,
    Part,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    json_size,
    newest_exchanges,
    parts_from_json,
    parts_from_lines,
    parts_to_json,
    split_exchanges,
    steering_message,
    user_message,
)


@st.composite
def exchanges(draw: st.DrawFn) -> list[Message]:
    """A question with the calls and results that follow, cut off anywhere."""
    exchange = [user_message(draw(st.text(max_size=20)))]
    for index in range(draw(st.integers(0, 3))):
        ids = [f"{index}-{n}" for n in range(draw(st.integers(0, 3)))]
        parts: list[Part] = [TextPart("x"), *(ToolCallPart(i, "t", "{}") for i in ids)]
        exchange.append(Message("assistant", parts))
        if done := draw(st.lists(st.sampled_from(ids), unique=True)) if ids else []:
            exchange.append(
                Message("tool", [ToolResultPart(i, "t", "r") for i in done])
            )
            if draw(st.booleans()):
                exchange.append(steering_message("and"))
    return exchange


HISTORIES = st.lists(exchanges(), max_size=5).map(lambda found: sum(found, []))


@given(HISTORIES, st.integers(0, 2000))
def test_the_newest_exchanges_that_fit_are_kept(
    history: list[Message], budget: int
) -> None:
    kept = newest_exchanges(history, json_size(history) - budget)
    starts = [n for n, message in enumerate(history) if message.begins_exchange]
    fitting = [n for n in starts if json_size(history[n:]) <= budget]
    assert kept == history[min(fitting, default=max(starts, default=0)) :]


@given(HISTORIES)
def test_an_exchange_without_its_question_is_dropped(history: list[Message]) -> None:
    rest = [Message("tool", [ToolResultPart("0", "t", "r")]), *history]
    assert newest_exchanges(rest, 0) == history


@given(HISTORIES)
def test_parts_are_read_as_they_were_written(history: list[Message]) -> None:
    for message in history:
        assert parts_from_json(parts_to_json(message.parts)) == message.parts
    lines = "\n".join(json.dumps(parts_to_json(message.parts)) for message in history)
    assert parts_from_lines(lines) == [message.parts for message in history]


@given(HISTORIES)
def test_an_exchange_is_a_question_with_its_answers(history: list[Message]) -> None:
    found = split_exchanges(history)
    assert [message for exchange in found for message in exchange] == history
    for exchange in found if history else ():
        begins = [message.begins_exchange for message in exchange]
        assert (begins[0], begins.count(True)) == (True, 1)


def test_parts_of_older_versions_are_read() -> None:
    stored: list[dict[str, Any]] = [
        {"type": "thinking", "text": "Hm.", "provider": "openai", "opaque": {"a": 1}},
        {"type": "tool_call", "id": "c", "name": "clock", "arguments": "{}"},
        {"type": "opaque", "provider": "openai", "data": {"phase": "p"}},
    ]
    assert parts_to_json(parts_from_json(stored)) == stored
