"""Fixtures for the admin: pages, and their text."""

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
    """Return the URL of a model's list."""
    return reverse(f"admin:streaming_{model._meta.model_name}_changelist")


def page_url(instance: Model) -> str:
    """Return the URL of an object's page."""
    return reverse(
        f"admin:streaming_{instance._meta.model_name}_change", args=[instance.pk]
    )


def delete_url(instance: Model) -> str:
    """Return the URL that deletes an object."""
    return reverse(
        f"admin:streaming_{instance._meta.model_name}_delete", args=[instance.pk]
    )


LISTS = [Organization, Conversation, Run]


@pytest.fixture
def admin_client(db: None) -> Client:
    """Log a superuser in, without a password, because hashing one is slow."""
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.fixture
def read(admin_client: Client) -> Page:
    """Return `read(url, **query)`: the HTML of a page that must exist."""

    def fetch(url: str, **query: str) -> str:
        response = admin_client.get(url, query)
        assert response.status_code == 200
        return response.content.decode()

    return fetch


@pytest.fixture
def staff(db: None) -> Callable[..., Client]:
    """Return `staff("view_run")`: a client with only this permission."""

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
    """Return the messages of the admin about the last action."""
    _, _, rest = html.partition('<ul class="messagelist">')
    return unescape(rest.partition("</ul>")[0])
