"""API keys in the admin: created and seen once, revoked, never changed."""

import re
from collections.abc import Callable
from copy import copy
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from streaming.auth.keys import issue
from streaming.auth.keys.material import NewKey, new_prefix, prove
from streaming.models import ApiKey, AuditRecord, Organization
from tests.admin.conftest import Page, list_url, notices, page_url
from tests.auth.keys.rows import make_key

pytestmark = pytest.mark.django_db

Staff = Callable[..., Client]
ADD = "/admin/streaming/apikey/add/"
KEY = re.compile(r"agk_[0-9a-f]{12}_[A-Za-z0-9_-]{43}")


def form(**changes: object) -> dict[str, object]:
    """Return the form of a key, as a browser sends it."""
    return {
        "name": "CI",
        "organization": "acme",
        "user": "",
        "scopes": ["run", "read"],
        "expires_at_0": "",
        "expires_at_1": "",
        "prefix": new_prefix(),
    } | changes


def test_a_key_is_shown_once_and_stored_nowhere(admin_client: Client) -> None:
    assert "shown once" in admin_client.get(ADD).content.decode()
    response = admin_client.post(ADD, form())
    html = response.content.decode()
    [text] = KEY.findall(html)
    assert "no-store" in response["Cache-Control"]
    key = ApiKey.objects.get()
    assert key.secret_hash == prove(text).secret_hash
    assert (key.name, key.organization.org_id) == ("CI", "acme")
    assert key.scopes == ["run", "read"]
    secret = text[-43:]
    stored = [
        *(
            row
            for model in (ApiKey, AuditRecord, LogEntry)
            for row in model.objects.values()
        ),
        *(session.get_decoded() for session in Session.objects.all()),
        *(cookie.value for cookie in admin_client.cookies.values()),
    ]
    assert secret not in repr(stored)
    for url in (page_url(key), list_url(ApiKey), "/admin/"):
        assert secret not in admin_client.get(url).content.decode()
    assert key.prefix in admin_client.get(page_url(key)).content.decode()
    record = AuditRecord.objects.get()
    user = User.objects.get()
    assert (record.action, record.actor) == ("key.created", f"user:{user.pk}")


def test_a_form_that_is_sent_again_creates_no_second_key(admin_client: Client) -> None:
    sent = form()
    admin_client.post(ADD, sent)
    html = admin_client.post(ADD, sent).content.decode()
    assert not KEY.search(html)
    errors = html.partition('<ul class="errorlist nonfield"')[2].partition("</ul>")[0]
    assert "was sent before" in errors
    assert ApiKey.objects.count() == 1


def test_two_clicks_at_the_same_time_create_one_key(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save_twice(row: ApiKey, new: NewKey, actor: str) -> None:
        issue.save_key(copy(row), NewKey.make(row.prefix), actor)  # of the first click
        issue.save_key(row, new, actor)

    monkeypatch.setattr("streaming.admin.keys.save_key", save_twice)
    response = admin_client.post(ADD, form(), follow=True)
    assert response.status_code == 200
    assert "was sent before" in notices(response.content.decode())


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": ""}, "This field is required"),
        ({"scopes": []}, "This field is required"),
        ({"scopes": ["root"]}, "Select a valid choice"),
        ({"user": "999"}, "No user has the primary key 999"),
        ({"organization": ""}, "This field is required"),
        ({"prefix": "x"}, "Open this page again"),
        (
            {"expires_at_0": "2001-01-01", "expires_at_1": "00:00"},
            "This time is in the past",
        ),
    ],
)
def test_an_invalid_form_creates_no_key(
    admin_client: Client, changes: dict[str, object], sentence: str
) -> None:
    html = admin_client.post(ADD, form(**changes)).content.decode()
    assert sentence in html
    assert not ApiKey.objects.exists()
    assert not Organization.objects.exists()


def revoke(client: Client, *keys: ApiKey) -> HttpResponse:
    """Select keys in the list and revoke them."""
    chosen = {"action": "revoke", "_selected_action": [k.pk for k in keys], "index": 0}
    response: HttpResponse = client.post(list_url(ApiKey), chosen, follow=True)  # type: ignore[assignment]
    return response


