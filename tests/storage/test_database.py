"""The way to the database: what waits for the writer shares a transaction, and suffers
nothing from what it shares it with."""

import asyncio
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from django.db import IntegrityError, OperationalError, transaction

from streaming.models import Conversation, Organization
from streaming.storage import database
from tests.writer import PATIENCE, busy_writer

pytestmark = pytest.mark.django_db(transaction=True)


class Refused(Exception):
    """What a function raises that has written already."""


async def write_together(*functions: Callable[[], object]) -> list[object]:
    """What each returned or raised, when all had to wait for the same."""
    async with busy_writer():
        tasks = [
            asyncio.create_task(database.execute_write(function))
            for function in functions
        ]
        await asyncio.sleep(0)
    return await asyncio.gather(*tasks, return_exceptions=True)


def make(name: str) -> Callable[[], str]:
    """A function that writes an organization."""

    def write() -> str:
        return Organization.objects.create(org_id=name).org_id

    return write


async def organizations() -> set[str]:
    return set(
        await database.execute_read(
            lambda: list(Organization.objects.values_list("org_id", flat=True))
        )
    )


async def test_what_waits_together_is_committed_together() -> None:
    order: list[str] = []

    def note(name: str) -> Callable[[], None]:
        def write() -> None:
            order.append(f"{name} written")
            transaction.on_commit(lambda: order.append(f"{name} committed"))

        return write

    await write_together(note("a"), note("b"))
    assert order == ["a written", "b written", "a committed", "b committed"]


async def test_each_gets_its_own_result() -> None:
    assert await write_together(make("a"), make("b")) == ["a", "b"]
    assert await organizations() == {"a", "b"}


def make_all(names: Sequence[str], prefix: str) -> list[str]:
    """Write organizations, all at once; of those that are refused none."""
    if "refused" in names:
        raise Refused
    made = [Organization(org_id=f"{prefix} {name} of {len(names)}") for name in names]
    Organization.objects.bulk_create(made)
    return [organization.org_id for organization in made]


async def write_alike(*items: tuple[str, str]) -> list[object]:
    """What each got or raised, when all had to wait for the same."""
    async with busy_writer():
        tasks = [
            asyncio.create_task(database.execute_write_batched(make_all, name, prefix))
            for name, prefix in items
        ]
        await asyncio.sleep(0)
    return await asyncio.gather(*tasks, return_exceptions=True)


async def test_what_is_written_alike_is_written_in_one_call() -> None:
    names = [("a", "x"), ("b", "y"), ("c", "x"), ("d", "x")]
    results = await write_alike(*names)
    assert results == ["x a of 3", "y b of 1", "x c of 3", "x d of 3"]
    assert await organizations() == set(results)


async def test_who_fails_among_those_alike_undoes_no_other() -> None:
    results = await write_alike(("a", "x"), ("refused", "x"), ("b", "x"), ("a", "x"))
    assert [type(result) for result in results] == [str, Refused, str, IntegrityError]
    assert await organizations() == {"x a of 1", "x b of 1"}


async def test_who_fails_undoes_itself_and_no_other() -> None:
    def refuse() -> None:
        Organization.objects.create(org_id="refused")
        raise Refused

    results = await write_together(make("a"), refuse, make("b"), make("a"))
    assert [type(result) for result in results] == [str, Refused, str, IntegrityError]
    assert await organizations() == {"a", "b"}


async def test_what_fails_at_the_commit_undoes_no_other() -> None:
    def break_a_key() -> None:
        Conversation.objects.create(organization_id=404)

    results = await write_together(make("a"), break_a_key, make("b"))
    assert [type(result) for result in results] == [str, IntegrityError, str]
    assert await organizations() == {"a", "b"}
    assert not await database.execute_read(Conversation.objects.exists)


async def test_a_database_that_is_away_is_asked_once_more_and_not_by_all() -> None:
    asked: list[str] = []

    def fail() -> None:
        asked.append("again")
        raise OperationalError("away")

    results = await write_together(fail, fail, fail)
    assert [type(result) for result in results] == [OperationalError] * 3
    assert len(asked) == 2


