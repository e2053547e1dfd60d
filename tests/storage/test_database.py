"""Database access: pending writes share a transaction and fail independently."""

import asyncio
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from django.db import IntegrityError, OperationalError, transaction

from streaming.models import Conversation, Organization
from streaming.storage import database
from streaming.storage.database import Database
from tests.writer import PATIENCE, busy_writer

pytestmark = pytest.mark.usefixtures("transactional_db")


class Refused(Exception):
    """Raised by a function that has written already."""


async def write_together(*functions: Callable[[], object]) -> list[object]:
    """Return the result or exception of each write, all pending at the same time."""
    async with busy_writer():
        tasks = [
            asyncio.create_task(database.execute_write(function))
            for function in functions
        ]
        await asyncio.sleep(0)
    return await asyncio.gather(*tasks, return_exceptions=True)


def make(name: str) -> Callable[[], str]:
    """Return a function that writes an organization."""

    def write() -> str:
        return Organization.objects.create(org_id=name).org_id

    return write


async def organizations() -> set[str]:
    return set(
        await database.execute_read(
            lambda: list(Organization.objects.values_list("org_id", flat=True))
        )
    )


async def test_pending_writes_are_committed_together() -> None:
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
    """Write organizations by one statement, or refuse all of them."""
    if "refused" in names:
        raise Refused
    made = [Organization(org_id=f"{prefix} {name} of {len(names)}") for name in names]
    Organization.objects.bulk_create(made)
    return [organization.org_id for organization in made]


async def write_alike(*items: tuple[str, str]) -> list[object]:
    """Return the result or exception of each write, all pending at the same time."""
    async with busy_writer():
        tasks = [
            asyncio.create_task(database.execute_write_batched(make_all, name, prefix))
            for name, prefix in items
        ]
        await asyncio.sleep(0)
    return await asyncio.gather(*tasks, return_exceptions=True)


async def test_pending_items_of_one_function_are_written_in_one_call() -> None:
    names = [("a", "x"), ("b", "y"), ("c", "x"), ("d", "x")]
    results = await write_alike(*names)
    assert results == ["x a of 3", "y b of 1", "x c of 3", "x d of 3"]
    assert await organizations() == set(results)


async def test_a_failing_item_undoes_no_other_item() -> None:
    results = await write_alike(("a", "x"), ("refused", "x"), ("b", "x"), ("a", "x"))
    assert [type(result) for result in results] == [str, Refused, str, IntegrityError]
    assert await organizations() == {"x a of 1", "x b of 1"}


async def test_a_failing_write_undoes_itself_and_no_other() -> None:
    def refuse() -> None:
        Organization.objects.create(org_id="refused")
        raise Refused

    results = await write_together(make("a"), refuse, make("b"), make("a"))
    assert [type(result) for result in results] == [str, Refused, str, IntegrityError]
    assert await organizations() == {"a", "b"}


async def test_a_failing_commit_undoes_no_other_write() -> None:
    def break_a_key() -> None:
        Conversation.objects.create(organization_id=404)

    results = await write_together(make("a"), break_a_key, make("b"))
    assert [type(result) for result in results] == [str, IntegrityError, str]
    assert await organizations() == {"a", "b"}
    assert not await database.execute_read(Conversation.objects.exists)


async def test_an_unavailable_database_gets_one_more_attempt_for_the_batch() -> None:
    asked: list[str] = []

    def fail() -> None:
        asked.append("again")
        raise OperationalError("unavailable")

    results = await write_together(fail, fail, fail)
    assert [type(result) for result in results] == [OperationalError] * 3
    assert len(asked) == 2


async def test_a_possibly_committed_write_is_not_repeated() -> None:
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


async def test_a_pending_write_that_is_cancelled_writes_nothing() -> None:
    async with busy_writer():
        waiting = asyncio.create_task(database.execute_write(make("late")))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
    assert await database.execute_write(make("next")) == "next"
    assert await organizations() == {"next"}


async def test_a_write_in_progress_is_completed_when_its_caller_is_cancelled() -> None:
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


@pytest.fixture
def other() -> Iterator[Database]:
    """A database access with short time limits."""
    other = Database(timeout_seconds=0.1, close_seconds=0.1)
    yield other
    other.close()


