"""The API in a project with settings of its own, and under WSGI."""

from collections.abc import Iterator

import pytest
from django.db import connections
from django.test import Client, override_settings
from django.urls import include, path, reverse

from streaming.server.host import close_background_loop
from streaming.storage import database
from tests.client import API, Api
from tests.conftest import ChangeSettings

#: The middleware of `startproject`, and one that requires a login.
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
]

urlpatterns = [path("deep/agents/", include("streaming.urls"))]


async def test_atomic_requests_do_not_apply(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connections["default"].settings_dict, "ATOMIC_REQUESTS", True)
    response = await api.post(f"{API}/run", {"input": "2 + 2"})
    assert (response.status, "4" in response.json["output"]) == (200, True)
    assert (await api.get("/")).status == 200


async def test_a_required_login_leaves_the_api_alone(api: Api) -> None:
    with override_settings(MIDDLEWARE=MIDDLEWARE):
        locked = Api()
        assert (await locked.get("/health")).status == 200
        assert (await locked.get(f"{API}/conversations")).status == 200
        assert (await locked.get("/")).status == 302


@override_settings(ROOT_URLCONF=__name__)
async def test_the_urls_work_below_any_path(api: Api) -> None:
    assert reverse("streaming:index") == "/deep/agents/"
    unknown = await api.get("/deep/agents/api/nothing")
    assert (unknown.status, unknown.json["code"]) == (404, "not_found")
    assert unknown.json["error"] == "There is nothing at /deep/agents/api/nothing."
    other = await api.get("/deep/agents/nothing")
    assert other.status == 404
    assert other.headers["content-type"].startswith("text/html")


@pytest.fixture
def wsgi(transactional_db: None, agent_settings: ChangeSettings) -> Iterator[Client]:
    """A client of the project under WSGI."""
    yield Client()
    close_background_loop()
    database.close()


def test_under_wsgi_a_run_works(wsgi: Client) -> None:
    for _ in range(2):
        body = {"input": "What is 15% of 240?"}
        ran = wsgi.post(f"{API}/run", body, "application/json")
        assert (ran.status_code, "36" in ran.json()["output"]) == (200, True)
    state = wsgi.get(f"{API}/runs/{ran.headers['X-Run-Id']}")
    assert state.json()["status"] == "completed"


def test_under_wsgi_a_stream_is_refused_before_its_run_starts(wsgi: Client) -> None:
    refused = wsgi.post(f"{API}/stream", {"input": "2 + 2"}, "application/json")
    assert refused.status_code == 501
    assert refused.json() == {
        "error": "This server is a WSGI server, which cannot stream: POST /run works "
        "here.",
        "code": "streaming_unsupported",
    }
    assert wsgi.get(f"{API}/conversations").json()["conversations"] == []
