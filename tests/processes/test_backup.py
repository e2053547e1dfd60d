"""The commands of docs/operations.md for a backup, and the server that they restore."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from bench.faults.databases import new_database
from bench.fleet import services
from streaming.testing.server import Server
from streaming.testing.sse import parse
from tests.available import need
from tests.client import API
from tests.servers import (
    READY,
    ROOT,
    SECONDS,
    UVICORN,
    fenced,
    site_environment,
    stream,
)

LONG = "count to 5000"


def documented(word: str) -> str:
    """Return the documented commands of the block that has a word."""
    [block] = [each for each in fenced("operations.md", "sh") if word in each]
    return block


def shell(commands: str, directory: Path, environment: Mapping[str, str]) -> None:
    """Run commands of the documentation."""
    path = f"{need('postgres-server')}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        ["sh", "-euc", commands.replace(".venv/bin/", "")],
        cwd=directory,
        env={**environment, "PATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def postgres() -> Iterator[services.Postgres]:
    """A PostgreSQL whose programs are of its own version."""
    need("postgres-server")
    with services.postgres() as server:
        yield server


def test_a_restored_database_has_the_streams_and_no_active_runs(
    postgres: services.Postgres, tmp_path: Path
) -> None:
    dump, restore = documented("pg_dump").splitlines()
    url, restored_url = (new_database(postgres.database_url) for _ in range(2))
    if True:
        environment = site_environment(tmp_path, DATABASE_URL=url, DEMO_DELAY_MS="1")
        with Server(
            UVICORN, tmp_path, environment=environment, cwd=ROOT, ready=READY
        ) as server:
            with stream(server, "What is 12 * 12?") as reader:
                run_id = reader.response.headers["X-Run-Id"]
                whole = [frame.raw for frame in reader if frame.id]
            with stream(server, LONG) as reader:
                active = reader.until("content").run_id
                shell(dump, tmp_path, environment)
        restored = {**environment, "DATABASE_URL": restored_url}
        shell(restore, tmp_path, restored)
        shell(documented("IS_ACTIVE"), ROOT, restored)
        with Server(
            UVICORN, tmp_path, environment=restored, cwd=ROOT, ready=READY
        ) as server:
            url = f"{server.url}{API}/runs"
            body = httpx.get(f"{url}/{run_id}/events", timeout=SECONDS).content
            assert [frame.raw for frame in parse(body) if frame.id] == whole
            ended = httpx.get(f"{url}/{active}", timeout=SECONDS).json()
            assert ended["status"] == "cancelled"
            with stream(server, "What is 2 + 2?") as reader:
                assert [frame.event for frame in reader][-1] == "done"
