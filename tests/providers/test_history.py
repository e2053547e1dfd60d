"""The part of a request's history that all APIs share."""

import pytest
from hypothesis import given

from streaming.messages import (
    Message,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
    steering_message,
    user_message,
)
from streaming.providers.history import (
    EMPTY,
    INTERRUPTED,
    MAX_DEPTH,
    RECEIVED,
    UNFINISHED,
    Rules,
    newest_question,
    prepare,
    wire_name,
)
from streaming.tool_calls import is_object
from tests.providers import histories

SOURCE = histories.Source("here", [histories.SIGNED], [None])


def assistant(*parts: TextPart | ThinkingPart | ToolCallPart) -> Message:
    return Message("assistant", list(parts))


def results(*parts: ToolResultPart) -> Message:
    return Message("tool", list(parts))


def roles(messages: list[Message]) -> str:
    return " ".join(message.role for message in messages)


@given(histories.histories(SOURCE))
def test_roles_are_in_order_and_each_call_has_its_result(
    history: list[Message],
) -> None:
    before = [list(message.parts) for message in history]
    prepared = prepare(history, Rules())
    assert [message.parts for message in history] == before
    assert prepared[0].role == "user"
    ids: list[str] = []
    for message, following in zip(prepared, [*prepared[1:], None], strict=True):
        calls = message.tool_calls
        ids += [call.id for call in calls]
        assert all(is_object(call.arguments) for call in calls)
        expected = {"user": "assistant", "assistant": "user", "tool": "assistant"}
        if following:
            role = "tool" if calls else expected[message.role]
            assert following.role == role
        if calls:
            assert following
            answered = [p.id for p in following.parts if isinstance(p, ToolResultPart)]
            assert answered == [call.id for call in calls]
    assert len(ids) == len(set(ids))


@given(histories.histories(SOURCE))
def test_a_prepared_history_is_final(history: list[Message]) -> None:
    prepared = prepare(history, Rules())
    assert prepare(prepared, Rules()) == prepared


def test_questions_without_an_answer_are_joined() -> None:
    history = [user_message("One"), assistant(ThinkingPart("cut")), user_message("Two")]
    [message] = prepare(history, Rules())
    assert message.parts == [TextPart("One"), TextPart("Two")]


def test_a_response_stands_between_a_result_and_the_next_question() -> None:
    history = [
        user_message("One"),
        assistant(ToolCallPart("a", "clock", "{}")),
        results(ToolResultPart("a", "clock", "12:00")),
        user_message("Two"),
    ]
    prepared = prepare(history, Rules())
    assert roles(prepared) == "user assistant tool assistant user"
    assert prepared[3].text == INTERRUPTED


def test_a_text_that_steers_the_run_follows_the_result() -> None:
    history = [
        user_message("q"),
        assistant(ToolCallPart("a", "t", "{}")),
        results(ToolResultPart("a", "t", "r")),
        steering_message("In French."),
    ]
    assert newest_question(history) == 0
    prepared = prepare(history, Rules(respond_to_results=False))
    assert roles(prepared) == "user assistant tool user"
    prepared = prepare(history, Rules())
    assert roles(prepared) == "user assistant tool assistant user"
    assert (prepared[3].text, prepared[4].text) == (RECEIVED, "In French.")
    [_, _, joined] = prepare(history, Rules(as_text=True))
    assert joined.text == "[Result of t: r]In French."
    # Only exchanges before the newest question may lose their calls.
    assert roles(prepare(history, Rules(earlier_as_text=True))) == roles(prepared)


def test_a_question_without_text_gets_one() -> None:
    assert prepare([user_message(" ")], Rules())[0].text == EMPTY


def test_results_of_equal_ids_belong_to_their_calls_in_order() -> None:
    calls = [ToolCallPart("same", "clock", "{}"), ToolCallPart("same", "date", "{}")]
    history = [
        user_message("One"),
        assistant(*calls),
        results(
            ToolResultPart("same", "clock", "12:00"),
            ToolResultPart("same", "date", "Monday"),
        ),
    ]
    *_, answered = prepare(history, Rules())
    assert answered.parts == [
        ToolResultPart("call00001", "clock", "12:00"),
        ToolResultPart("call00002", "date", "Monday"),
    ]


def test_a_missing_result_is_an_error() -> None:
    history = [
        user_message("One"),
        assistant(ToolCallPart("a", "clock", "{}"), ToolCallPart("b", "date", "{}")),
        results(ToolResultPart("b", "date", "Monday")),
    ]
    *_, answered = prepare(history, Rules())
    assert answered.parts == [
        ToolResultPart("call00001", "clock", UNFINISHED, is_error=True),
        ToolResultPart("call00002", "date", "Monday"),
    ]


def test_ids_depend_on_the_position_only() -> None:
    first = [
        user_message("One"),
        assistant(ToolCallPart("x" * 99, "clock", "{}")),
        results(ToolResultPart("x" * 99, "clock", "12:00")),
    ]
    later = [*first, assistant(TextPart("Noon.")), user_message("Two")]
    assert prepare(later, Rules())[: len(first)] == prepare(first, Rules())


def test_valid_ids_may_be_kept() -> None:
    calls = [ToolCallPart(id, "clock", "{}") for id in ("toolu_1", "toolu_1", "a.b")]
    prepared = prepare([user_message("One"), assistant(*calls)], Rules(keep_ids=True))
    ids = [call.id for call in prepared[1].tool_calls]
    assert ids == ["toolu_1", "call00002", "call00003"]


def test_tool_calls_may_become_text() -> None:
    history = [
        user_message("One"),
        assistant(ToolCallPart("a", "clock", '{"zone": "UTC"}')),
        results(ToolResultPart("a", "clock", "12:00")),
        user_message("Two"),
    ]
    prepared = prepare(history, Rules(as_text=True))
    assert roles(prepared) == "user assistant user"
    assert prepared[1].text == '[Tool call: clock {"zone": "UTC"}]'
    assert prepared[2].parts == [
        TextPart("[Result of clock: 12:00]"),
        TextPart("Two"),
    ]


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("clock", "clock"),
        ("functions.clock", "functions_clock"),
        ("a" * 100, "a" * 64),
        ("", "_"),
        ("Zeit ä", "Zeit__"),
    ],
)
def test_names_are_written_in_the_accepted_alphabet(name: str, sent: str) -> None:
    assert wire_name(name) == sent


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        ('{"a": [1]}', '{"a": [1]}'),
        ('{"a":' * MAX_DEPTH + "1" + "}" * MAX_DEPTH, None),
        ('{"a":' * (MAX_DEPTH + 1) + "1" + "}" * (MAX_DEPTH + 1), "{}"),
        ('{"a":' * 1500 + "1" + "}" * 1500, "{}"),
        ('{"a": "' + "[" * 500 + '"}', None),
        ('{"a": 1', "{}"),
        (r'{"a": "\ud83d"}', '{"a":"\ufffd"}'),
    ],
)
def test_arguments_are_an_object_of_limited_depth(
    arguments: str, sent: str | None
) -> None:
    call = ToolCallPart("a", "clock", arguments)
    prepared = prepare([user_message("One"), assistant(call)], Rules())
    assert prepared[1].tool_calls[0].arguments == (sent or arguments)
