"""The messages of a long conversation come in parts, those of a short one as ever."""

from collections.abc import Sequence
from typing import Any

import pytest
from django.conf import settings as site
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.api import conversations
from streaming.api.schemas import ConversationQuery
from streaming.messages import TextPart, parts_to_json
from streaming.models import Conversation, Message, Organization, Run
from streaming.principals import Principal
from tests import campaign
from tests.client import API, Api
from tests.conftest import ChangeSettings

#: Characters of a stored message besides its text.
STORED = len('[{"text": "", "type": "text"}]')


def make_conversation(texts: Sequence[str], per_run: int = 2) -> Conversation:
    """Make a conversation whose runs have so many messages each."""
    organization, _ = Organization.objects.get_or_create(org_id="acme")
    made = Conversation.objects.create(organization=organization)
    run: Run | None = None
    for at, text in enumerate(texts):
        is_question = at % per_run == 0
        if is_question:
            run = Run.objects.create(
                organization=organization, conversation=made, status="completed"
            )
        Message.objects.create(
            conversation=made,
            run=run,
            role="user" if is_question else "assistant",
            parts=parts_to_json([TextPart(text)]),
        )
    return made


def read(conversation: Conversation, **query: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return a part of a conversation as the API does."""
    asked = ConversationQuery.model_validate(query)
    caller, name = Principal("acme"), conversation.conversation_id
    return conversations.read_conversation(caller, name, asked)


def texts_of(page: dict[str, Any]) -> list[str]:
    return [message["parts"][0]["text"] for message in page["messages"]]


@pytest.mark.django_db
@pytest.mark.parametrize("count", [0, 1, 10])
def test_a_short_conversation_has_no_cursor(count: int) -> None:
    talk = make_conversation([str(n) for n in range(count)])
    whole = read(talk)
    assert "next_cursor" not in whole
    assert texts_of(whole) == [str(n) for n in range(count)]
    assert len(whole["runs"]) == (count + 1) // 2
    assert read(talk, **{"from": "end"}) == whole
    assert read(talk, limit=count + 1) == whole


@pytest.mark.django_db
@settings(max_examples=campaign.examples(40))
@given(
    lengths=st.lists(st.integers(0, 50), max_size=20),
    limit=st.integers(1, 25),
    chars=st.integers(1, 400),
    start=st.sampled_from(["start", "end"]),
)
def test_the_parts_have_each_message_once_and_stay_within_the_bounds(
    lengths: list[int], limit: int, chars: int, start: str
) -> None:
    talk = make_conversation(["x" * n for n in lengths], per_run=3)
    keys = list(talk.messages.values_list("pk", flat=True))
    bounded = {**site.STREAMING, "CONVERSATION_PAGE_CHARS": chars}
    parts: list[list[str]] = []
    cursor: str | None = ""
    with override_settings(STREAMING=bounded):
        while cursor is not None:
            page = read(talk, limit=limit, cursor=cursor, **{"from": start})
            parts.append(texts_of(page))
            assert len(page["messages"]) <= limit
            sizes = [len(text) + STORED for text in texts_of(page)]
            assert len(sizes) == 1 or sum(sizes) <= chars
            runs = {message["run_id"] for message in page["messages"]}
            assert {run["run_id"] for run in page["runs"]} == runs
            cursor = page.get("next_cursor")
    ordered = parts if start == "start" else parts[::-1]
    assert [text for part in ordered for text in part] == ["x" * n for n in lengths]
    assert len(parts) <= max(len(keys), 1)


@pytest.mark.django_db
def test_a_part_of_a_long_conversation_takes_few_queries_and_rows() -> None:
    talk = make_conversation(["word " * 10] * 400)
    with CaptureQueriesContext(connection) as queries:
        page = read(talk, limit=50, **{"from": "end"})
    assert len(page["messages"]) == 50
    assert len(page["runs"]) == 25
    assert len(queries) <= 6


@pytest.mark.django_db
def test_a_message_longer_than_a_part_comes_alone() -> None:
    talk = make_conversation(["a", "b" * 5_000_000, "c"])
    pages = [read(talk)]
    while cursor := pages[-1].get("next_cursor"):
        pages.append(read(talk, cursor=cursor))
    assert [len(page["messages"]) for page in pages] == [1, 1, 1]


@pytest.mark.django_db
def test_messages_that_arrive_meanwhile_are_on_the_last_part() -> None:
    talk = make_conversation(["a", "b", "c"])
    first = read(talk, limit=2)
    newest = read(talk, limit=2, **{"from": "end"})
    Message.objects.create(
        conversation=talk, role="user", parts=parts_to_json([TextPart("d")])
    )
    assert texts_of(read(talk, cursor=first["next_cursor"])) == ["c", "d"]
    assert texts_of(read(talk, cursor=newest["next_cursor"])) == ["a"]


@pytest.mark.usefixtures("model")
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("cursor=nonsense", "cursor"),
        ("cursor=c2lkZXdheXN8MQ==", "cursor"),  # sideways|1
        ("cursor=c3RhcnR8eA==", "cursor"),  # start|x
        ("limit=0", "limit"),
        ("limit=x", "limit"),
        ("from=middle", "from"),
    ],
)
async def test_a_bad_part_is_explained(
    api: Api, agent_settings: ChangeSettings, query: str, field: str
) -> None:
    organization = await Organization.objects.acreate(org_id="default")
    await Conversation.objects.acreate(organization=organization, conversation_id="c")
    refused = await api.get(f"{API}/conversations/c?{query}")
    assert refused.status == 400
    assert [d["field"] for d in refused.json["details"]] == [field]
    for fine in ("", "limit=999999", "cursor=c3RhcnR8OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk="):
        assert (await api.get(f"{API}/conversations/c?{fine}")).json["messages"] == []
