"""The container's command behind the project's nginx, as they are deployed."""

import asyncio
import re
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from agentsite.login_throttle import MAX_PER_NAME_AND_ADDRESS
from bench.fleet.nginx import deployed_conf
from streaming.testing.server import free_port
from tests.servers import PAUSE_MS, SECONDS, app, nginx

pytestmark = pytest.mark.xdist_group("deploy")  # one server serves them

STREAM = "/api/v1/agent/stream"
STATIC = re.compile(r'(?:src|href)="(/static/[^"]+)"')
#: The limit of the transferred page with all that it needs before it can be used.
PAGE_BYTES = 100_000
QUESTION = {"input": "What is 12 * 12?"}


@contextmanager
def deployed_nginx(directory: Path, app_port: int) -> Iterator[str]:
    port = free_port()
    with nginx(directory, deployed_conf(port, [app_port]), port) as url:
        yield url


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    with (
        deployed_nginx(tmp_path_factory.mktemp("nginx"), port) as url,
        app(tmp_path_factory.mktemp("data"), port),
    ):
        yield url


def test_each_event_passes_nginx_as_it_comes(site: str) -> None:
    with httpx.stream("POST", site + STREAM, json=QUESTION, timeout=30) as response:
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert "content-encoding" not in response.headers
        times = [
            time.monotonic()
            for line in response.iter_lines()
            if line.startswith("event: ")
        ]
    assert len(times) > 5
    assert times[-1] - times[0] > 3 * PAUSE_MS / 1000


@pytest.mark.parametrize("megabytes", [3, 5], ids=["by the agent", "by nginx"])
def test_too_large_a_body_is_refused_in_json(site: str, megabytes: int) -> None:
    body = {"input": "x" * megabytes * 1_000_000}
    response = httpx.post(site + STREAM, json=body, timeout=30)
    assert response.status_code == 413
    assert response.json()["code"] == "body_too_large"


def test_pages_and_their_static_files_are_there(site: str) -> None:
    page = httpx.get(site + "/", timeout=SECONDS)
    assert page.status_code == 200
    parts = [
        httpx.get(site + link, timeout=SECONDS)
        for link in set(STATIC.findall(page.text))
    ]
    assert len(parts) > 50
    assert {part.status_code for part in parts} == {200}
    assert {p.headers["x-content-type-options"] for p in [page, *parts]} == {"nosniff"}
    weight = sum(part.num_bytes_downloaded for part in [page, *parts])
    assert weight < PAGE_BYTES


def test_without_the_agent_nginx_answers_in_json(tmp_path: Path) -> None:
    with deployed_nginx(tmp_path, free_port()) as url:
        responses = {
            origin: httpx.post(
                url + STREAM, json=QUESTION, headers={"Origin": origin}, timeout=SECONDS
            )
            for origin in ("https://app.example.com", "https://x.example")
        }
    for origin, response in responses.items():
        assert response.status_code == 503
        assert response.json()["code"] == "shutting_down"
        assert response.headers["retry-after"] == "2"
        assert response.headers["vary"] == "Origin"
        allowed = response.headers.get("access-control-allow-origin")
        assert allowed == (origin if "app" in origin else None)


async def endless(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Respond with the beginning of a stream that does not end."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n:\n\n")
    with suppress(ConnectionError):
        await writer.drain()


@asynccontextmanager
async def listening(port: int) -> AsyncIterator[None]:
    """Serve endless streams on a port; all are cut in the end."""
    connections = set[asyncio.StreamWriter]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(writer)
        await endless(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    try:
        yield
    finally:
        server.close()
        for connection in connections:
            connection.transport.abort()
        await server.wait_closed()


async def test_all_streams_find_a_server_that_was_away_for_a_moment(
    tmp_path: Path,
) -> None:
    first, second, port = free_port(), free_port(), free_port()
    conf = deployed_conf(port, [first, second])
    async with AsyncExitStack() as stack:
        url = await asyncio.to_thread(stack.enter_context, nginx(tmp_path, conf, port))
        client = await stack.enter_async_context(httpx.AsyncClient(timeout=SECONDS))

        async def status(_: int) -> int:
            async with client.stream("GET", f"{url}/api/v1/agents") as response:
                return response.status_code

        async with listening(first):  # each second request meets the one that is away
            assert [await status(n) for n in range(4)] == [200] * 4
        async with listening(second):
            assert await asyncio.gather(*map(status, range(8))) == [200] * 8


def test_sigterm_ends_the_container_although_a_stream_is_open(tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}{STREAM}"
    with (
        app(tmp_path, port) as server,
        httpx.stream("POST", url, json=QUESTION, timeout=30) as response,
    ):
        lines = response.iter_lines()
        assert "event: connected" in (next(lines), next(lines), next(lines))
        server.send_signal(signal.SIGTERM)
        assert list(lines)
        assert server.ends_within(30)
        assert server.returncode in (0, -signal.SIGTERM)


def test_behind_tls_pages_have_what_silenced_checks_ask_for(tmp_path: Path) -> None:
    port = free_port()
    login = f"http://127.0.0.1:{port}/admin/login/"
    tls = {"X-Forwarded-Proto": "https"}
    with app(tmp_path, port, HTTPS="true"):
        plain, page = (
            httpx.get(login, timeout=SECONDS),
            httpx.get(login, headers=tls, timeout=SECONDS),
        )
        forged = httpx.post(
            login, headers=tls, data={"username": "mallory"}, timeout=SECONDS
        )
    assert plain.status_code == 301
    assert plain.headers["location"].startswith("https://")
    assert page.status_code == 200
    assert page.headers["strict-transport-security"].startswith("max-age=31536000")
    assert "preload" not in page.headers["strict-transport-security"]
    assert page.headers["x-frame-options"] == "DENY"
    assert page.headers["x-content-type-options"] == "nosniff"
    assert "secure" in page.headers["set-cookie"].lower()
    assert forged.status_code == 403


def test_clients_cannot_choose_the_address_whose_logins_are_limited(
    tmp_path: Path,
) -> None:
    port = free_port()
    trusting = {"FORWARDED_ALLOW_IPS": "*"}  # as in deploy/compose.yaml
    with (
        app(tmp_path, port, **trusting),
        deployed_nginx(tmp_path, port) as url,
        httpx.Client(base_url=url, timeout=30) as client,
    ):
        client.get("/admin/login/")
        form = {"username": "root", "password": "wrong"}
        form["csrfmiddlewaretoken"] = client.cookies["csrftoken"]
        statuses = [
            client.post(
                "/admin/login/",
                data=form,
                headers={"X-Forwarded-For": f"192.0.2.{number}", "Referer": url},
            ).status_code
            for number in range(MAX_PER_NAME_AND_ADDRESS + 1)
        ]
    assert statuses == [*[200] * MAX_PER_NAME_AND_ADDRESS, 429]
