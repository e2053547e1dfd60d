"""Faults that tests switch on: a database that fails, or whose answer is lost."""

from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

import pytest
from django.db import OperationalError

from streaming import db

P = ParamSpec("P")
T = TypeVar("T")


class Database:
    """The way to the database, which may be cut before or behind a transaction."""

    def __init__(self) -> None:
        #: Transactions that fail before they begin.
        self.refuse = 0
        #: Transactions that are committed, and the answer is lost.
        self.lose_answers = 0
        #: The functions whose transactions were cut.
        self.cut: list[str] = []
        self._write = db.write

    async def write(
        self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        name = getattr(getattr(function, "func", function), "__name__", "")
        if name in self.spared:
            return await self._write(function, *args, **kwargs)
        if self.refuse:
            self.refuse -= 1
            self.cut.append(name)
            raise OperationalError("the database is away")
        result = await self._write(function, *args, **kwargs)
        if self.lose_answers:
            self.lose_answers -= 1
            self.cut.append(name)
            raise OperationalError("the connection broke in the commit")
        return result

    #: The pulse writes when it likes; what a test cuts is what the test does.
    spared = ("beat", "listen", "interrupt")


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """The process's database, to be cut."""
    faulty = Database()
    monkeypatch.setattr(db, "write", faulty.write)
    monkeypatch.setattr(db, "RETRY_SECONDS", 0.02)
    yield faulty
