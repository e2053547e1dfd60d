"""Server processes for tests, killed in the end."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.faults.databases import database
from streaming.testing.server import Server
from tests.servers import READY, ROOT, site_environment

Make = Callable[..., Server]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Make servers; those of one test share a database of the suite's kind."""
    made: list[Server] = []
    with database(tmp_path, os.environ.get("TEST_DATABASE_URL", "")) as url:

        def make(*command: str, **variables: str) -> Server:
            environment = site_environment(
                tmp_path, **{"DATABASE_URL": url, **variables}
            )
            made.append(
                Server(
                    command, tmp_path, environment=environment, cwd=ROOT, ready=READY
                )
            )
            return made[-1]

        yield make
        for server in made:
            server.kill()
        for server in made:
            server.check_log()
