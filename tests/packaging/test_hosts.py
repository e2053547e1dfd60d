"""The app in projects of other kinds: servers, databases, static files, paths."""

import re
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import httpx
import pytest
from playwright.async_api import async_playwright, expect

from streaming.testing.server import Server
from streaming.testing.sse import parse
from tests.available import need
from tests.browser.demo_page import DemoPage
from tests.packaging.conftest import DJANGO, MakeVenv
from tests.packaging.hosts import (
    SERVERS,
    WAYS,
    Host,
    HostProject,
    make_project,
    pairwise,
)
from tests.packaging.site_pages import HASH, check_page, login
from tests.servers import SECONDS, Reader

pytestmark = pytest.mark.xdist_group("hosts")

HOSTS = pairwise(WAYS, DJANGO)
A_LONG_RUN = "count to 2000"
RUN_ID = re.compile(r"/streaming/run/(\w{32})/")
MakeHost = Callable[[Host], HostProject]


@pytest.fixture(scope="session")
def project_of(
    make_venv: MakeVenv, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """Make one project for each version of Django."""

    @cache
    def make(django: str) -> Path:
        directory = tmp_path_factory.mktemp(f"project-{django}")
        make_project(directory, make_venv(django))
        return directory

    return make


@pytest.fixture
def make_host(
    make_venv: MakeVenv, project_of: Callable[[str], Path]
) -> Iterator[MakeHost]:
    """Make hosts; their databases are dropped in the end."""
    with ExitStack() as stack:

        def make(host: Host) -> HostProject:
            directory, venv = project_of(host.django), make_venv(host.django)
            project = HostProject(host, directory, venv, stack)
            project.prepare()
            return project

        yield make


def client_of(server: Server, host: Host) -> httpx.Client:
    return httpx.Client(base_url=f"{server.url}/{host.prefix}", timeout=SECONDS)


def test_any_two_ways_meet_in_a_host() -> None:
    for first, values in WAYS.items():
        for second in WAYS.keys() - {first}:
            met = {(getattr(h, first), getattr(h, second)) for h in HOSTS}
            assert len(met) == len(values) * len(WAYS[second])


@pytest.mark.parametrize("host", HOSTS, ids=lambda host: host.name)
def test_the_app_works_in_the_project(make_host: MakeHost, host: Host) -> None:
    project = make_host(host)
    application, server = SERVERS[host.server]
    with (
        project.serve(server, f"host_{application}") as started,
        client_of(started, host) as client,
    ):
        check_api(client)
        check_paths(client, started.url, host)
        read = None if application == "lean" else project.read_static
        with httpx.Client(base_url=started.url, timeout=SECONDS) as browser:
            check_page(browser, f"/{host.prefix}", hashed=True, read=read)
        with client.stream(
            "POST", "api/v1/agent/stream", json={"input": A_LONG_RUN}
        ) as response:
            reader = Reader(response)
            reader.until("content")
            started.send_signal(signal.SIGTERM)
            frames = list(reader)
        assert [frame.event for frame in frames][-1] == "done"
        assert started.ends_within(SECONDS)


def check_api(client: httpx.Client) -> None:
    """Check a run, a stream, a resumed one and a cancelled one."""
    ran = client.post("api/v1/agent/run", json={"input": "What is 15% of 240?"})
    assert (ran.status_code, "36" in ran.json()["output"]) == (200, True)
    body = {"input": "2 + 2", "conversation_id": "c"}
    frames = parse(client.post("api/v1/agent/stream", json=body).content)
    assert [frame.event for frame in frames][-2:] == ["complete", "done"]
    run_id = frames[-1].run_id
    events = f"api/v1/agent/runs/{run_id}/events"
    resumed = client.get(events, headers={"Last-Event-ID": frames[2].id})
    assert [f.raw for f in parse(resumed.content)[1:]] == [f.raw for f in frames[3:]]
    long = {"input": A_LONG_RUN, "conversation_id": "c"}
    with client.stream("POST", "api/v1/agent/stream", json=long) as response:
        reader = Reader(response)
        reader.until("content")
        run_id = response.headers["X-Run-Id"]
        assert client.post(f"api/v1/agent/runs/{run_id}/cancel").status_code == 202
        assert [frame.event for frame in reader][-1] == "done"
    assert client.get(f"api/v1/agent/runs/{run_id}").json()["status"] == "cancelled"
    search = client.get("api/v1/agent/conversations", params={"search": "2 + 2"})
    assert [c["conversation_id"] for c in search.json()["conversations"]] == ["c"]
    assert len(client.get("api/v1/agent/conversations/c").json()["messages"]) >= 4
    assert client.delete("api/v1/agent/conversations/c").status_code == 204


def check_paths(client: httpx.Client, url: str, host: Host) -> None:
    """Check that the app's paths and names, and the project's, leave each other."""
    assert client.get("health").json()["status"] == "healthy"
    assert client.get("metadata").status_code == 404
    metadata = client.get("api/v1/agent/metadata").json()
    assert metadata["endpoints"]["run"] == f"/{host.prefix}api/v1/agent/run"
    unknown = client.get("api/nothing")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")
    other = client.get("nothing")
    assert other.status_code == 404
    assert other.headers["content-type"].startswith("text/html")
    with httpx.Client(base_url=url, timeout=SECONDS) as browser:
        assert browser.get("/shop/").text == "the shop, at /shop/"
        page = browser.get(f"/{host.prefix}").text
        if host.admin == "none":
            assert browser.get("/admin/").status_code == 404
            assert "Admin</a>" not in page
            return
        assert 'href="/admin/">Admin</a>' in page
        login(browser, "ada", "analytical")
        runs = browser.get("/admin/streaming/run/")
        assert "What is 15% of 240?" in runs.text
        # Her own conversations: the others are those of callers without a login.
        path = "api/v1/agent/conversations"
        hers = browser.get(f"/{host.prefix}{path}").json()["conversations"]
        assert (hers, bool(client.get(path).json()["conversations"])) == ([], True)
        run = RUN_ID.findall(runs.text)[0]
        assert browser.get(f"/admin/streaming/run/{run}/change/").status_code == 200


async def test_the_page_loads_hashed_modules_in_a_browser(make_host: MakeHost) -> None:
    host = next(h for h in HOSTS if h.server == "lean" and h.prefix)
    project = make_host(host)
    application, server = SERVERS[host.server]
    arguments = ["--no-sandbox"]
    with project.serve(server, f"host_{application}") as started:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=need("chromium"), args=arguments
            )
            page = await browser.new_page()
            loaded: list[str] = []
            page.on("request", lambda request: loaded.append(request.url))
            demo = DemoPage(page)
            await page.goto(f"{started.url}/{host.prefix}")
            await demo.run("What is 15% of 240?")
            await expect(demo.text).to_contain_text("36")
            assert demo.complaints == []
            await browser.close()
    scripts = [url for url in loaded if url.endswith(".js")]
    assert len(scripts) > 40
    assert all(HASH.search(url) for url in scripts)
    assert len(scripts) == len(set(scripts))


def test_under_wsgi_all_but_streams_works(make_host: MakeHost) -> None:
    host = HOSTS[0]
    project = make_host(host)
    with (
        project.serve("wsgi", "host_wsgi") as server,
        client_of(server, host) as client,
    ):
        for _ in range(2):
            body = {"input": "What is 15% of 240?"}
            ran = client.post("api/v1/agent/run", json=body)
            assert (ran.status_code, "36" in ran.json()["output"]) == (200, True)
        run_id = ran.headers["X-Run-Id"]
        assert client.get(f"api/v1/agent/runs/{run_id}").json()["status"] == "completed"
        stream = client.post("api/v1/agent/stream", json=body)
        events = client.get(f"api/v1/agent/runs/{run_id}/events")
        for refused in (stream, events):
            assert refused.status_code == 501
            assert refused.json()["code"] == "streaming_unsupported"
        conversations = client.get("api/v1/agent/conversations").json()
        assert len(conversations["conversations"]) == 2
        check_paths(client, server.url, host)
