"""Users of the site, and callers of the API with different credentials."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import AsyncClient

from streaming.auth import sessions as auth_sessions
from tests.client import Api, Response, Stream
from tests.conftest import ChangeSettings

TOKEN = "t" * 32


class Caller:
    """A client of the API that sends its headers with each request."""

    def __init__(self, api: Api, **headers: str) -> None:
        self.api = api
        self.headers = headers

    def with_headers(self, **headers: str) -> "Caller":
        """Return the same caller with further headers."""
        return Caller(self.api, **{**self.headers, **headers})

    def open(
        self, method: str, path: str, body: object = None
    ) -> AbstractAsyncContextManager[Stream]:
        """Send a request, whose response is read in pieces."""
        return self.api.open(method, path, body, self.headers)

    async def __call__(self, method: str, path: str, body: object = None) -> Response:
        async with self.open(method, path, body) as stream:
            return await stream.end()


async def make_user(name: str, **fields: Any) -> User:  # noqa: ANN401
    """Create a user of the site."""
    return await User.objects.acreate_user(name, password="secret", **fields)


async def log_in(user: User) -> AsyncClient:
    """Return Django's client with a session of the user."""
    client = AsyncClient()
    await client.aforce_login(user)
    return client


def cookies_of(client: AsyncClient) -> Mapping[str, str]:
    """Return the headers of a page of the site: its cookies and the CSRF token."""
    key = client.cookies[settings.SESSION_COOKIE_NAME].value
    return {
        "cookie": f"{settings.SESSION_COOKIE_NAME}={key}; csrftoken={TOKEN}",
        "x_csrftoken": TOKEN,
    }


async def session_of(api: Api, user: User) -> Caller:
    """Return a caller with a session of the user, and a CSRF token."""
    return Caller(api, **cookies_of(await log_in(user)))


@pytest.fixture
def session(agent_settings: ChangeSettings) -> None:
    """The API authenticates by sessions."""
    auth_sessions._users.clear()
    agent_settings(authentication=["streaming.auth.session"])
