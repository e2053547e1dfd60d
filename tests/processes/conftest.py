"""Processes for tests, killed in the end."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes.server import Process, Start


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Start]:
    """Make a process with a migrated database; it is killed in the end."""
    made: list[Process] = []

    def make(*command: str, **environment: str) -> Process:
        process = Process(tmp_path, *command, **environment)
        process.manage("migrate", "--verbosity", "0")
        made.append(process)
        return process

    yield make
    for process in made:
        process.kill()
