"""The pages of workers, and their drain."""

from collections.abc import Callable

import pytest
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from streaming.models import AuditRecord, Run, Worker
from tests.admin.conftest import Page, list_url, notices, page_url
from tests.admin.history import make_run

pytestmark = pytest.mark.django_db

Staff = Callable[..., Client]
Values = dict[str, object]
LONG_AGO = "2020-01-01T00:00Z"


def make_worker(name: str = "host:1:aa", values: Values | None = None) -> Worker:
    return Worker.objects.create(name=name, host="host", pid=1, **(values or {}))


def drain(client: Client, *workers: Worker) -> HttpResponse:
    """Select workers in the list and drain them."""
    form = {
        "action": "drain",
        "_selected_action": [worker.pk for worker in workers],
        "index": 0,
    }
    response: HttpResponse = client.post(list_url(Worker), form, follow=True)  # type: ignore[assignment]
    return response


@pytest.mark.parametrize(
    ("values", "state"),
    [
        ({}, "serving"),
        ({"drain_requested_at": timezone.now(), "executing": 2}, "draining"),
        ({"drain_requested_at": timezone.now()}, "drained"),
        ({"heartbeat_at": LONG_AGO}, "lost"),
    ],
)
def test_each_state_of_a_worker_is_shown(
    read: Page, values: Values, state: str
) -> None:
    worker = make_worker(values=values)
    for url in (list_url(Worker), page_url(worker)):
        assert f">{state}</span>" in read(url)


def test_a_worker_leads_to_its_runs_and_a_run_to_its_worker(read: Page) -> None:
    worker = make_worker(values={"executing": 1})
    mine = make_run(status="running", worker=worker.name)
    other = make_run(status="running", worker="host:2:bb")
    page = read(page_url(worker))
    assert page_url(mine) in page
    assert page_url(other) not in page
    listed = read(list_url(Run), worker=worker.name, status__exact="running")
    assert page_url(mine) in listed
    assert page_url(other) not in listed
    assert f'href="{list_url(Worker)}?q=' in read(page_url(mine))


def test_a_drain_is_requested_once_and_recorded(admin_client: Client) -> None:
    one, other = make_worker(), make_worker("host:2:bb")
    said = notices(drain(admin_client, one).content.decode())
    assert "1 of 1 workers told to drain" in said
    one.refresh_from_db()
    other.refresh_from_db()
    requested = one.drain_requested_at
    assert requested
    assert other.drain_requested_at is None
    [record] = AuditRecord.objects.filter(action="worker.drained")
    assert record.target == f"worker:{one.name}"
    assert "Nothing to do" in notices(drain(admin_client, one).content.decode())
    one.refresh_from_db()
    assert one.drain_requested_at == requested


def test_viewing_workers_is_no_permission_to_drain_them(staff: Staff) -> None:
    worker, client = make_worker(), staff("view_worker")
    assert 'value="drain"' not in client.get(list_url(Worker)).content.decode()
    drain(client, worker)
    worker.refresh_from_db()
    assert worker.drain_requested_at is None


def test_the_permission_to_change_workers_drains_them(staff: Staff) -> None:
    worker = make_worker()
    drain(staff("view_worker", "change_worker"), worker)
    worker.refresh_from_db()
    assert worker.drain_requested_at


def test_workers_are_neither_added_nor_changed_nor_deleted(
    admin_client: Client,
) -> None:
    worker = make_worker()
    assert admin_client.get(list_url(Worker) + "add/").status_code == 403
    admin_client.post(page_url(worker), {"host": "elsewhere"})
    admin_client.post(page_url(worker).replace("/change/", "/delete/"), {"post": "yes"})
    worker.refresh_from_db()
    assert worker.host == "host"
