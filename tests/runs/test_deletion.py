"""Deletion in short transactions, which an interruption leaves in order."""

import asyncio
from functools import partial

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from streaming.messages import TextPart, parts_to_json
from streaming.models import (
    Conversation,
    ConversationText,
    EventSegment,
    Message,
    Organization,
    Run,
)
from streaming.runs.deletion import (
    delete_conversations,
    delete_from_thread,
    delete_organizations,
    delete_some,
)
from streaming.storage import database
from tests.faults.database import FaultyDatabase

pytestmark = pytest.mark.django_db

EVERYTHING = (
    *(Organization, Conversation, ConversationText, Run, Message, EventSegment),
)


def make_conversation(
    runs: int = 1, segments: int = 2, org_id: str = "acme", status: str = "completed"
) -> Conversation:
    """Make a conversation with runs, two messages of each, and their logs."""
    organization, _ = Organization.objects.get_or_create(org_id=org_id)
    made = Conversation.objects.create(organization=organization)
    ConversationText.objects.create(conversation=made, text="text")
    for _ in range(runs):
        run = Run.objects.create(
            organization=organization, conversation=made, status=status, input="Hi"
        )
        for role in ("user", "assistant"):
            parts = parts_to_json([TextPart(role)])
            Message.objects.create(conversation=made, run=run, role=role, parts=parts)
        EventSegment.objects.bulk_create(
            EventSegment(run=run, first_id=n, last_id=n, events="{}")
            for n in range(1, segments + 1)
        )
    return made


def counts() -> list[int]:
    return [model.objects.count() for model in EVERYTHING]


def test_each_transaction_deletes_about_its_limit_and_the_rest_stays_whole() -> None:
    talk = make_conversation(runs=30, segments=3)
    other = make_conversation()
    chosen = Conversation.objects.filter(pk=talk.pk)
    steps = 0
    more = True
    while more:
        before = sum(counts())
        more = delete_some(chosen, 20).more
        assert before - sum(counts()) <= 20 + 100
        steps += 1
        # What is left is a conversation of whole exchanges, but for the one in work.
        broken = [
            run
            for run in Run.objects.all()
            if sorted(run.messages.values_list("role", flat=True))
            != ["assistant", "user"]
        ]
        assert len(broken) <= 100
    assert steps > 3
    assert list(Conversation.objects.all()) == [other]
    assert counts() == [1, 1, 1, 1, 2, 2]


def test_a_step_does_not_look_through_what_was_deleted_before() -> None:
    for _ in range(120):
        make_conversation()
    chosen = Conversation.objects.all()
    queries: list[int] = []
    more = True
    while more:
        with CaptureQueriesContext(connection) as captured:
            more = delete_some(chosen, 100).more
        queries.append(len(captured))
    assert max(queries[1:-1]) <= max(queries[0], 20) * 2
    assert counts() == [1, 0, 0, 0, 0, 0]


@pytest.mark.django_db(transaction=True)
async def test_an_interrupted_deletion_is_finished_by_the_next() -> None:
    talk = await database.execute_write(make_conversation, 30, 3)
    access = FaultyDatabase()
    chosen = Conversation.objects.filter(pk=talk.pk)
    deleting = asyncio.create_task(delete_conversations(access, chosen, 10))
    while access.writes.count("delete_some") < 3:  # noqa: ASYNC110  (as in a test of the client: the access has no event)
        await asyncio.sleep(0)
    deleting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await deleting
    assert await database.execute_read(Run.objects.count) > 0
    await delete_conversations(database.default, chosen)
    assert await database.execute_read(counts) == [1, 0, 0, 0, 0, 0]


@pytest.mark.django_db(transaction=True)
async def test_an_organization_goes_with_all_that_is_its_own() -> None:
    for org_id in ("acme", "umbrella"):
        for _ in range(60):
            await database.execute_write(make_conversation, org_id=org_id)
    gone = await Organization.objects.aget(org_id="acme")
    access = FaultyDatabase()
    await delete_organizations(access, [gone.pk])
    assert access.writes.count("delete_some") >= 1
    assert await database.execute_read(counts) == [1, 60, 60, 60, 120, 120]


@pytest.mark.django_db(transaction=True)
async def test_active_runs_are_returned() -> None:
    talk = await database.execute_write(
        partial(make_conversation, segments=50, status="running")
    )
    chosen = Conversation.objects.filter(pk=talk.pk)
    run = await Run.objects.aget()
    assert await delete_conversations(database.default, chosen, 10) == [run.pk]
    assert await database.execute_read(counts) == [1, 0, 0, 0, 0, 0]


@pytest.mark.django_db(transaction=True)
def test_a_thread_deletes_for_a_limited_time() -> None:
    for _ in range(3):
        make_conversation()
    chosen = Conversation.objects.all()
    delete = partial(delete_conversations, conversations=chosen)
    assert not delete_from_thread(delete, 0)
    assert delete_from_thread(delete, 30)
    assert counts() == [1, 0, 0, 0, 0, 0]
    database.close()
