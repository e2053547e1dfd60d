"""Errors of real databases, by what they mean for another attempt."""

import asyncio
from collections.abc import Callable

import pytest
from django.db import DatabaseError, OperationalError, connection

from streaming.models import Conversation, Organization, Run
from streaming.storage import database
from streaming.storage.connections import Limits, limited_transaction
from streaming.storage.database import Database
from streaming.storage.errors import (
    describe,
    is_conflict,
    is_rejection,
    is_temporary,
    is_unavailable,
)
from tests.locks import locked
from tests.writer import PATIENCE

pytestmark = pytest.mark.usefixtures("transactional_db")


def execute(sql: str) -> Callable[[], None]:
    def call() -> None:
        with connection.cursor() as cursor:
            cursor.execute(sql)

    return call


def repeat_a_key() -> None:
    for _ in range(2):
        Organization.objects.create(org_id="acme")


def break_a_constraint() -> None:
    Conversation.objects.bulk_create([Conversation(conversation_id="c")])


REJECTIONS = [
    execute("SELECT nothing FROM streaming_nowhere"),
    execute("SELEC 1"),
    execute("INSERT INTO streaming_run (id) VALUES ('x')"),
    repeat_a_key,
    break_a_constraint,
]


@pytest.mark.parametrize("call", REJECTIONS)
async def test_a_rejection_is_raised_at_once(call: Callable[[], None]) -> None:
    attempts: list[str] = []

    def write() -> None:
        attempts.append("again")
        call()

    with pytest.raises(DatabaseError) as raised:
        await database.retry_while_unavailable(lambda: database.execute_write(write))
    assert is_rejection(raised.value)
    assert not is_temporary(raised.value)
    assert describe(raised.value).startswith(type(raised.value).__name__)
    assert len(attempts) == 1


async def test_a_value_that_a_driver_refuses_is_a_rejection() -> None:
    def write() -> None:
        Organization.objects.create(org_id="a\ud800b")

    with pytest.raises(Exception, match="surrogates|utf") as raised:
        await database.execute_write(write)
    assert is_rejection(raised.value)


@pytest.mark.parametrize(
    "error", [OperationalError("away"), database.DatabaseTimeout("30 s")]
)
def test_an_outage_is_temporary(error: Exception) -> None:
    assert is_unavailable(error)
    assert is_temporary(error)
    assert not is_rejection(error)


@pytest.mark.postgresql
def test_limits_end_a_statement_and_are_conflicts() -> None:
    with (
        pytest.raises(OperationalError) as raised,
        limited_transaction(Limits(lock=1, statement=0.1)),
    ):
        execute("SELECT pg_sleep(5)")()
    assert is_conflict(raised.value)
    assert not is_unavailable(raised.value)
    execute("SELECT pg_sleep(0.2)")()  # the limit ends with its transaction


@pytest.mark.postgresql
async def test_a_read_that_takes_too_long_ends_and_frees_its_thread() -> None:
    other = Database(timeout_seconds=0.3)
    for _ in range(8):
        with pytest.raises(OperationalError):
            await other.execute_read(execute("SELECT pg_sleep(60)"))
    other.timeout_seconds = PATIENCE / 2  # less than the statements would take
    assert await other.execute_read(Organization.objects.count) == 0
    other.close()


def rename(name: str) -> int:
    return Organization.objects.filter(org_id=name).update(org_id=f"{name} again")


@pytest.mark.postgresql
async def test_a_locked_row_delays_its_own_writes_only() -> None:
    names = ["locked", "free"]
    for name in names:
        await database.execute_write(Organization(org_id=name).save)
    async with locked(Organization.objects.filter(org_id="locked")):
        writes = [
            asyncio.create_task(database.execute_write(rename, name)) for name in names
        ]
        async with asyncio.timeout(PATIENCE):
            assert await writes[1] == 1
            assert await database.execute_write(Run.objects.count) == 0
        assert not writes[0].done()
    async with asyncio.timeout(PATIENCE):
        assert await writes[0] == 1


@pytest.mark.postgresql
async def test_a_lock_that_is_kept_fails_its_own_writes_only() -> None:
    other = Database(blocked_limits=Limits(lock=0.3, statement=5))
    await other.execute_write(Organization(org_id="locked").save)
    async with locked(Organization.objects.all()):
        with pytest.raises(OperationalError) as raised:
            await other.execute_write(rename, "locked")
        assert is_conflict(raised.value)
        assert await other.execute_write(Run.objects.count) == 0
    assert await other.execute_write(rename, "locked") == 1
    other.close()
