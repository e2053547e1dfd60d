"""Server processes for tests, killed in the end."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import psycopg
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


class Row(NamedTuple):
    """The state of a run in the database, the name of its worker, and its segments."""

    status: str
    worker: str
    segments: int


ROW = """
SELECT status, worker,
       (SELECT count(*) FROM streaming_eventsegment WHERE run_id = streaming_run.id)
  FROM streaming_run
 WHERE id = '{run_id}'
"""


def row(server: Server, run_id: str) -> Row:
    """Return a run in the database of a process, without a process of its own."""
    query = ROW.format(run_id=run_id)
    if url := server.environment["DATABASE_URL"]:
        with psycopg.connect(url) as connection:
            found = connection.execute(query).fetchone()
    else:
        path = Path(server.environment["DATA_DIR"]) / "db.sqlite3"
        with closing(sqlite3.connect(path)) as database:
            found = database.execute(query).fetchone()
    assert found
    return Row(*found)


def status_of(server: Server, run_id: str) -> str:
    """Return the state of a run."""
    return row(server, run_id).status


def is_executed(server: Server, run_id: str) -> bool:
    """Return True if a worker has stored events of a run that goes on.

    A worker that is to end returns a run whose claim it has not learned of yet.
    """
    run = row(server, run_id)
    return run.status == "running" and run.segments > 0
