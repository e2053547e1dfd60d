"""The audit log in the admin: complete, filtered, and read-only for all."""

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from streaming import audit
from streaming.models import AuditRecord, Conversation, Limit, Organization, Run
from tests.admin.conftest import Page, delete_url, list_url, page_url
from tests.admin.history import make_conversation, make_run

pytestmark = pytest.mark.django_db


def test_records_are_filtered_and_shown(read: Page) -> None:
    for org_id in ("acme", "umbrella"):
        audit.record(
            "data.exported",
            actor="command",
            target=f"organization:{org_id}",
            org_id=org_id,
            details={"rows": 3},
        )
    audit.record("key.revoked", actor="user:1", target="key:abc", org_id="acme")
    url = list_url(AuditRecord)
    assert "organization:acme" in read(url)
    assert "organization:acme" not in read(url, action="key.revoked")
    assert "organization:acme" not in read(url, org_id="umbrella")
    assert "key:abc" in read(url, q="key:abc")
    page = read(page_url(AuditRecord.objects.get(org_id="umbrella")))
    assert "organization:umbrella" in page
    assert "&quot;rows&quot;: 3" in page


def test_not_even_a_superuser_changes_a_record(admin_client: Client) -> None:
    audit.record("key.revoked", actor="user:1")
    record = AuditRecord.objects.get()
    base = "admin:streaming_auditrecord"
    for url in (
        reverse(f"{base}_add"),
        reverse(f"{base}_delete", args=[record.pk]),
        page_url(record),
    ):
        assert admin_client.post(url, {"post": "yes"}).status_code == 403
    chosen = {"action": "delete_selected", "_selected_action": [record.pk], "index": 0}
    admin_client.post(list_url(AuditRecord), chosen | {"post": "yes"})
    assert AuditRecord.objects.get() == record


def test_long_names_are_cut() -> None:
    audit.record("x" * 99, actor="x" * 99, target="x" * 999, org_id="x" * 200)
    record = AuditRecord.objects.get()
    record.full_clean()


@pytest.mark.django_db(transaction=True)
def test_deletions_and_cancels_are_recorded_without_texts(
    admin_client: Client,
) -> None:
    actor = audit.user_name(User.objects.get().pk)
    first = make_conversation(title="Private question")
    run = make_run(make_conversation("umbrella"), status="running")
    chosen = {"action": "cancel_runs", "_selected_action": [run.pk], "index": 0}
    admin_client.post(list_url(Run), chosen)
    admin_client.post(delete_url(first), {"post": "yes"})
    admin_client.post(delete_url(first.organization), {"post": "yes"})
    records = AuditRecord.objects.order_by("pk")
    assert list(records.values_list("action", "target", "org_id", "actor")) == [
        ("run.cancelled", f"run:{run.pk}", "umbrella", actor),
        ("conversation.deleted", f"conversation:{first.pk}", "acme", actor),
        (
            "organization.deleted",
            f"organization:{first.organization_id}",
            "acme",
            actor,
        ),
    ]
    assert not Conversation.objects.filter(title="Private question").exists()
    assert not Organization.objects.filter(org_id="acme").exists()
    logged = [*LogEntry.objects.values(), *records.values()]
    assert "Private question" not in repr(logged)


def test_changes_of_limits_are_recorded(admin_client: Client) -> None:
    form = {"kind": "organization", "name": "", "organization": ""}
    add = reverse("admin:streaming_limit_add")
    assert admin_client.post(add, form | {"runs_per_minute": 5}).status_code == 302
    limit = Limit.objects.get()
    change = page_url(limit)
    assert admin_client.post(change, form | {"cost_per_day": "2.50"}).status_code == 302
    assert admin_client.post(delete_url(limit), {"post": "yes"}).status_code == 302
    records = AuditRecord.objects.order_by("pk").values_list("action", "details")
    assert list(records) == [
        ("limit.created", {"kind": "organization", "runs_per_minute": "5"}),
        ("limit.changed", {"kind": "organization", "cost_per_day": "2.50"}),
        ("limit.deleted", {"kind": "organization", "cost_per_day": "2.5000"}),
    ]
    assert set(AuditRecord.objects.values_list("target", flat=True)) == {
        f"limit:{limit.pk}"
    }