def test_keys_are_revoked(admin_client: Client, read: Page) -> None:
    for _ in range(3):
        make_key()
    first, second, third = ApiKey.objects.all()
    assert "Revoke this key" in read(page_url(first))
    told = notices(revoke(admin_client, first, second).content.decode())
    assert "2 of 2 API keys revoked." in told
    assert ApiKey.objects.get(revoked_at=None) == third
    assert "0 of 1 API keys revoked." in notices(
        revoke(admin_client, first).content.decode()
    )
    assert "Revoke this key" not in read(page_url(first))
    actions = set(AuditRecord.objects.values_list("action", "target"))
    assert actions == {("key.revoked", f"key:{key.prefix}") for key in (first, second)}


def test_the_permissions_are_to_view_to_add_and_to_revoke(staff: Staff) -> None:
    make_key()
    key = ApiKey.objects.get()
    viewer, adder = staff("view_apikey"), staff("view_apikey", "add_apikey")
    assert viewer.get(ADD).status_code == 403
    assert viewer.post(ADD, form()).status_code == 403
    revoke(viewer, key)
    revoke(adder, key)
    assert ApiKey.objects.filter(revoked_at=None).count() == 1
    assert "Revoke this key" not in viewer.get(page_url(key)).content.decode()
    assert KEY.search(adder.post(ADD, form()).content.decode())
    revoke(staff("view_apikey", "change_apikey"), key)
    assert ApiKey.objects.filter(revoked_at=None).count() == 1
    assert staff().get(list_url(ApiKey)).status_code == 403


def test_only_a_superuser_creates_keys_with_the_rights_of_others(
    staff: Staff, admin_client: Client
) -> None:
    adder = staff("view_apikey", "add_apikey")
    own, other = (
        User.objects.get(is_superuser=is_superuser) for is_superuser in (False, True)
    )
    refused: dict[str, dict[str, object]] = {
        "creates keys of other users": {"user": str(other.pk)},
        "gives the scope admin": {"scopes": ["run", "admin"]},
    }
    for sentence, changes in refused.items():
        html = adder.post(ADD, form(**changes)).content.decode()
        assert f"Only a superuser {sentence}" in html
        assert not ApiKey.objects.exists()
    assert KEY.search(adder.post(ADD, form(user=str(own.pk))).content.decode())
    rights = form(user=str(own.pk), scopes=["admin"])
    assert KEY.search(admin_client.post(ADD, rights).content.decode())


def test_not_even_a_superuser_changes_or_deletes_a_key(admin_client: Client) -> None:
    make_key(name="before")
    key = ApiKey.objects.get()
    assert admin_client.post(page_url(key), {"name": "after"}).status_code == 403
    url = reverse("admin:streaming_apikey_delete", args=[key.pk])
    assert admin_client.post(url, {"post": "yes"}).status_code == 403
    assert ApiKey.objects.get().name == "before"


def test_the_list_filters_by_state_and_finds_keys(read: Page) -> None:
    now = timezone.now()
    make_key(name="valid one", expires_at=now + timedelta(days=1))
    make_key(name="old one", expires_at=now - timedelta(days=1))
    make_key("umbrella", name="gone one", revoked_at=now, expires_at=now)
    shown = {
        state: {
            name
            for name in ("valid one", "old one", "gone one")
            if name in read(list_url(ApiKey), state=state)
        }
        for state in ("active", "expired", "revoked", "")
    }
    assert shown == {
        "active": {"valid one"},
        "expired": {"old one"},
        "revoked": {"gone one"},
        "": {"valid one", "old one", "gone one"},
    }
    found = read(list_url(ApiKey), q="umbrella")
    assert "gone one" in found
    assert "valid one" not in found


def test_a_name_is_escaped(read: Page) -> None:
    make_key(name="<script>x</script>")
    for url in (list_url(ApiKey), page_url(ApiKey.objects.get())):
        assert "<script>x" not in read(url)
