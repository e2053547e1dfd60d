"""Processes for tests, killed in the end."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.faults.databases import database
from tests.processes.server import Process, Start


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Start]:
    """Make a process; all of a test share a database, where the suite has its own."""
    made: list[Process] = []
    with database(tmp_path, os.environ.get("TEST_DATABASE_URL", "")) as url:

        def make(*command: str, **environment: str) -> Process:
            variables = {"DATABASE_URL": url, **environment}
            made.append(Process(tmp_path, *command, **variables))
            return made[-1]

        yield make
        for process in made:
            process.kill()
