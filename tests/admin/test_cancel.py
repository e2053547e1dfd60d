"""Cancelling runs from the admin."""

from collections.abc import Callable
from contextlib import AsyncExitStack

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from streaming.models import Run
from streaming.storage import database
from streaming.testing.provider import Reply, StandInProvider
from tests import chat
from tests.admin.conftest import Page, list_url, notices, page_url
from tests.admin.history import after, make_run
from tests.client import API, Api

pytestmark = pytest.mark.django_db

Staff = Callable[..., Client]


def cancel(client: Client, *runs: Run, query: str = "") -> HttpResponse:
    """Select runs in the list and cancel them."""
    form = {
        "action": "cancel_runs",
        "_selected_action": [run.pk for run in runs],
        "index": 0,
    }
    response: HttpResponse = client.post(list_url(Run) + query, form, follow=True)  # type: ignore[assignment]
    return response


def test_running_runs_are_asked_to_stop_and_ended_ones_left_alone(
    admin_client: Client,
) -> None:
    before = timezone.now()
    running, other = make_run(status="running"), make_run(status="running")
    ended = make_run()
    said = notices(cancel(admin_client, running, ended).content.decode())
    assert "1 of 2 runs told to stop" in said
    running.refresh_from_db()
    assert running.cancel_requested_at
    assert before <= running.cancel_requested_at <= timezone.now()
    assert running.status == "running"
    for untouched in (other, ended):
        untouched.refresh_from_db()
        assert untouched.cancel_requested_at is None


def test_cancelling_only_ended_runs_says_that_there_is_nothing_to_do(
    admin_client: Client,
) -> None:
    said = notices(cancel(admin_client, make_run()).content.decode())
    assert "Nothing to cancel" in said


def test_the_first_request_to_stop_stands(admin_client: Client) -> None:
    run = make_run(status="running", cancel_requested_at=after(500))
    cancel(admin_client, run)
    run.refresh_from_db()
    assert run.cancel_requested_at == after(500)


def test_who_may_change_runs_may_cancel_them(staff: Staff) -> None:
    run = make_run(status="running")
    cancel(staff("change_run"), run)
    run.refresh_from_db()
    assert run.cancel_requested_at


def test_who_may_only_view_runs_may_not_cancel_them(staff: Staff) -> None:
    run = make_run(status="running")
    client = staff("view_run")
    assert "cancel_runs" not in client.get(list_url(Run)).content.decode()
    assert "cancel_runs" not in client.get(page_url(run)).content.decode()
    cancel(client, run)
    run.refresh_from_db()
    assert run.cancel_requested_at is None


def test_a_run_is_cancelled_from_its_page(read: Page, admin_client: Client) -> None:
    run = make_run(status="running")
    make_run(status="running")
    action = f'action="{list_url(Run)}?id={run.pk}"'
    assert action in read(page_url(run))
    html = cancel(admin_client, run, query=f"?id={run.pk}").content.decode()
    assert "1 of 1 runs told to stop" in notices(html)
    assert html.count('class="run-status') == 1
    assert action not in read(page_url(run))


def test_the_page_of_an_ended_run_offers_no_cancel(read: Page) -> None:
    assert "cancel_runs" not in read(page_url(make_run()))


def test_who_told_a_run_to_stop_stands_in_its_history(
    admin_client: Client, read: Page
) -> None:
    running, ended = make_run(status="running"), make_run()
    cancel(admin_client, running, ended)
    for run, times in ((running, 1), (ended, 0)):
        history = read(page_url(run).replace("/change/", "/history/"))
        assert history.count("Told to stop.") == times


@pytest.mark.usefixtures("model")
async def test_runs_under_way_elsewhere_are_stopped_at_the_provider(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(*[Reply(chat.pieces("Hal", "lo"), end="hang")] * 3)

    def cancel_all() -> HttpResponse:
        client = Client()
        client.force_login(User.objects.create_superuser("root"))
        return cancel(client, *Run.objects.all())

    async with AsyncExitStack() as stack:
        streams = [
            await stack.enter_async_context(
                api.open("POST", f"{API}/stream", {"input": "Hi"})
            )
            for _ in range(3)
        ]
        for stream in streams:
            await stream.until("content", 2)
        answer = await database.execute_write(cancel_all)
        assert "3 of 3 runs told to stop" in notices(answer.content.decode())
        for stream in streams:
            response = await stream.end()
            assert response.text == "Hallo"
            assert response.frames[-2].data["metadata"]["stop_reason"] == "cancelled"


def test_a_pending_run_is_listed_with_its_conversation_and_cancelled(
    admin_client: Client,
) -> None:
    active = make_run(status="running")
    pending = make_run(
        status="pending", conversation=active.conversation, input="Next?", place=1
    )
    page = admin_client.get(page_url(active.conversation)).content.decode()
    assert "Pending runs" in page
    assert f"Run {pending.pk}" in page
    assert "Next?" in page
    assert (
        pending.pk
        in admin_client.get(list_url(Run) + "?status__exact=pending").content.decode()
    )
    assert "1 of 1 runs told to stop" in notices(
        cancel(admin_client, pending).content.decode()
    )
    pending.refresh_from_db()
    assert (pending.status, pending.stop_reason) == ("cancelled", "cancelled")
    page = admin_client.get(page_url(active.conversation)).content.decode()
    assert "Pending runs" not in page


def test_a_transcript_shows_the_beginnings_of_the_first_pending_runs(
    admin_client: Client,
) -> None:
    active = make_run(status="running")
    for place in range(101):
        make_run(
            status="pending",
            conversation=active.conversation,
            input="long " * 1000,
            place=place,
        )
    with CaptureQueriesContext(connection) as queries:
        page = admin_client.get(page_url(active.conversation)).content.decode()
    assert page.count(": long long") == 100
    pending = [q["sql"] for q in queries if "'pending'" in q["sql"]]
    assert pending
    assert not [
        sql for sql in pending if "LIMIT 100" not in sql or '."input", "' in sql
    ]
