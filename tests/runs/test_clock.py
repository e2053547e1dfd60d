"""The times of rows are the database's, on which machines with other clocks agree.

On PostgreSQL a function of the test's own takes the place of the database's clock. On
SQLite the clock of the database is that of the process.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from asgiref.sync import SyncToAsync
from django.db import connection, connections
from django.utils import timezone

from streaming import runs
from streaming.models import Conversation, Run
from streaming.principals import Principal
from streaming.runs import idempotency, leases, maintenance
from streaming.storage import database
from streaming.storage.sql import database_time
from streaming.testing.provider import Reply, StandInProvider
from tests import chat
from tests.client import Api, all_runs_end
from tests.conftest import ChangeSettings

# On SQLite the database's clock is that of the process.
pytestmark = [pytest.mark.usefixtures("model"), pytest.mark.postgresql]

DAYS = 3
SECONDS = 60


@pytest.fixture
def ahead(transactional_db: None) -> Iterator[timedelta]:
    """Let the database's clock be days ahead of the clocks of the processes."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_database()")
        [name] = cursor.fetchone()
        cursor.execute("CREATE SCHEMA clock")
        cursor.execute(
            "CREATE FUNCTION clock.statement_timestamp() RETURNS timestamptz LANGUAGE"
            f" sql AS $$SELECT pg_catalog.statement_timestamp() + interval '{DAYS} d'$$"
        )
        path = "clock, pg_catalog, public"
        cursor.execute(f'ALTER DATABASE "{name}" SET search_path = {path}')
    renew_connections()  # the setting applies to new ones
    try:
        yield timedelta(days=DAYS)
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f'ALTER DATABASE "{name}" RESET search_path')
            cursor.execute("DROP SCHEMA clock CASCADE")
        renew_connections()


def renew_connections() -> None:
    """Close the connections of all threads, and those in the pool."""
    database.close()
    connection.close()
    # Async ORM calls of the tests themselves run on this thread.
    SyncToAsync.single_thread_executor.submit(connections.close_all).result()
    connection.close_pool()  # type: ignore[attr-defined]  # only PostgreSQL's has it


def is_database_time(moment: datetime | None, ahead: timedelta) -> bool:
    assert moment
    return abs(timezone.now() + ahead - moment) < timedelta(seconds=SECONDS)


async def test_a_run_has_the_times_of_the_database(
    ahead: timedelta, api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(chat.answer("Hello"), Reply(chat.pieces("x"), end="hang"))
    await api.run("Hi", conversation_id="c")
    run = await Run.objects.aget()
    assert is_database_time(run.created_at, ahead)
    assert is_database_time(run.heartbeat_at, ahead)
    assert is_database_time(run.ended_at, ahead)
    assert run.last_reader_at == run.created_at
    conversation = await Conversation.objects.aget()
    assert is_database_time(conversation.updated_at, ahead)
    # A live run is not taken for a dead one, and a cancelled one keeps its time.
    request = runs.RunRequest(
        input="Hi", principal=Principal("default"), conversation_id="c"
    )
    started = await runs.get_service().start(request)
    stale = await database.execute_read(leases.find_stale, float(SECONDS))
    assert stale == {}
    await database.execute_write(leases.request_cancel, [started.id], lambda runs: None)
    await all_runs_end()
    cancelled = await Run.objects.aget(pk=started.id)
    assert is_database_time(cancelled.cancel_requested_at, ahead)


async def test_keys_and_logs_expire_by_the_time_of_the_database(
    ahead: timedelta,
    api: Api,
    upstream: StandInProvider,
    agent_settings: ChangeSettings,
) -> None:
    upstream.reply(chat.answer("Hello"), chat.answer("again"))
    request = runs.RunRequest(
        input="Hi",
        principal=Principal("default"),
        idempotency_key="k",
        request_hash="h",
    )
    first = await runs.get_service().start(request)
    await all_runs_end()
    assert (await runs.get_service().start(request)).id == first.id
    a_day_ago = await database.execute_read(maintenance.days_ago, 1)
    assert is_database_time(a_day_ago + timedelta(days=1), ahead)
    old = await database.execute_read(database_time) - timedelta(days=1, hours=1)
    await Run.objects.aupdate(created_at=old)
    assert await idempotency.expired_keys().acount() == 1
    assert (await runs.get_service().start(request)).id != first.id
    await all_runs_end()
