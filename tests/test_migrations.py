"""Migrations carry what is there, in both directions; the models' indexes suffice."""

from collections.abc import Iterator

import pytest
from django.apps import apps
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.state import StateApps
from django.db.models import ForeignKey, Model
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from streaming.models import Conversation
from streaming.storage.search import matching

NAMES = ("Organization", "Conversation", "Run", "Message", "EventSegment")
#: The migration before that of the keys of accounts.
KEYS_BEFORE = "0014_workers"
#: The migration before that of branches.
BRANCHES_BEFORE = "0016_pending_runs"
Rows = dict[str, list[dict[str, object]]]


def migrate(name: str) -> StateApps:
    """Go to a migration; the models as they are there."""
    executor = MigrationExecutor(connection)
    executor.migrate([("streaming", name)])
    state: StateApps = executor.loader.project_state(("streaming", name)).apps
    return state


def newest() -> str:
    leaves = MigrationExecutor(connection).loader.graph.leaf_nodes("streaming")
    return str(leaves[0][1])


@pytest.fixture
def _at_the_newest_afterwards(transactional_db: None) -> Iterator[None]:
    yield
    migrate(newest())


def rows(models: StateApps) -> Rows:
    found = {name: models.get_model("streaming", name) for name in NAMES}
    return {name: list(m.objects.order_by("pk").values()) for name, m in found.items()}


def fill(models: StateApps) -> None:
    """Two rows of each model."""
    organization, conversation, run, message, segment = (
        models.get_model("streaming", name) for name in NAMES
    )
    for at in range(2):
        tenant = organization.objects.create(org_id=f"org {at}")
        talk = conversation.objects.create(
            organization=tenant, conversation_id=f"c{at}"
        )
        asked = run.objects.create(
            id=f"run{at}", organization=tenant, conversation=talk, input="Hi"
        )
        message.objects.create(conversation=talk, run=asked, role="user", parts=[at])
        segment.objects.create(run=asked, first_id=1, last_id=1, events=f"{at}")


@pytest.mark.usefixtures("_at_the_newest_afterwards")
def test_fewer_indexes_keep_every_row() -> None:
    before = migrate("0002_logs_that_age")
    fill(before)
    there = rows(before)
    assert rows(migrate("0003_one_index_for_each_use")) == there
    assert rows(migrate("0002_logs_that_age")) == there


def first_fields(model: type[Model]) -> set[str]:
    """What the unconditional indexes and constraints of a model begin with."""
    each = [*model._meta.indexes, *model._meta.constraints]
    return {
        list(one.fields)[0].lstrip("-")
        for one in each
        if getattr(one, "fields", None) and getattr(one, "condition", None) is None
    }


MODELS = list(apps.get_app_config("streaming").get_models())


@pytest.mark.parametrize("model", MODELS)
def test_every_foreign_key_has_an_index(model: type[Model]) -> None:
    keys = [f for f in model._meta.concrete_fields if isinstance(f, ForeignKey)]
    bare = {key.name for key in keys if not getattr(key, "db_index")}  # noqa: B009  (the stubs lack it)
    assert bare <= first_fields(model)


@pytest.mark.usefixtures("_at_the_newest_afterwards")
def test_queued_runs_and_attempts_keep_every_row_in_both_directions() -> None:
    before = migrate("0003_one_index_for_each_use")
    fill(before)
    there = rows(before)
    with CaptureQueriesContext(connection) as queries:
        after = migrate("0004_queued_runs_and_attempts")
    copied = [q["sql"] for q in queries if '"new__streaming' in q["sql"]]
    assert copied == []  # a table of many runs is not rebuilt
    runs = after.get_model("streaming", "Run").objects
    assert list(runs.values_list("attempt", flat=True)) == [0, 0]
    runs.filter(pk="run0").update(status="queued")
    with CaptureQueriesContext(connection) as queries:
        back = rows(migrate("0003_one_index_for_each_use"))
    assert not any('"new__streaming' in q["sql"] for q in queries)
    ended = back["Run"][0]
    assert (ended["status"], ended["error_code"]) == ("failed", "interrupted")
    back["Run"][0] = there["Run"][0]
    assert back == there


@pytest.mark.usefixtures("_at_the_newest_afterwards")
def test_conversations_get_their_texts_and_keep_every_row_in_both_directions() -> None:
    before = migrate("0004_queued_runs_and_attempts")
    fill(before)
    before.get_model("streaming", "Conversation").objects.filter(pk__gt=0).update(
        title="Grün"
    )
    there = rows(before)
    with CaptureQueriesContext(connection) as queries:
        after = migrate("0006_fill_conversation_texts")
    assert not any('"new__streaming' in q["sql"] for q in queries)
    assert rows(after) == there
    texts = after.get_model("streaming", "ConversationText").objects
    assert set(texts.values_list("text", flat=True)) == {"grun\nhi"}
    assert Conversation.objects.filter(matching("GRÜN")).count() == 2
    texts.filter(conversation__title="Grün").first().delete()
    migrate("0005_conversation_texts")
    migrate("0006_fill_conversation_texts")  # as after an interruption
    assert Conversation.objects.filter(matching("grün")).count() == 2
    back = migrate("0004_queued_runs_and_attempts")
    assert rows(back) == there
    with connection.cursor() as cursor:
        tables = connection.introspection.table_names(cursor)
    assert not any("search" in name or "text" in name for name in tables)


@pytest.mark.usefixtures("_at_the_newest_afterwards")
def test_the_keys_of_accounts_become_unambiguous_in_both_directions() -> None:
    keys = {
        "key:3f9a0c1d2e4b": "key:3f9a0c1d2e4b",
        "user:acme:7": "user:acme:7",
        "organization:a:b": "organization:a%3Ab",
        "user:a:b:7": "user:a%3Ab:7",
        "user:acme:b:7": "user:acme:b%3A7",
        "user:a%3Ab:7": "user:a%253Ab:7",
        "agent:support:acme:anon:x": "agent:support:acme:anon%3Ax",
        "agent::a:b:key:3f": "agent::a%3Ab:key%3A3f",
    }
    before = migrate(KEYS_BEFORE)
    before.get_model("streaming", "Organization").objects.create(org_id="a:b")
    create = before.get_model("streaming", "Account").objects.create
    for at, key in enumerate(keys):
        create(key=key, period="day", tokens=at, ends_at=timezone.now())
    accounts = migrate("0015_account_keys").get_model("streaming", "Account").objects
    assert dict(accounts.values_list("tokens", "key")) == dict(enumerate(keys.values()))
    back = migrate(KEYS_BEFORE).get_model("streaming", "Account").objects
    assert set(back.values_list("key", flat=True)) == keys.keys()


@pytest.mark.usefixtures("_at_the_newest_afterwards")
def test_branches_keep_every_row_in_both_directions() -> None:
    before = migrate(BRANCHES_BEFORE)
    fill(before)
    there = rows(before)
    with CaptureQueriesContext(connection) as queries:
        after = migrate("0017_branches")
        messages = after.get_model("streaming", "Message").objects
        assert not messages.exclude(parent=None, copied_from="").exists()
        assert rows(migrate(BRANCHES_BEFORE)) == there
    assert not any('"new__streaming' in q["sql"] for q in queries)
