"""The history that a model receives: the newest whole exchanges, in order."""

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
from streaming.models import Conversation, Organization
from streaming.models import Message as MessageRow
from streaming.runs import history
from streaming.runs.history import CHUNK, GROWTH, read_history
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
        (CHUNK - 1, 1),
        (CHUNK, 2),  # only the second finds that there is no more
        (CHUNK + 1, 2),
        (CHUNK + CHUNK * GROWTH - 1, 2),
        (CHUNK + CHUNK * GROWTH + 1, 3),
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


def test_what_cannot_fit_is_not_read(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    asked = questions(CHUNK * 3)
    [conversation] = make_conversations(asked)
    with django_assert_num_queries(1):
        loaded = read_history(conversation, json_size(asked[-CHUNK // 2 :]))()
    assert loaded == asked[-CHUNK // 2 :]


def test_a_long_newest_turn_is_read_to_its_question() -> None:
    answer = [Message("assistant", [TextPart("More.")])] * (CHUNK * 2)
    [conversation] = make_conversations([*TURN, user_message("Go on"), *answer])
    assert read_history(conversation, 1)() == [user_message("Go on"), *answer]


def test_characters_count_as_they_are_sent_and_not_as_they_are_stored() -> None:
    asked = [user_message("Привет" * 10)] * 20
    [conversation] = make_conversations(asked)
    assert read_history(conversation, json_size(asked))() == asked
    assert read_history(conversation, json_size(asked) - 1)() == asked[1:]


@settings(max_examples=campaign.examples(25))
@given(
    lengths=st.lists(st.integers(1, 4), max_size=8),
    chunk=st.integers(1, 9),
    growth=st.integers(1, 3),
    data=st.data(),
)
def test_chunks_do_not_show(
    lengths: list[int], chunk: int, growth: int, data: st.DataObject
) -> None:
    answers = [Message("assistant", [TextPart("é" * n)]) for n in range(3)]
    messages = [m for n in lengths for m in [user_message("?"), *answers[: n - 1]]]
    limits = [json_size(messages[at:]) for at in range(len(messages) + 1)]
    budget = data.draw(st.sampled_from(limits)) + data.draw(st.integers(-1, 1))
    [conversation] = make_conversations(messages)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history, "CHUNK", chunk)
        patch.setattr(history, "GROWTH", growth)
        loaded = read_history(conversation, budget)()
    assert loaded == newest_exchanges(messages, json_size(messages) - budget)
