"""Statements that are compiled once write the same rows as the ORM."""

from datetime import timedelta

import pytest
from django.forms.models import model_to_dict
from django.utils import timezone

from streaming.models import Conversation, Message, Organization, Run, RunStatus
from streaming.storage.sql import (
    Change,
    count,
    insert_all,
    insert_with_keys,
    update_all,
)

pytestmark = pytest.mark.django_db


def make_run(org_id: str = "acme") -> Run:
    """Return a run that is not stored, with a value of each kind."""
    organization = Organization.objects.create(org_id=org_id)
    conversation = Conversation.objects.create(organization=organization)
    return Run(
        organization=organization,
        conversation=conversation,
        input="What's “15%” of 240?",
        context={"who": "Zoë", "none": None},
        background=True,
        provider="demo",
        model="demo",
        used_tools=["clock"],
        first_token_at=timezone.now() - timedelta(seconds=1),
    )


def test_an_inserted_row_is_read_back_unchanged() -> None:
    run = make_run()
    insert_all([run])
    assert model_to_dict(Run.objects.get(pk=run.pk)) == model_to_dict(run)
    assert Run.objects.get(pk=run.pk).created_at == run.created_at


def test_an_inserted_row_gets_its_key_and_can_be_saved() -> None:
    organization = Organization(org_id="acme")
    insert_with_keys([organization])
    organization.org_id = "umbrella"
    organization.save()
    assert Organization.objects.get().org_id == "umbrella"
    assert Organization.objects.get().pk == organization.pk


def test_many_rows_are_inserted_in_their_order() -> None:
    run = make_run()
    insert_all([run])
    texts = [f"message {number}" for number in range(50)]
    insert_all(
        Message(conversation=run.conversation, run=run, role="user", parts=[text])
        for text in texts
    )
    assert [message.parts for message in Message.objects.all()] == [[t] for t in texts]


def test_inserting_no_rows_does_nothing() -> None:
    insert_all([])
    assert not Message.objects.exists()


def test_keys_come_in_the_order_of_the_rows() -> None:
    many = [Organization(org_id=f"org {number}") for number in range(50)]
    insert_with_keys(many)
    insert_with_keys([])
    for organization in many:
        assert Organization.objects.get(pk=organization.pk).org_id == str(organization)


def test_an_update_changes_the_rows_that_match_and_counts_them() -> None:
    run, other = make_run(), make_run("umbrella")
    insert_all([run, other])
    ended = timezone.now()
    values = {
        "status": RunStatus.COMPLETED,
        "used_tools": ["a", "b"],
        "ended_at": ended,
    }
    assert update_all(Run, [({"id": run.id, "worker": "another"}, values)]) == 0
    assert Run.objects.get(id=run.id).status == RunStatus.RUNNING
    second = values | {"used_tools": ["c"]}
    changes: list[Change] = [
        ({"id": run.id, "worker": ""}, values),
        ({"id": "none", "worker": ""}, values),
        ({"id": other.id, "worker": ""}, second),
    ]
    assert update_all(Run, changes) == 2
    stored = Run.objects.get(id=run.id)
    assert (stored.status, stored.used_tools, stored.ended_at) == tuple(values.values())
    assert Run.objects.get(id=other.id).used_tools == ["c"]
    assert update_all(Run, []) == 0


def test_a_count_is_of_the_rows_that_match() -> None:
    run = make_run()
    insert_all([run])
    insert_all(
        Message(conversation=run.conversation, run=run, role=role, parts=[])
        for role in ("user", "assistant", "assistant")
    )
    assert count(Message, run=run.id, role="assistant") == 2
    assert count(Message, run=run.id, role="tool") == 0
    assert count(Message, run="another") == 0


def test_text_that_looks_like_json_is_stored_unchanged() -> None:
    run = make_run()
    run.input, run.error_message, run.context = "null", '{"a": 1}', "null"
    insert_all([run])
    stored = Run.objects.get()
    assert (stored.input, stored.error_message) == ("null", '{"a": 1}')
    assert stored.context == "null"
