"""The removal of expired event logs, conversations and idempotency keys."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import DataError, connection
from django.test import Client
from django.utils import timezone

from streaming import audit
from streaming.models import (
    AuditRecord,
    Conversation,
    EventSegment,
    LogState,
    Message,
    Organization,
    Run,
    RunStatus,
)
from streaming.runs import maintenance, retention
from streaming.runs.timings import Timings
from streaming.storage import database
from tests.admin.conftest import page_url
from tests.client import API, SECONDS, Api
from tests.conftest import ChangeSettings
from tests.faults.database import install_service


def days_ago(days: float) -> datetime:
    return timezone.now() - timedelta(days=days)


def make_run(age: float, **values: object) -> Run:
    """A run that ended so many days ago, with a message and two rows of its log."""
    organization, _ = Organization.objects.get_or_create(org_id="acme")
    conversation = Conversation.objects.create(
        organization=organization, updated_at=days_ago(age)
    )
    usual = {
        "status": RunStatus.COMPLETED,
        "created_at": days_ago(age),
        "ended_at": days_ago(age),
    }
    run = Run.objects.create(
        organization=organization, conversation=conversation, **usual | values
    )
    Message.objects.create(conversation=conversation, run=run, role="user")
    EventSegment.objects.create(run=run, first_id=1, last_id=1, events="{}")
    EventSegment.objects.create(run=run, first_id=2, last_id=2, events="{}")
    return run


def running(age: float) -> Run:
    return make_run(age, status=RunStatus.RUNNING, ended_at=None)


@pytest.mark.django_db
def test_old_logs_go_and_what_was_said_stays() -> None:
    old, young, under_way = make_run(31), make_run(29), running(40)
    assert retention.remove_logs(maintenance.days_ago(30)).count == 1
    assert not retention.remove_logs(maintenance.days_ago(30)).more
    left = set(EventSegment.objects.values_list("run", flat=True))
    assert left == {young.id, under_way.id}
    assert Run.objects.count() == Message.objects.count() == 3
    old.refresh_from_db()
    assert old.log_state == LogState.REMOVED


@pytest.mark.django_db
def test_the_oldest_go_first_and_a_few_at_a_time() -> None:
    runs = [make_run(40 + age) for age in range(5)]
    assert retention.remove_logs(maintenance.days_ago(30), logs=2).count == 2
    left = set(EventSegment.objects.values_list("run", flat=True))
    assert left == {run.id for run in runs[:3]}


@pytest.mark.django_db
def test_a_long_log_is_removed_in_short_transactions() -> None:
    run = make_run(40)
    EventSegment.objects.bulk_create(
        EventSegment(run=run, first_id=n, last_id=n, events="{}") for n in range(3, 21)
    )
    counts = []
    removed = retention.Removed(0, more=True)
    while removed.more:
        before = EventSegment.objects.count()
        removed = retention.remove_logs(maintenance.days_ago(30), rows=6)
        counts.append((before - EventSegment.objects.count(), removed.count))
    assert counts == [(6, 0), (6, 0), (6, 0), (2, 1), (0, 0)]
    run.refresh_from_db()
    assert run.log_state == LogState.REMOVED


@pytest.mark.django_db
def test_conversations_are_forgotten_in_short_transactions() -> None:
    for _ in range(5):
        make_run(100)
    counts = []
    removed = retention.Removed(0, more=True)
    while removed.more:
        removed = retention.forget_conversations(maintenance.days_ago(90), rows=3)
        counts.append(removed.count)
    assert sum(counts) == 5
    assert len(counts) > 5
    assert not Run.objects.exists()


@pytest.mark.django_db
def test_conversations_are_forgotten_unless_something_runs_there() -> None:
    old, young, under_way = make_run(91), make_run(89), running(100)
    assert retention.forget_conversations(maintenance.days_ago(90)).count == 1
    assert retention.forget_conversations(maintenance.days_ago(90)).count == 0
    kept = {young.conversation_id, under_way.conversation_id}
    assert set(Conversation.objects.values_list("pk", flat=True)) == kept
    assert not Run.objects.filter(pk=old.pk).exists()


@pytest.mark.django_db
def test_idempotency_keys_older_than_a_day_are_free() -> None:
    old, young = make_run(1.1), make_run(0.9)
    for key, run in (("a", old), ("b", young)):
        Run.objects.filter(pk=run.pk).update(idempotency_key=key)
    assert retention.free_idempotency_keys().count == 1
    assert set(Run.objects.values_list("idempotency_key", flat=True)) == {None, "b"}


@pytest.mark.django_db
def test_nothing_is_later_than_a_century() -> None:
    assert timezone.now() - maintenance.days_ago(10**12) < timedelta(days=36_600)


async def test_a_run_without_its_log_answers_but_has_nothing_to_stream(
    api: Api,
) -> None:
    whole = await api.stream("What is 2 + 2?")
    run_id = whole.headers["x-run-id"]
    await Run.objects.aupdate(ended_at=days_ago(8))
    assert await maintenance.prune(database.default, 7, 0) == {
        "idempotency_keys": 0,
        "event_logs": 1,
    }
    assert not await EventSegment.objects.aexists()
    url = f"{API}/runs/{run_id}"
    for query in ("", "?after=3"):
        assert (await api.get(f"{url}/events{query}")).status == 204
    resumed = await api.post(
        f"{API}/stream", {"input": "What is 2 + 2?"}, last_event_id=f"{run_id}:3"
    )
    assert resumed.events == ["connected"]
    state = (await api.get(url)).json
    assert state["status"] == "completed"
    assert state["output"] == whole.text


async def test_a_process_does_it_by_itself(
    api: Api, agent_settings: ChangeSettings
) -> None:
    agent_settings(
        run_retention_days=30, conversation_retention_days=90, event_flush_ms=5
    )
    install_service(timings=Timings(compaction=0.05, retention=0.05, compact_after=0.0))
    old = await database.execute_write(make_run, 31)
    older = await database.execute_write(make_run, 91)
    run_id = (await api.stream("count to 50")).headers["x-run-id"]
    async with asyncio.timeout(SECONDS):
        while True:
            states = dict([r async for r in Run.objects.values_list("id", "log_state")])
            if states == {run_id: LogState.COMPACTED, old.id: LogState.REMOVED}:
                break
            await asyncio.sleep(0.05)
    assert await EventSegment.objects.acount() == 1
    assert not await Conversation.objects.filter(pk=older.conversation_id).aexists()


def prune_runs(*arguments: str) -> str:
    output = StringIO()
    call_command("prune_runs", *arguments, stdout=output)
    return output.getvalue()


@pytest.mark.usefixtures("transactional_db")
def test_the_command_says_what_it_removes() -> None:
    for age in (10, 40, 400):
        make_run(age)
    Run.objects.filter(created_at__lt=days_ago(20)).update(idempotency_key=None)
    Run.objects.filter(created_at__gt=days_ago(20)).update(idempotency_key="k")
    options = ("--days", "30", "--conversations", "90")
    assert prune_runs(*options, "--dry-run").splitlines() == [
        "Idempotency keys to release: 1",
        "Conversations to delete: 1",
        "Event logs to remove: 2",
    ]
    assert Conversation.objects.count() == 3
    assert prune_runs(*options).splitlines() == [
        "Idempotency keys released: 1",
        "Conversations deleted: 1",
        "Event logs removed: 1",
    ]
    assert EventSegment.objects.count() == 2
    assert Conversation.objects.count() == 2


@pytest.mark.usefixtures("transactional_db")
def test_the_command_goes_by_the_settings(agent_settings: ChangeSettings) -> None:
    make_run(40)
    assert "kept for ever" in prune_runs()
    assert EventSegment.objects.count() == 2
    agent_settings(run_retention_days=30)
    assert "Event logs removed: 1" in prune_runs()
    with pytest.raises(CommandError, match="negative"):
        prune_runs("--days=-1")


@pytest.mark.usefixtures("transactional_db")
def test_old_records_of_the_audit_log_are_removed(
    agent_settings: ChangeSettings,
) -> None:
    for age in (10, 40, 400):
        audit.record("key.revoked", actor=f"user:{age}")
        AuditRecord.objects.filter(actor=f"user:{age}").update(at=days_ago(age))
    assert "Audit" not in prune_runs()
    agent_settings(audit_retention_days=30)
    assert "Audit records to remove: 2" in prune_runs("--dry-run")
    assert "Audit records removed: 2" in prune_runs()
    assert AuditRecord.objects.get().actor == "user:10"


@pytest.fixture
def invoices(transactional_db: None) -> Iterator[Callable[[int], None]]:
    """Refer to a conversation in a table of the project, which forbids its deletion."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE invoice"
            " (conversation BIGINT REFERENCES streaming_conversation (id))"
        )

        def refer(key: int) -> None:
            cursor.execute("INSERT INTO invoice VALUES (%s)", [key])

        yield refer
        cursor.execute("DROP TABLE invoice")


