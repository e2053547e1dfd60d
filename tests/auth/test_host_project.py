"""Sessions in a real host project: its user model, middleware, login and server."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from streaming.testing.server import Server, clean_environment
from tests.servers import ROOT, SECONDS, STARTED_FROM_PATH, Reader

API = "/agents/api/v1/agent"
MEMBERS = """
import django; django.setup()
from tests.auth.host.models import Member
for name in ("alice", "bob"):
    Member.objects.create_user(f"{name}@example.com", "secret")
"""
Browse = Callable[[str], httpx.Client]

pytestmark = pytest.mark.xdist_group("host project")


@pytest.fixture(
    scope="module",
    params=[
        ("application", "django.contrib.sessions.backends.db"),
        ("lean", "django.contrib.sessions.backends.cached_db"),
    ],
    ids=["plain", "lean"],
)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """The project under uvicorn, with two members."""
    application, engine = request.param
    directory: Path = tmp_path_factory.mktemp("host")
    environment = clean_environment(
        PATH=STARTED_FROM_PATH,
        DJANGO_SETTINGS_MODULE="tests.auth.host.settings",
        DATA_DIR=str(directory),
        SESSION_ENGINE=engine,
    )
    target = f"tests.auth.host.asgi:{application}"
    command = (sys.executable, "-m", "uvicorn", target, "--port", "{port}")
    ready = "/agents/ready"
    server = Server(command, directory, environment=environment, cwd=ROOT, ready=ready)
    for arguments in (["-m", "django", "migrate", "--run-syncdb"], ["-c", MEMBERS]):
        made = server.run(*arguments)
        assert made.returncode == 0, made.stderr
    with server:
        yield server


@pytest.fixture
def browse(server: Server) -> Iterator[Browse]:
    """Return a browser in which a member has logged in."""
    browsers = []

    def browse(name: str) -> httpx.Client:
        browser = httpx.Client(base_url=server.url, timeout=SECONDS)
        browsers.append(browser)
        token = browser.get("/login/").text
        credentials = {"username": f"{name}@example.com", "password": "secret"}
        form = {**credentials, "csrfmiddlewaretoken": token}
        entered = browser.post("/login/", data=form)
        assert entered.status_code == 200
        browser.headers["X-CSRFToken"] = entered.text
        return browser

    yield browse
    for browser in browsers:
        browser.close()


def test_a_member_runs_the_agent_and_others_see_nothing(browse: Browse) -> None:
    alice, bob = browse("alice"), browse("bob")
    answered = alice.post(f"{API}/run", json={"input": "What is 2 * 3?"})
    assert (answered.status_code, "6" in answered.json()["output"]) == (200, True)
    run = f"{API}/runs/{answered.json()['run_id']}"
    assert alice.get(run).status_code == 200
    foreign, missing = bob.get(run), bob.get(f"{API}/runs/x")
    assert (foreign.status_code, foreign.content) == (404, missing.content)


def test_a_stranger_and_a_forged_request_are_refused_in_json(
    browse: Browse, server: Server
) -> None:
    alice = browse("alice")
    stranger = httpx.post(
        f"{server.url}{API}/run", json={"input": "Hi"}, timeout=SECONDS
    )
    assert (stranger.status_code, stranger.json()["code"]) == (401, "unauthenticated")
    del alice.headers["X-CSRFToken"]
    forged = alice.post(f"{API}/run", json={"input": "Hi"})
    assert (forged.status_code, forged.json()["code"]) == (403, "forbidden")


def test_a_logout_ends_the_open_stream(browse: Browse) -> None:
    alice = browse("alice")
    body = {"input": "Explain how photosynthesis works", "background": True}
    with alice.stream("POST", f"{API}/stream", json=body) as response:
        reader = Reader(response)
        reader.until("content")
        other_tab = httpx.Client(
            base_url=alice.base_url,
            cookies=alice.cookies,
            headers=alice.headers,
            timeout=SECONDS,
        )
        with other_tab:
            assert other_tab.post("/logout/").status_code == 200
            *_, error, done = reader
            assert error.data["metadata"]["code"] == "unauthenticated"
            assert (error.id, done.event) == ("", "done")
    run_id = response.headers["X-Run-Id"]
    assert alice.get(f"{API}/runs/{run_id}/events").status_code == 401
