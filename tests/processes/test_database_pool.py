"""The pool of PostgreSQL connections after a failover, or when idle ones were cut."""

import os
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest

from streaming.testing.server import Server
from tests.client import API
from tests.processes.conftest import Make
from tests.servers import UVICORN, stream

POSTGRES = os.environ.get("TEST_DATABASE_URL", "")
REQUESTS = 40

pytestmark = pytest.mark.postgresql  # SQLite has no pool


def cut_connections(server: Server) -> int:
    """End all connections of a server to its database; return their number."""
    name = urlsplit(server.environment["DATABASE_URL"]).path.removeprefix("/")
    with psycopg.connect(POSTGRES) as connection:
        ended = connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = %s AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'",
            [name],
        )
        return len(ended.fetchall())


def statuses(server: Server) -> set[int]:
    """Return the statuses of requests that use all connections of the pool."""
    paths = ("conversations", "runs/x", "conversations/x", "conversations?search=x")
    urls = [f"{server.url}{API}/{path}" for path in paths] * (REQUESTS // len(paths))
    with httpx.Client(timeout=60) as client, ThreadPoolExecutor(12) as pool:
        return {response.status_code for response in pool.map(client.get, urls)}


def test_no_request_fails_when_idle_connections_were_cut(make: Make) -> None:
    server = make(*UVICORN)
    server.start()
    for _ in range(3):
        assert statuses(server) == {200, 404}
        assert cut_connections(server) >= 1
    assert statuses(server) == {200, 404}
    body = {"input": "2 + 2"}
    cut_connections(server)
    response = httpx.post(f"{server.url}{API}/run", json=body, timeout=60)
    assert response.status_code == 200


def test_runs_go_on_when_connections_in_use_are_cut(make: Make) -> None:
    server = make(*UVICORN, DEMO_DELAY_MS="10")
    server.start()
    with stream(server, "count to 400") as reader:
        run_id = reader.response.headers["X-Run-Id"]
        for _ in range(4):  # at various moments of a flush
            for _ in range(7):
                reader.until("content")
            while not cut_connections(server):  # none since the last time
                reader.until("content")
        assert [frame.event for frame in reader][-2:] == ["complete", "done"]
    run = httpx.get(f"{server.url}{API}/runs/{run_id}", timeout=60).json()
    assert run["status"] == "completed"
    assert run["output"].split()[399].rstrip(".") == "400"
