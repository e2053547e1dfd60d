"""The history that a model receives: the newest whole exchanges, in order."""

import json
from collections.abc import Sequence

import pytest
from django.db import connection
from django.utils.timezone import now
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest_django import DjangoAssertNumQueries

from streaming.messages import (
    Message,
    OpaquePart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
    json_size,
    newest_exchanges,
    parts_to_json,
    user_message,
)
from streaming.models import Conversation, Organization, Run
from streaming.models import Message as MessageRow
from streaming.runs.history import BLOCK, FIRST, read_chunk, read_history
from tests import campaign

pytestmark = pytest.mark.django_db

ALL = 10**9

TURN = [
    user_message('“Wie spät?”, \\ " \n 😀'),
    Message(
        "assistant",
        [
            ThinkingPart("Hm.", "anthropic", {"signature": "sig"}),
            OpaquePart("openai", {"phase": "commentary"}),
            ToolCallPart("a", "clock", '{"city": "Köln"}'),
        ],
    ),
    Message("tool", [ToolResultPart("a", "clock", "12:00", is_error=True)]),
    Message("assistant", []),
    Message("assistant", [TextPart("Zwölf."), TextPart("")]),
]


def make_conversations(*together: Sequence[Message]) -> list[Conversation]:
    """Conversations that were held at the same time."""
    organization, _ = Organization.objects.get_or_create(org_id="acme")
    held = [Conversation.objects.create(organization=organization) for _ in together]
    rows = [
        MessageRow(
            conversation=conversation,
            role=messages[at].role,
            parts=parts_to_json(messages[at].parts),
        )
        for at in range(max(map(len, together)))
        for conversation, messages in zip(held, together, strict=True)
        if at < len(messages)
    ]
    MessageRow.objects.bulk_create(rows)
    return held


def questions(count: int) -> list[Message]:
    return [user_message(f"Question {number}") for number in range(count)]


def test_all_parts_of_a_turn_come_back() -> None:
    [conversation] = make_conversations(TURN)
    assert read_history(conversation, ALL)() == TURN


def test_a_conversation_in_which_nothing_was_said_has_no_history() -> None:
    [conversation] = make_conversations([])
    assert read_history(conversation, ALL)() == []


@pytest.mark.parametrize(
    ("count", "reads"),
    [
        (1, 1),
        (FIRST - 1, 1),
        (FIRST, 2),  # only the second finds that there is no more
        (FIRST + BLOCK, 2),
        (5000, 2),
    ],
)
def test_many_messages_come_in_their_order_in_few_reads(
    count: int, reads: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    mine, theirs = make_conversations(
        questions(count), [user_message("Theirs")] * count
    )
    with django_assert_num_queries(reads):
        assert read_history(mine, ALL)() == questions(count)
    assert len(read_history(theirs, ALL)()) == count


def test_a_message_that_was_changed_keeps_its_place() -> None:
    [conversation] = make_conversations(questions(10))
    MessageRow.objects.filter(parts__0__text="Question 3").update(created_at=now())
    if connection.vendor == "postgresql":  # which reads them as they were written, then
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_indexscan = off")
            cursor.execute("SET LOCAL enable_bitmapscan = off")
    assert read_history(conversation, ALL)() == questions(10)


@pytest.mark.parametrize("text", ["x", "x" * 20_000, "Привет"])
def test_what_cannot_fit_is_not_read(
    text: str, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    asked = [user_message(text)] * 500
    [conversation] = make_conversations(asked)
    with django_assert_num_queries(2):
        loaded = read_history(conversation, json_size(asked[-100:]))()
    assert loaded == asked[-100:]
    chars = len(json.dumps(parts_to_json(asked[0].parts), ensure_ascii=False))
    if connection.vendor == "sqlite":
        chars = len(json.dumps(parts_to_json(asked[0].parts)))
    chunk = read_chunk(conversation, [], 100 * chars)
    assert chunk
    assert 100 <= len(chunk.ids) <= 100 + BLOCK


def test_a_long_newest_turn_is_read_to_its_question(
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    answer = [Message("assistant", [TextPart("More.")])] * 400
    [conversation] = make_conversations([*TURN, user_message("Go on"), *answer])
    with django_assert_max_num_queries(8):
        assert read_history(conversation, 1)() == [user_message("Go on"), *answer]


def test_characters_count_as_they_are_sent_and_not_as_they_are_stored() -> None:
    asked = [user_message("Привет" * 10)] * 20
    [conversation] = make_conversations(asked)
    assert read_history(conversation, json_size(asked))() == asked
    assert read_history(conversation, json_size(asked) - 1)() == asked[1:]


@settings(max_examples=campaign.examples(25))
@given(
    lengths=st.lists(st.integers(1, 40), max_size=8),
    text=st.sampled_from(["é", "x", "x" * 300, " ", "日本" * 20]),
    data=st.data(),
)
def test_the_history_is_the_newest_exchanges_that_fit(
    lengths: list[int], text: str, data: st.DataObject
) -> None:
    answers = [Message("assistant", [TextPart(text * n)]) for n in range(40)]
    messages = [m for n in lengths for m in [user_message("?"), *answers[: n - 1]]]
    limits = [json_size(messages[at:]) for at in range(len(messages) + 1)]
    drawn = data.draw(st.sampled_from(limits)) + data.draw(st.integers(-1, 1))
    budget = max(drawn, 1)
    [conversation] = make_conversations(messages)
    loaded = read_history(conversation, budget)()
    assert loaded == newest_exchanges(messages, json_size(messages) - budget)


@settings(max_examples=campaign.examples(25))
@given(
    refused=st.lists(st.booleans(), min_size=1, max_size=30),
    answers=st.integers(1, 3),
    kept=st.integers(1, 30),
)
def test_refused_exchanges_are_left_out_and_take_no_room(
    refused: list[bool], answers: int, kept: int
) -> None:
    [conversation] = make_conversations([])
    expected: list[Message] = []
    for number, is_refused in enumerate(refused):
        run = Run.objects.create(
            organization=conversation.organization,
            conversation=conversation,
            status="completed",
            stop_reason="refusal" if is_refused else "end_turn",
        )
        answer = Message("assistant", [TextPart("Hm." * 100)])
        said = [user_message(str(number)), *([answer] * answers)]
        MessageRow.objects.bulk_create(
            MessageRow(
                conversation=conversation,
                run=run,
                role=message.role,
                parts=parts_to_json(message.parts),
            )
            for message in said
        )
        expected += [] if is_refused else said
    budget = json_size(expected[-kept * (answers + 1) :]) or 1
    loaded = read_history(conversation, budget)()
    assert loaded == newest_exchanges(expected, json_size(expected) - budget)
