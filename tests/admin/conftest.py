"""The admin as its readers see it: pages fetched, and read as text."""

from collections.abc import Callable
from html import unescape

import pytest
from django.contrib.auth.models import Permission, User
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from streaming.models import Conversation, Organization, Run

Page = Callable[..., str]


def list_url(model: type[Model]) -> str:
    """Where a model's list is."""
    return reverse(f"admin:streaming_{model._meta.model_name}_changelist")


def page_url(instance: Model) -> str:
    """Where the page of an object is."""
    return reverse(
        f"admin:streaming_{instance._meta.model_name}_change", args=[instance.pk]
    )


def delete_url(instance: Model) -> str:
    """Where an object can be deleted."""
    return reverse(
        f"admin:streaming_{instance._meta.model_name}_delete", args=[instance.pk]
    )


LISTS = [Organization, Conversation, Run]


@pytest.fixture
def admin_client(db: None) -> Client:
    """A superuser, logged in; without a password, whose hash takes its time."""
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.fixture
def read(admin_client: Client) -> Page:
    """`read(url, **query)`: the HTML of a page that must be there."""

    def fetch(url: str, **query: str) -> str:
        response = admin_client.get(url, query)
        assert response.status_code == 200
        return response.content.decode()

    return fetch


@pytest.fixture
def staff(db: None) -> Callable[..., Client]:
    """`staff("view_run")`: somebody who may do just that in the admin."""

    def login(*codenames: str) -> Client:
        name = "-".join(("staff", *codenames))
        user = User.objects.create_user(name, is_staff=True)
        for codename in codenames:
            user.user_permissions.add(Permission.objects.get(codename=codename))
        client = Client()
        client.force_login(user)
        return client

    return login


def notices(html: str) -> str:
    """What the admin says about what was done."""
    _, _, rest = html.partition('<ul class="messagelist">')
    return unescape(rest.partition("</ul>")[0])