def test_a_conversation_that_other_rows_refer_to_keeps_no_other_row(
    invoices: Callable[[int], None],
    agent_settings: ChangeSettings,
    caplog: pytest.LogCaptureFixture,
) -> None:
    made = [make_run(age) for age in (120, 110, 100, 95, 40)]
    kept = [made[0], made[2]]
    for run in kept:
        invoices(run.conversation_id)
    audit.record("key.revoked", actor="user:1")
    AuditRecord.objects.update(at=days_ago(40))
    agent_settings(audit_retention_days=30)
    for deleted, logs in ((2, 3), (0, 0)):
        assert prune_runs("--days=30", "--conversations=90").splitlines()[1:] == [
            f"Conversations deleted: {deleted}",
            f"Event logs removed: {logs}",
            f"Audit records removed: {deleted // 2}",
        ]
    left = set(Conversation.objects.values_list("pk", flat=True))
    assert left == {run.conversation_id for run in (*kept, made[4])}
    assert Message.objects.count() == 3
    message = "conversations not deleted, other rows refer to 2: IntegrityError"
    assert [line[: len(message)] for line in caplog.messages] == [message] * 2


@pytest.mark.usefixtures("transactional_db")
def test_a_kind_that_cannot_be_removed_keeps_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail() -> retention.Removed:
        raise DataError

    monkeypatch.setattr(retention, "free_idempotency_keys", fail)
    make_run(40)
    with pytest.raises(DataError):
        prune_runs("--days=30")
    assert not EventSegment.objects.exists()


@pytest.mark.django_db
def test_the_admin_says_that_a_log_was_removed(admin_client: Client) -> None:
    run = make_run(40)
    retention.remove_logs(maintenance.days_ago(30))
    page = admin_client.get(page_url(run)).content.decode()
    assert "event log was removed" in page
