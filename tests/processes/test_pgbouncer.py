"""PgBouncer in transaction mode between the processes of a site and PostgreSQL."""

import os
import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx
import psycopg
import pytest

from streaming.testing.server import Server
from tests.client import API
from tests.processes.conftest import Make
from tests.processes.test_bare_server import levels
from tests.processes.test_database_pool import cut_connections
from tests.servers import SECONDS, UVICORN, Reader, pgbouncer, stream

POSTGRES = os.environ.get("TEST_DATABASE_URL", "")
POOL_SIZE = 3
CLIENTS = 16
ADMIN = {
    "DJANGO_SUPERUSER_USERNAME": "root",
    "DJANGO_SUPERUSER_PASSWORD": "only-for-tests",
    "DJANGO_SUPERUSER_EMAIL": "root@localhost",
}

pytestmark = pytest.mark.postgresql


@dataclass
class Pooled:
    """A site of two processes, and its PgBouncer."""

    server: Server
    pooler: Server
    database: str  #: its name


@pytest.fixture
def site(make: Make) -> Iterator[Pooled]:
    """Start a site that reaches PostgreSQL by PgBouncer alone."""
    direct = make(*UVICORN).environment["DATABASE_URL"]
    with pgbouncer(direct, pool_size=POOL_SIZE) as (pooler, url):
        server = make(
            *(*UVICORN, "--workers", "2", "--log-config", "agentsite/logging.json"),
            **{
                "DATABASE_URL": url,
                "EVENT_LIVE": "none",
                "DEMO_DELAY_MS": "5",
                **ADMIN,
            },
        )
        for command in ("migrate", "createsuperuser"):
            ended = server.run("manage.py", command, "--no-input")
            assert ended.returncode == 0, ended.stderr
        server.start()
        yield Pooled(server, pooler, url.rpartition("/")[2])


def converse(server: Server, client: int) -> str:
    """Stream, leave, resume, run, read, search and cancel; return the run's id."""
    with stream(
        server, f"count to {40 + client}", conversation_id=f"c{client}"
    ) as left:
        last = [left.until("content").id for _ in range(3)][-1]
        run_id = left.response.headers["X-Run-Id"]
    with httpx.Client(base_url=f"{server.url}{API}", timeout=SECONDS) as api:
        resume = {"Last-Event-ID": last}
        with api.stream("GET", f"runs/{run_id}/events", headers=resume) as response:
            assert response.status_code == 200
            frames = list(Reader(response))
        assert [frame.event for frame in frames][-2:] == ["complete", "done"]
        counted = "".join(f.data["content"] for f in frames if f.event == "content")
        assert counted.split()[-1].rstrip(".") == str(40 + client)
        body = {"input": "2 + 2", "conversation_id": f"c{client}"}
        for response in (
            api.post("run", json=body),
            api.get(f"conversations/c{client}"),
            api.get("conversations", params={"search": "count"}),
            api.get(f"runs/{run_id}"),
        ):
            assert response.status_code == 200, response.text
        with stream(server, "count to 5000") as reader:
            reader.until("content")
            other = reader.response.headers["X-Run-Id"]
            assert api.post(f"runs/{other}/cancel").status_code in (200, 202)
            assert [frame.event for frame in reader][-1] == "done"
    return run_id


def read_admin(server: Server, paths: list[str]) -> set[int]:
    """Log in and return the statuses of the admin's pages."""
    with httpx.Client(base_url=server.url, timeout=SECONDS) as browser:
        page = browser.get("/admin/login/?next=/admin/").text
        [token] = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
        form = {
            "csrfmiddlewaretoken": token,
            "username": ADMIN["DJANGO_SUPERUSER_USERNAME"],
            "password": ADMIN["DJANGO_SUPERUSER_PASSWORD"],
        }
        entered = browser.post("/admin/login/?next=/admin/", data=form)
        assert entered.headers["location"] == "/admin/"
        return {browser.get(path).status_code for path in paths}


def test_many_clients_share_few_connections(site: Pooled) -> None:
    with ThreadPoolExecutor(CLIENTS) as pool:
        ids = [*pool.map(lambda client: converse(site.server, client), range(CLIENTS))]
    lists = [f"/admin/streaming/{name}/" for name in ("run", "conversation")]
    pages = [f"/admin/streaming/run/{run_id}/change/" for run_id in ids[:3]]
    searches = ["/admin/streaming/conversation/?q=count"]
    assert read_admin(site.server, ["/admin/", *lists, *pages, *searches]) == {200}
    with psycopg.connect(POSTGRES) as connection:
        (used,) = connection.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = %s AND backend_type = 'client backend'",
            [site.database],
        ).fetchone() or (0,)
    assert 0 < used <= POOL_SIZE
    with pytest.raises(psycopg.OperationalError, match="startup parameter"):
        psycopg.connect(
            site.server.environment["DATABASE_URL"], options="-c lock_timeout=1000"
        )
    assert levels(site.server) <= {"INFO"}, site.server.log.read_text()


def test_a_pooler_that_delivers_no_notifications_is_reported(site: Pooled) -> None:
    check = ("manage.py", "check", "--database", "default", "--tag", "database")
    assert "W012" not in site.server.run(*check).stderr
    site.server.environment = {**site.server.environment, "EVENT_LIVE": "auto"}
    assert "(streaming.W012) The database delivers no" in site.server.run(*check).stderr


@pytest.mark.parametrize("fault", ["backends", "pooler"])
def test_a_run_goes_on_when_its_connections_are_cut(site: Pooled, fault: str) -> None:
    direct = site.server.environment["DATABASE_URL"]
    assert direct.endswith(site.database)
    with stream(site.server, "count to 400") as reader:
        for _ in range(3):
            reader.until("content")
            if fault == "backends":
                cut_connections(site.server)
            else:
                site.pooler.send_signal(signal.SIGKILL)
                assert site.pooler.ends_within(SECONDS)
                site.pooler.start()
        assert [frame.event for frame in reader][-2:] == ["complete", "done"]
        run_id = reader.response.headers["X-Run-Id"]
    run = httpx.get(f"{site.server.url}{API}/runs/{run_id}", timeout=SECONDS).json()
    assert run["status"] == "completed"
    assert run["output"].split()[:3] == ["1", "2", "3"]
    assert run["output"].split()[399].rstrip(".") == "400"