async def test_a_call_that_hangs_times_out(other: Database) -> None:
    answer = threading.Event()
    for call in (other.execute_read, other.execute_write):
        with pytest.raises(database.DatabaseTimeout):
            await call(answer.wait, PATIENCE)
    answer.set()
    other.timeout_seconds = PATIENCE
    assert await other.execute_write(make("later")) == "later"


async def test_a_thread_that_hangs_does_not_delay_the_end(other: Database) -> None:
    other.timeout_seconds = PATIENCE
    begun, answer = threading.Barrier(3), threading.Event()

    def hang() -> None:
        begun.wait(PATIENCE)
        answer.wait(PATIENCE)

    hanging = [
        asyncio.create_task(call(hang))
        for call in (other.execute_read, other.execute_write)
    ]
    await asyncio.to_thread(begun.wait, PATIENCE)
    await asyncio.to_thread(other.close)
    answer.set()
    await asyncio.gather(*hanging)
    assert await other.execute_write(make("by new threads")) == "by new threads"


async def test_a_failing_database_is_retried_until_the_time_limit() -> None:
    other = Database(timeout_seconds=PATIENCE, retry_seconds=0.01)
    attempts: list[str] = []

    async def fail() -> str:
        attempts.append("again")
        raise OperationalError("unavailable")

    async def recover() -> str:
        attempts.append("again")
        if len(attempts) < 3:
            raise OperationalError("unavailable")
        return "recovered"

    assert await other.retry_while_unavailable(recover) == "recovered"
    assert len(attempts) == 3
    other.timeout_seconds = 0.5
    with pytest.raises(OperationalError):
        await other.retry_while_unavailable(fail)
    assert len(attempts) > 5


async def test_more_writes_than_one_batch_are_all_done() -> None:
    names = [f"org {at}" for at in range(3 * database.MAX_BATCH + 1)]
    assert await write_together(*map(make, names)) == names
    assert await organizations() == set(names)


async def test_writes_behind_cancelled_writes_are_done() -> None:
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


async def write_many(count: int, access: Database = database.default) -> list[int]:
    """Write `count` times, each as soon as the write before it is done."""
    return [await access.execute_write(lambda at: at, at) for at in range(count)]


async def test_no_write_is_forgotten_as_the_thread_comes_to_an_end() -> None:
    every, count = sys.getswitchinterval(), 1_000
    sys.setswitchinterval(1e-6)  # so that threads meet in the middle of a line
    try:
        elsewhere = asyncio.to_thread(asyncio.run, write_many(count))
        done = await asyncio.gather(elsewhere, *(write_many(count) for _ in range(3)))
    finally:
        sys.setswitchinterval(every)
    assert done == [list(range(count))] * 4


async def test_calls_that_meet_the_end_of_the_threads_are_made_in_new_ones() -> None:
    other, enough = Database(timeout_seconds=PATIENCE), threading.Event()

    def close_again() -> None:
        while not enough.is_set():
            other.close()

    async def read_many(count: int) -> list[int]:
        return [await other.execute_read(lambda at: at, at) for at in range(count)]

    every, count = sys.getswitchinterval(), 100
    closing = asyncio.create_task(asyncio.to_thread(close_again))
    sys.setswitchinterval(1e-6)  # so that threads meet in the middle of a line
    try:
        done = await asyncio.gather(read_many(count), write_many(count, other))
    finally:
        sys.setswitchinterval(every)
        enough.set()
        await closing
    assert [*done] == [list(range(count))] * 2
    other.close()


async def test_no_write_is_forgotten_when_two_event_loops_write_at_once() -> None:
    both = threading.Barrier(2)

    class Meeting(deque[Any]):
        def append(self, write: Any) -> None:  # noqa: ANN401
            super().append(write)
            both.wait(PATIENCE)

    other = Database(timeout_seconds=PATIENCE)
    other.pending = Meeting()
    elsewhere = asyncio.to_thread(asyncio.run, write_many(1, other))
    there, here = await asyncio.gather(elsewhere, write_many(1, other))
    assert there == here == [0]
    other.close()
