"""Permissions: history is visible to permitted users and read-only for all."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin import AdminSite
from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.auth.models import User
from django.db.models import Model
from django.http import HttpRequest
from django.test import Client, RequestFactory
from django.urls import reverse

from streaming.admin.organizations import OrganizationAdmin
from streaming.models import (
    AuditRecord,
    Conversation,
    EventSegment,
    Message,
    Organization,
    Run,
)
from tests.admin.conftest import LISTS, Page, delete_url, list_url, page_url
from tests.admin.history import (
    content,
    converse,
    log,
    make_conversation,
    make_run,
)
from tests.auth.keys.rows import make_key

pytestmark = pytest.mark.django_db

Staff = Callable[..., Client]
#: The deletion is made by the app's own database threads.
COMMITTED = pytest.mark.django_db(transaction=True)


def everything() -> list[Model]:
    """Make an organization with a conversation and a run, with all their rows."""
    run = make_run()
    converse(run)
    log(run, [content(1), content(2)])
    return [run.organization, run.conversation, run]


@pytest.mark.parametrize("model", LISTS)
def test_strangers_are_sent_to_the_login(client: Client, model: type[Model]) -> None:
    response = client.get(list_url(model))
    assert response.status_code == 302
    assert reverse("admin:login") in response["Location"]


@pytest.mark.parametrize("index", range(3))
def test_staff_without_permission_are_refused_lists_and_pages(
    staff: Staff, index: int
) -> None:
    instance = everything()[index]
    client = staff()
    for url in (list_url(type(instance)), page_url(instance), delete_url(instance)):
        assert client.get(url).status_code == 403


@pytest.mark.parametrize("index", range(3))
def test_permission_to_view_shows_lists_and_pages(staff: Staff, index: int) -> None:
    instance = everything()[index]
    client = staff(f"view_{instance._meta.model_name}")
    assert client.get(list_url(type(instance))).status_code == 200
    assert client.get(page_url(instance)).status_code == 200


@pytest.mark.parametrize("index", range(3))
def test_nothing_can_be_added_or_changed_even_by_a_superuser(
    admin_client: Client, index: int
) -> None:
    instance = everything()[index]
    name = instance._meta.model_name
    before = type(instance)._default_manager.filter(pk=instance.pk).values().get()
    added = admin_client.post(reverse(f"admin:streaming_{name}_add"), {"org_id": "x"})
    changed = admin_client.post(page_url(instance), {"org_id": "x", "title": "x"})
    assert (added.status_code, changed.status_code) == (403, 403)
    assert type(instance)._default_manager.filter(pk=instance.pk).values().get() == (
        before
    )


@pytest.mark.parametrize("index", range(3))
def test_a_page_offers_no_field_to_edit(read: Page, index: int) -> None:
    html = read(page_url(everything()[index]))
    assert "<textarea" not in html
    assert 'name="_save"' not in html


@pytest.mark.parametrize("model", [Message, EventSegment])
def test_messages_and_segments_have_no_page_of_their_own(
    admin_client: Client, model: type[Model]
) -> None:
    url = f"/admin/streaming/{model._meta.model_name}/"
    assert admin_client.get(url).status_code == 404


def test_a_run_alone_is_not_deleted(admin_client: Client) -> None:
    run = make_run()
    assert admin_client.post(delete_url(run), {"post": "yes"}).status_code == 403
    assert Run.objects.filter(pk=run.pk).exists()


@COMMITTED
def test_deleting_a_conversation_counts_and_deletes_its_rows(
    staff: Staff,
) -> None:
    kept = make_run(make_conversation("umbrella"))
    organization, conversation, _ = everything()
    client = staff("view_conversation", "delete_conversation")
    html = client.get(delete_url(conversation)).content.decode()
    for counted in ("Conversations: 1", "Runs: 1", "Messages: 4", "Event segments: 1"):
        assert counted in html
    assert client.post(delete_url(conversation), {"post": "yes"}).status_code == 302
    assert list(Run.objects.all()) == [kept]
    assert not Message.objects.exists()
    assert not EventSegment.objects.exists()
    assert Organization.objects.filter(pk=organization.pk).exists()


@COMMITTED
def test_deleting_an_organization_deletes_its_conversations(
    admin_client: Client,
) -> None:
    organization = everything()[0]
    kept = make_conversation("umbrella")
    admin_client.post(delete_url(organization), {"post": "yes"})
    assert list(Conversation.objects.all()) == [kept]
    assert not Run.objects.exists()


@COMMITTED
def test_selected_conversations_can_be_deleted_together(
    admin_client: Client,
) -> None:
    chosen = [make_run().conversation.pk for _ in range(3)]
    kept = make_conversation("umbrella")
    form = {"action": "delete_selected", "_selected_action": chosen, "index": 0}
    asked = admin_client.post(list_url(Conversation), form)
    assert "Conversations: 3" in asked.content.decode()
    admin_client.post(list_url(Conversation), form | {"post": "yes"})
    assert list(Conversation.objects.all()) == [kept]


@pytest.mark.parametrize("index", range(2))
def test_an_active_run_prevents_the_deletion(admin_client: Client, index: int) -> None:
    run = make_run(status="running")
    instance = [run.organization, run.conversation][index]
    html = admin_client.get(delete_url(instance)).content.decode()
    assert f"{run}: still running" in html
    admin_client.post(delete_url(instance), {"post": "yes"})
    assert Run.objects.filter(pk=run.pk).exists()


def test_deleting_requires_the_permission(staff: Staff) -> None:
    conversation = make_conversation()
    client = staff("view_conversation", "change_conversation")
    assert client.post(delete_url(conversation), {"post": "yes"}).status_code == 403
    assert Conversation.objects.filter(pk=conversation.pk).exists()


@COMMITTED
def test_deleting_an_organization_needs_the_permissions_of_what_goes_with_it(
    staff: Staff,
) -> None:
    organization = everything()[0]
    prefix = make_key().prefix
    names = ["delete_organization", "delete_conversation", "change_apikey"]
    names += ["delete_limit", "view_organization"]
    form = {"action": "delete_selected", "_selected_action": [organization.pk]}
    for missing in names[:4]:
        client = staff(*(name for name in names if name != missing))
        deleted = client.post(delete_url(organization), {"post": "yes"})
        assert deleted.status_code == 403
        client.post(list_url(Organization), form | {"post": "yes", "index": 0})
    assert Organization.objects.filter(pk=organization.pk).exists()
    client = staff(*names)
    assert client.post(delete_url(organization), {"post": "yes"}).status_code == 302
    assert not Organization.objects.exists()
    records = AuditRecord.objects.order_by("pk").values_list("action", "target")
    assert list(records) == [
        ("key.revoked", f"key:{prefix}"),
        ("organization.deleted", f"organization:{organization.pk}"),
    ]


@COMMITTED
def test_all_rows_of_a_list_can_be_deleted_without_listing_them(
    admin_client: Client,
) -> None:
    for number in range(130):
        make_conversation(f"org-{number}")
    form = {
        "action": "delete_selected",
        "_selected_action": [Conversation.objects.first().pk],  # type: ignore[union-attr]
        "select_across": "1",
        "index": 0,
    }
    url = f"{list_url(Conversation)}?q=org-1"
    html = admin_client.post(url, form).content.decode()
    assert "Conversations: 41" in html  # org-1, org-10 to org-19, org-100 to org-129
    assert html.count("/change/") == 20
    assert "and more" in html
    html = admin_client.post(url, form | {"post": "yes"}, follow=True).content.decode()
    assert "41 conversations deleted." in html
    assert Conversation.objects.count() == 89
    assert LogEntry.objects.filter(action_flag=DELETION).count() == 41


@COMMITTED
def test_a_deletion_ends_with_the_time_of_a_request(
    admin_client: Client,
) -> None:
    organization = everything()[0]
    told: list[str] = []

    class Impatient(OrganizationAdmin):
        seconds = 0.0

        def message_user(self, request: HttpRequest, message: Any, *_: Any) -> None:  # noqa: ANN401  (as Django's own)
            told.append(message)

    request = RequestFactory().post("/", {"post": "yes"})
    request.user = User.objects.get()
    Impatient(Organization, AdminSite()).delete_view(request, str(organization.pk))
    assert "repeat the deletion" in told[0]
    assert Organization.objects.exists()
    admin_client.post(delete_url(organization), {"post": "yes"})
    assert not Organization.objects.exists()


def test_counts_end_at_a_limit(
    admin_client: Client,
) -> None:
    run = make_run()
    EventSegment.objects.bulk_create(
        EventSegment(run_id=run.pk, first_id=n, last_id=n, events="{}")
        for n in range(10, 10_011)
    )
    html = admin_client.get(delete_url(run.organization)).content.decode()
    assert "Event segments: more than 10,000" in html
    assert "Runs: 1" in html


@pytest.mark.parametrize("key", ["x", "0", "9" * 40, "²", "1_2F"])
def test_what_does_not_exist_cannot_be_deleted(admin_client: Client, key: str) -> None:
    for model in (Organization, Conversation):
        name = model._meta.model_name
        url = f"/admin/streaming/{name}/{key}/delete/"
        assert admin_client.post(url, {"post": "yes"}).status_code == 404
