"""Faults that tests switch on: a database that fails, or whose answer is lost."""

from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

import pytest
from django.db import OperationalError

from streaming.storage import database


class FaultyDatabase:
    """The way to the database, which may be cut before or behind a transaction."""

    def __init__(self) -> None:
        #: Transactions that fail before they begin.
        self.refuse = 0
        #: Transactions that are committed, and the answer is lost.
        self.lose_answers = 0
        #: The functions whose transactions were cut.
        self.cut: list[str] = []
        self._write: Callable[..., Awaitable[Any]] = database.execute_write_batched

    async def write(
        self, function: Callable[..., Any], item: object, *shared: object
    ) -> Any:  # noqa: ANN401
        called = item.func if isinstance(item, partial) else function
        name = getattr(called, "__name__", "")
        if name in self.spared:
            return await self._write(function, item, *shared)
        if self.refuse:
            self.refuse -= 1
            self.cut.append(name)
            raise OperationalError("the database is away")
        result = await self._write(function, item, *shared)
        if self.lose_answers:
            self.lose_answers -= 1
            self.cut.append(name)
            raise OperationalError("the connection broke in the commit")
        return result

    #: The heartbeat writes when it likes; what a test cuts is what the test does.
    spared = ("renew_leases", "touch_readers", "fail_orphan")


@pytest.fixture
def faulty_database(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyDatabase]:
    """The process's database, to be cut."""
    faulty = FaultyDatabase()
    for way in (database, database.default):
        monkeypatch.setattr(way, "execute_write_batched", faulty.write)
    monkeypatch.setattr(database.default, "retry_seconds", 0.02)
    yield faulty
