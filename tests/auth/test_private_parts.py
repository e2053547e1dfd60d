"""Contract tests of the private parts that `streaming/auth` uses."""

import pytest
from django.contrib.auth import (
    BACKEND_SESSION_KEY,
    HASH_SESSION_KEY,
    SESSION_KEY,
    load_backend,
)
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client

from tests.private_parts import relies_on


@pytest.mark.django_db
def test_session_of_a_login(client: Client) -> None:
    with relies_on(
        "django",
        "the keys of a session by which a user is logged in",
        "No session is accepted as a credential of the API.",
    ):
        user = User.objects.create_user("alice")
        client.force_login(user)
        data = Session.objects.get().get_decoded()
        assert data[SESSION_KEY] == str(user.pk)
        assert data[HASH_SESSION_KEY] == user.get_session_auth_hash()
        assert load_backend(data[BACKEND_SESSION_KEY]).get_user(user.pk) == user
