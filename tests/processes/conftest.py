"""Processes for tests, killed in the end."""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.processes.server import Process, Start


@pytest.fixture
def database() -> Iterator[dict[str, str]]:
    """The variables of a database of one's own: on PostgreSQL, where the suite is."""
    url = os.environ.get("TEST_DATABASE_URL")
    if not url:
        yield {}
        return
    name = f"test_processes_{secrets.token_hex(6)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield {"DATABASE_URL": urlsplit(url)._replace(path=f"/{name}").geturl()}
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def make(tmp_path: Path, database: dict[str, str]) -> Iterator[Start]:
    """Make a process with a migrated database; it is killed in the end."""
    made: list[Process] = []

    def make(*command: str, **environment: str) -> Process:
        process = Process(tmp_path, *command, **{**database, **environment})
        process.manage("migrate", "--verbosity", "0")
        made.append(process)
        return process

    yield make
    for process in made:
        process.kill()