async def test_what_may_have_been_committed_is_not_done_again() -> None:
    asked: list[str] = []

    def lose_the_answer() -> None:
        raise OperationalError("the connection broke after the commit")

    def write() -> None:
        asked.append("once")
        transaction.on_commit(lose_the_answer)

    results = await write_together(make("a"), write, make("b"))
    assert [type(result) for result in results] == [OperationalError] * 3
    assert asked == ["once"]
    assert await organizations() == {"a", "b"}


async def test_who_is_cancelled_while_waiting_writes_nothing() -> None:
    async with busy_writer():
        waiting = asyncio.create_task(database.execute_write(make("late")))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
    assert await database.execute_write(make("next")) == "next"
    assert await organizations() == {"next"}


async def test_what_has_begun_ends_whoever_is_cancelled() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def write() -> None:
        begun.set()
        assert go_on.wait(PATIENCE)
        make("begun")()

    writing = asyncio.create_task(database.execute_write(write))
    assert await asyncio.to_thread(begun.wait, PATIENCE)
    writing.cancel()
    await asyncio.wait([writing])
    go_on.set()
    await database.execute_write(lambda: None)
    assert await organizations() == {"begun"}


async def test_nobody_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "TIMEOUT_SECONDS", 0.1)
    answer = threading.Event()
    for call in (database.execute_read, database.execute_write):
        with pytest.raises(database.DatabaseTimeout):
            await call(answer.wait, PATIENCE)
    answer.set()
    monkeypatch.undo()
    assert await database.execute_write(make("later")) == "later"


async def test_a_thread_that_hangs_does_not_hold_up_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(database, "CLOSE_SECONDS", 0.1)
    begun, answer = threading.Barrier(3), threading.Event()

    def hang() -> None:
        begun.wait(PATIENCE)
        answer.wait(PATIENCE)

    hanging = [
        asyncio.create_task(call(hang))
        for call in (database.execute_read, database.execute_write)
    ]
    await asyncio.to_thread(begun.wait, PATIENCE)
    await asyncio.to_thread(database.close)
    answer.set()
    await asyncio.gather(*hanging)
    assert await database.execute_write(make("by new threads")) == "by new threads"


async def test_more_than_one_group_is_all_done() -> None:
    names = [f"org {at}" for at in range(3 * database.MAX_BATCH + 1)]
    assert await write_together(*map(make, names)) == names
    assert await organizations() == set(names)


async def test_what_waits_behind_the_cancelled_is_done() -> None:
    async with busy_writer():
        gone, after = (
            [
                asyncio.create_task(database.execute_write(make(f"{name} {at}")))
                for at in range(many)
            ]
            for name, many in (("gone", 2 * database.MAX_BATCH), ("after", 2))
        )
        await asyncio.sleep(0)
        for task in gone:
            task.cancel()
        await asyncio.wait(gone)
    assert await asyncio.gather(*after) == ["after 0", "after 1"]
    assert await organizations() == {"after 0", "after 1"}


async def write_many(count: int) -> list[int]:
    """Write so often, each as soon as the one before is done."""
    return [await database.execute_write(lambda at: at, at) for at in range(count)]


async def test_no_write_is_forgotten_as_the_thread_comes_to_an_end() -> None:
    every, count = sys.getswitchinterval(), 1_000
    sys.setswitchinterval(1e-6)  # so that threads meet in the middle of a line
    try:
        elsewhere = asyncio.to_thread(asyncio.run, write_many(count))
        done = await asyncio.gather(elsewhere, *(write_many(count) for _ in range(3)))
    finally:
        sys.setswitchinterval(every)
    assert done == [list(range(count))] * 4


async def test_no_write_is_forgotten_when_two_event_loops_write_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    both = threading.Barrier(2)

    class Meeting(deque[Any]):
        def append(self, write: Any) -> None:  # noqa: ANN401
            super().append(write)
            both.wait(PATIENCE)

    monkeypatch.setattr(database, "_waiting", Meeting())
    monkeypatch.setattr(database, "TIMEOUT_SECONDS", 5.0)
    elsewhere = asyncio.to_thread(asyncio.run, write_many(1))
    there, here = await asyncio.gather(elsewhere, write_many(1))
    assert there == here == [0]
