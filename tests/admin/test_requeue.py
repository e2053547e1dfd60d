"""Returning runs to the queue from the admin."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import DatabaseError
from django.http import HttpResponse
from django.test import Client

from streaming import audit
from streaming.models import AuditRecord, Run
from streaming.storage import database
from streaming.testing.provider import Reply, StandInProvider
from tests import chat
from tests.admin.conftest import list_url, notices
from tests.admin.history import make_run
from tests.client import API, Api

pytestmark = pytest.mark.django_db

Staff = Callable[..., Client]


def requeue(client: Client, *runs: Run) -> str:
    """Select runs in the list and return them to the queue; return the notice."""
    form = {
        "action": "requeue_runs",
        "_selected_action": [run.pk for run in runs],
        "index": 0,
    }
    response: HttpResponse = client.post(list_url(Run), form, follow=True)  # type: ignore[assignment]
    return notices(response.content.decode())


def test_running_runs_return_to_the_queue_and_others_are_left_alone(
    admin_client: Client,
) -> None:
    running = make_run(status="running", worker="w", attempt=1, restarts=True)
    strict = make_run(status="running", worker="w", attempt=1)
    ended = make_run()
    said = requeue(admin_client, running, strict, ended)
    assert "1 of 3 runs returned to the queue" in said
    for run, status in (
        (running, "queued"),
        (strict, "running"),
        (ended, "completed"),
    ):
        run.refresh_from_db()
        assert run.status == status
    assert running.worker == ""
    assert running.crashes == 0
    [record] = AuditRecord.objects.filter(action="run.requeued")
    assert record.target == f"run:{running.pk}"
    assert record.details == {"worker": "w"}


def test_a_run_is_requeued_with_its_records_or_not_at_all(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = [
        make_run(status="running", worker="w", attempt=1, restarts=True)
        for _ in range(2)
    ]
    targets: list[str] = []
    record = audit.record

    def fail_at_second(action: str, **fields: Any) -> None:  # noqa: ANN401
        targets.append(fields["target"])
        if len(targets) == 2:
            raise DatabaseError
        record(action, **fields)

    monkeypatch.setattr(audit, "record", fail_at_second)
    with pytest.raises(DatabaseError):
        requeue(admin_client, *chosen)
    requeued = Run.objects.get(status="queued")
    assert Run.objects.filter(status="running").count() == 1
    assert LogEntry.objects.get().object_id == requeued.pk
    [kept] = AuditRecord.objects.filter(action="run.requeued")
    assert kept.target == targets[0] == f"run:{requeued.pk}"


def test_viewing_runs_is_no_permission_to_requeue_them(staff: Staff) -> None:
    run = make_run(status="running", worker="w", attempt=1, restarts=True)
    requeue(staff("view_run"), run)
    run.refresh_from_db()
    assert run.status == "running"


@pytest.mark.usefixtures("model")
async def test_a_requeued_run_is_continued_and_its_reader_sees_one_answer(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(
        Reply(chat.pieces("Hal", "lo"), end="hang"),
        chat.answer("Good", " day"),
    )

    def take_back() -> str:
        client = Client()
        client.force_login(User.objects.create_superuser("root"))
        return requeue(client, *Run.objects.all())

    body = {"input": "Hi", "restarts": True}
    async with api.open("POST", f"{API}/stream", body) as stream:
        await stream.until("content", 2)
        assert "1 of 1 runs returned" in await database.execute_write(take_back)
        restarted = await stream.until("restarted")
        response = await stream.end()
    assert restarted.data["metadata"]["attempt"] == 2
    after = response.frames[response.events.index("restarted") :]
    text = "".join(f.data["content"] for f in after if f.event == "content")
    assert text == "Good day"
    run = await Run.objects.aget()
    assert (run.status, run.attempt) == ("completed", 2)
