"""The API in a project with settings of its own, and under WSGI."""

import asyncio
import json
import threading
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIHandler
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


LIMIT = 1024
HUGE = b'{"input":"' + b"a" * LIMIT + b'"}'
WHOLE = b'{"input":"' + b"a" * (LIMIT - 12) + b'"}'


class Input(BytesIO):
    """The body of a request under WSGI; notes the reads and their threads."""

    def __init__(self, body: bytes) -> None:
        super().__init__(body)
        self.sizes: list[int] = []
        self.threads: set[str] = set()

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.sizes.append(len(data))
        self.threads.add(threading.current_thread().name)
        return data


def test_under_wsgi_a_large_body_is_refused_unread(
    wsgi: Client, agent_settings: ChangeSettings
) -> None:
    agent_settings(agent_max_body_bytes=LIMIT)
    for body, status in ((HUGE, 413), (WHOLE, 200)):
        received = Input(body)
        environment: dict[str, Any] = {"wsgi.input": received}
        response = wsgi.post(f"{API}/run", body, "application/json", **environment)
        assert (response.status_code, sum(received.sizes)) == (
            status,
            len(body) if status == 200 else 0,
        )
        assert "wsgi-runs" not in received.threads


@pytest.mark.parametrize("length", [[], [(b"content-length", b"%d" % len(HUGE))]])
async def test_djangos_own_application_reads_no_large_body(
    api: Api, agent_settings: ChangeSettings, length: list[tuple[bytes, bytes]]
) -> None:
    agent_settings(agent_max_body_bytes=LIMIT)
    pieces = [HUGE[:100], HUGE[100:]]
    sent: list[Any] = []

    async def receive() -> Any:  # noqa: ANN401
        if not pieces:
            await asyncio.Event().wait()
        return {
            "type": "http.request",
            "body": pieces.pop(0),
            "more_body": bool(pieces),
        }

    async def send(message: Any) -> None:  # noqa: ANN401
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": f"{API}/run",
        "headers": [
            (b"host", b"localhost"),
            (b"content-type", b"application/json"),
            *length,
        ],
    }
    await ASGIHandler()(scope, receive, send)
    assert sent[0]["status"] == 413
    assert json.loads(sent[1]["body"]) == {
        "error": f"The body must have at most {LIMIT} bytes.",
        "code": "body_too_large",
    }
