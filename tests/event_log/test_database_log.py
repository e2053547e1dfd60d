"""The event log against a simple model: whatever is appended is followed, once, in
order, from any number on, in this process and in another."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from functools import partial
from typing import ParamSpec, Protocol, TypeVar

import pytest
import pytest_asyncio
from django.db import (
    DatabaseError,
    IntegrityError,
    OperationalError,
    connection,
    transaction,
)
from django.test.utils import CaptureQueriesContext

from streaming.event_log import (
    ClosedLogs,
    DatabaseLog,
    LogOptions,
    OwnershipLost,
    stored_log,
)
from streaming.events import Content, Done, Entry, Event
from streaming.models import (
    Conversation,
    EventSegment,
    LogState,
    Organization,
    Run,
)
from streaming.storage import database
from streaming.storage.database import Database
from tests import campaign
from tests.event_log.faulty import Fault, FaultKind, FaultyDatabase
from tests.locks import locked
from tests.writer import busy_writer

P = ParamSpec("P")
T = TypeVar("T")

WORKER = "this"
FLUSH = 0.02


def make_run(worker: str = WORKER) -> Run:
    organization, _ = Organization.objects.get_or_create(org_id="acme")
    conversation = Conversation.objects.create(organization=organization)
    return Run.objects.create(
        organization=organization,
        conversation=conversation,
        input="x",
        provider="demo",
        model="demo",
        worker=worker,
    )


def words(*numbers: int) -> list[Event]:
    return [Content(content=str(number), timestamp=number) for number in numbers]


def commit(ends: ClosedLogs[None]) -> None:
    """Nothing else belongs to the end of these runs."""


class Log(Protocol):
    """Makes the log of one more process."""

    def __call__(
        self,
        *,
        flush_seconds: float = FLUSH,
        database: Database = database.default,
        options: LogOptions | None = None,
    ) -> DatabaseLog: ...


@pytest_asyncio.fixture
async def make_log(transactional_db: None) -> AsyncIterator[Log]:
    made: list[DatabaseLog] = []

    def make(
        *,
        flush_seconds: float = FLUSH,
        database: Database = database.default,
        options: LogOptions | None = None,
    ) -> DatabaseLog:
        log = DatabaseLog(
            WORKER, flush_seconds, lost.append, database=database, options=options
        )
        made.append(log)
        return log

    lost: list[str] = []
    yield make
    for log in made:
        await log.aclose()


async def read(log: DatabaseLog, run_id: str, after: int = 0) -> list[Entry]:
    async with asyncio.timeout(20):
        return [
            entry
            async for batch in log.follow(run_id, after, heartbeat=60)
            for entry in batch
        ]


async def test_a_log_is_read_from_any_number_on(make_log: Log) -> None:
    here, elsewhere = make_log(), make_log()
    run = await database.execute_write(make_run)
    here.open(run.id, run.attempt)
    readers = [
        asyncio.create_task(read(log, run.id, after))
        for log in (here, elsewhere)
        for after in range(12)
    ]
    for number in range(1, 10):
        here.append(run.id, words(number))
        await asyncio.sleep(FLUSH / 2)
    await here.close(run.id, [*words(10), Done(timestamp=11)], None, commit)
    whole = await read(make_log(), run.id)
    assert [entry.number for entry in whole] == list(range(1, 12))
    assert whole[-1].is_last
    for index, found in enumerate(await asyncio.gather(*readers)):
        assert found == whole[index % 12 :]


@pytest.mark.parametrize("seed", campaign.seeds(3))
async def test_readers_that_come_and_go_see_each_event_once(
    make_log: Log, seed: int
) -> None:
    chance = random.Random(seed)
    here, elsewhere = make_log(), make_log()
    run = await database.execute_write(make_run)
    here.open(run.id, run.attempt)

    async def come_and_go(log: DatabaseLog) -> list[Entry]:
        seen: list[Entry] = []
        while not (seen and seen[-1].is_last):
            after = seen[-1].number if seen else 0
            stay = chance.randint(1, 30)
            async with aclosing(log.follow(run.id, after, heartbeat=60)) as batches:
                async for batch in batches:
                    seen += batch
                    stay -= 1
                    await asyncio.sleep(chance.random() * FLUSH)
                    if not stay:
                        break
        return seen

    readers = [
        asyncio.create_task(come_and_go(chance.choice((here, elsewhere))))
        for _ in range(20)
    ]
    number = 0
    while number < 300:
        count = chance.randint(1, 10)
        here.append(run.id, words(*range(number + 1, number + count + 1)))
        number += count
        await asyncio.sleep(chance.random() * FLUSH / 4)
    await here.close(run.id, [Done()], None, commit)
    async with asyncio.timeout(30):
        all_seen = await asyncio.gather(*readers)
    for seen in all_seen:
        assert [entry.number for entry in seen] == list(range(1, number + 2))
        assert seen == all_seen[0]


async def test_a_reader_far_behind_reads_the_database(make_log: Log) -> None:
    log = make_log(options=LogOptions(tail_entries=5))
    run = await database.execute_write(make_run)
    log.open(run.id, run.attempt)
    slow = log.follow(run.id, 0, heartbeat=60)
    log.append(run.id, words(1))
    first = await anext(slow)
    for number in range(2, 200):
        log.append(run.id, words(number))
        if number % 20 == 0:
            await log.flush()
    await log.close(run.id, [Done()], None, commit)
    async with aclosing(slow):
        rest = [entry async for batch in slow for entry in batch]
    assert [e.number for e in [*first, *rest]] == list(range(1, 201))


class CountingDatabase(FaultyDatabase):
    """A database access that notes how many queries each write takes."""

    def __init__(self) -> None:
        super().__init__()
        self.queries: list[int] = []

    async def execute_write(
        self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        def count() -> T:
            with CaptureQueriesContext(connection) as queries:
                result = function(*args, **kwargs)
            self.queries.append(len(queries))
            return result

        return await super().execute_write(count)


async def test_all_runs_of_a_process_share_one_transaction(make_log: Log) -> None:
    counting = CountingDatabase()
    log = make_log(flush_seconds=60, database=counting)
    runs = [await database.execute_write(make_run) for _ in range(10)]
    for run in runs:
        log.open(run.id, run.attempt)
        log.append(run.id, words(1, 2, 3))
    await log.flush()
    assert counting.queries == [2]
    assert await EventSegment.objects.acount() == 10
    for run in runs:
        log.abandon(run.id, [])


async def test_a_writer_that_lost_its_run_writes_no_more(make_log: Log) -> None:
    lost: list[str] = []
    log = DatabaseLog(WORKER, FLUSH, lost.append)
    run = await database.execute_write(make_run)
    log.open(run.id, run.attempt)
    await Run.objects.aupdate(worker="another")
    log.append(run.id, words(1))
    await log.flush()
    assert lost == [run.id]
    assert not await EventSegment.objects.aexists()
    log.abandon(run.id, [])
    await log.aclose()


async def test_an_end_that_cannot_be_kept_is_not_shown(make_log: Log) -> None:
    log = make_log()
    run = await database.execute_write(make_run)
    log.open(run.id, run.attempt)
    log.append(run.id, words(1))
    reader = asyncio.create_task(read(log, run.id))

    def fail(ends: ClosedLogs[None]) -> None:
        raise DatabaseError("away")

    with pytest.raises(DatabaseError):
        await log.close(run.id, [Done()], None, fail)
    assert not reader.done()
    await log.close(run.id, [Done(timestamp=5)], None, commit)
    entries = await reader
    assert [entry.number for entry in entries] == [1, 2]
    assert await database.execute_read(stored_log().read, run.id) == entries


async def test_a_flush_between_two_attempts_to_end_spoils_neither(
    make_log: Log,
) -> None:
    faulty = FaultyDatabase()
    log = make_log(flush_seconds=60, database=faulty)
    run = await database.execute_write(make_run)
    log.open(run.id, run.attempt)
    log.append(run.id, words(1))

    def ended(ends: ClosedLogs[None]) -> None:
        Run.objects.filter(id=run.id).update(status="completed")

    faulty.faults.append(Fault("lose the answer"))
    with pytest.raises(OperationalError):
        await log.close(run.id, [Done(timestamp=2)], None, ended)
    await log.flush()
    await log.close(run.id, [Done(timestamp=2)], None, ended)
    assert [entry.number for entry in await read(log, run.id)] == [1, 2]


async def test_silence_is_told_by_an_empty_batch(make_log: Log) -> None:
    here, elsewhere = make_log(), make_log()
    run = await database.execute_write(make_run)
    here.open(run.id, run.attempt)
    for log in (here, elsewhere):
        async with aclosing(log.follow(run.id, 0, heartbeat=0.02)) as batches:
            assert await anext(batches) == []
    here.abandon(run.id, [])


async def test_a_number_beyond_the_end_ends_at_once(make_log: Log) -> None:
    log = make_log()
    run = await database.execute_write(make_run)
    log.open(run.id, run.attempt)
    await log.close(run.id, [Done()], None, commit)
    assert await read(log, run.id, 1) == []
    assert await read(log, run.id, 1_000_000) == []


async def begin(log: DatabaseLog) -> Run:
    """A run with one event that is durable."""
    run = await database.execute_write(make_run)
    log.open(run.id, run.attempt)
    log.append(run.id, words(1))
    await log.flush()
    return run


async def test_readers_of_other_processes_are_let_go_at_shutdown(
    make_log: Log,
) -> None:
    here, elsewhere = make_log(), make_log()
    run = await begin(here)
    reader = asyncio.create_task(read(elsewhere, run.id))
    await asyncio.sleep(FLUSH * 4)
    elsewhere.release()
    assert [entry.number for entry in await reader] == [1]
    here.abandon(run.id, [])


@pytest.mark.parametrize("joined", [True, False])
async def test_a_reader_is_let_go_when_the_database_stays_away(
    make_log: Log, joined: bool
) -> None:
    faulty = FaultyDatabase()
    here, elsewhere = make_log(), make_log(database=faulty)
    run = await begin(here)
    batches = elsewhere.follow(run.id, 0, heartbeat=FLUSH)
    async with aclosing(batches), asyncio.timeout(20):
        assert [entry.number for entry in await anext(batches)] == [1]
        if joined:
            assert await anext(batches) == []
        faulty.reads_fail = True
        assert [batch async for batch in batches if batch] == []
    faulty.reads_fail = False
    back = asyncio.create_task(read(elsewhere, run.id, 1))
    await here.close(run.id, [Done()], None, commit)
    assert [entry.number for entry in await back] == [2]


def end(ends: ClosedLogs[Run]) -> None:
    """Write what belongs to the end of runs."""
    for run, log_state in ends:
        going = Run.objects.filter(id=run.id, worker=WORKER, status="running")
        if not going.update(status="completed", log_state=log_state):
            raise OwnershipLost(run.id)


async def test_runs_that_end_at_the_same_time_share_a_transaction(
    make_log: Log,
) -> None:
    log = make_log(flush_seconds=60)  # the end comes before a flush
    runs = [await database.execute_write(make_run) for _ in range(10)]
    for run in runs:
        log.open(run.id, run.attempt)
        log.append(run.id, words(1))

    def ended(ends: ClosedLogs[Run]) -> None:
        end(ends)
        transaction.on_commit(partial(order.append, "committed"))
        order.append(f"{len(ends)} written")

    order: list[str] = []
    async with busy_writer():
        closing = [
            asyncio.create_task(log.close(run.id, [Done()], run, ended)) for run in runs
        ]
        for _ in range(2 * len(runs)):  # each takes the log's lock, in turn
            await asyncio.sleep(0)
    await asyncio.gather(*closing)
    assert order == ["10 written", "committed"]
    assert {run.log_state async for run in Run.objects.all()} == {LogState.COMPACTED}


@pytest.mark.parametrize("fault", ["", "refuse", "lose the answer"])
async def test_a_run_ends_rightly_while_a_flush_has_its_events_in_hand(
    make_log: Log, fault: FaultKind
) -> None:
    faulty, held = FaultyDatabase(), Fault(fault, held=True)
    log = make_log(flush_seconds=60, database=faulty)
    run = await database.execute_write(make_run)
    log.open(run.id, run.attempt)
    log.append(run.id, words(1, 2))
    faulty.faults.append(held)
    flushing = asyncio.create_task(log.flush())
    await held.begun.wait()
    log.append(run.id, words(3))
    closing = asyncio.create_task(log.close(run.id, [Done()], run, end))
    await asyncio.sleep(0)
    held.proceed.set()
    [flushed] = await asyncio.gather(flushing, return_exceptions=True)
    await closing
    assert isinstance(flushed, OperationalError) == bool(fault)
    assert [entry.number for entry in await read(make_log(), run.id)] == [1, 2, 3, 4]
    rows = 1 if fault == "refuse" else 2
    assert await EventSegment.objects.acount() == rows
    state = LogState.COMPACTED if rows == 1 else LogState.WRITTEN
    assert (await Run.objects.aget()).log_state == state


async def test_who_waits_to_keep_an_abandoned_run_is_told_that_it_is_lost(
    make_log: Log,
) -> None:
    faulty = FaultyDatabase()
    log = make_log(flush_seconds=60, database=faulty)
    run = await begin(log)
    log.append(run.id, words(2))
    faulty.faults.append(held := Fault(held=True))
    flushing = asyncio.create_task(log.flush())
    await held.begun.wait()
    keeping = asyncio.create_task(log.checkpoint(run.id, lambda _: None))
    await asyncio.sleep(0)
    log.abandon(run.id, [Done()])
    held.proceed.set()
    await flushing
    with pytest.raises(OwnershipLost):
        await keeping


async def test_events_that_the_database_rejects_end_their_own_run_only(
    make_log: Log,
) -> None:
    rejected: list[str] = []
    log = DatabaseLog(WORKER, 60, lambda run_id: None, on_rejected=rejected.append)
    bad, good = [await database.execute_write(make_run) for _ in range(2)]
    for run in (bad, good):
        log.open(run.id, run.attempt)
    row = EventSegment(run=bad, first_id=1, last_id=2, events="{}\n{}")
    await database.execute_write(row.save)  # the log's own row would be a second one
    for run in (bad, good):
        log.append(run.id, words(1, 2))
    await log.flush()
    assert rejected == [bad.id]
    assert [e.number for e in await database.execute_read(stored_log().read, good.id)]
    assert log.failing_since is None
    assert log.unanswered(0) == []
    with pytest.raises(IntegrityError):
        await log.checkpoint(bad.id, lambda _: None)
    await log.close(bad.id, [Done()], None, commit, drop_pending=True)
    entry = await database.execute_read(stored_log().newest, bad.id)
    assert entry
    assert (entry.number, entry.is_last) == (3, True)
    log.abandon(good.id, [])
    await log.aclose()


async def test_health_is_that_of_the_oldest_unanswered_write(make_log: Log) -> None:
    faulty = FaultyDatabase()
    log = make_log(
        flush_seconds=60, database=faulty, options=LogOptions(slow_seconds=0)
    )
    gone, silent = [await database.execute_write(make_run) for _ in range(2)]
    for run in (gone, silent):
        log.open(run.id, run.attempt)
    log.append(gone.id, words(1))
    faulty.faults.append(Fault("refuse"))
    with pytest.raises(OperationalError):
        await log.flush()
    assert log.failing_since
    assert log.unanswered(0) == [gone.id]
    log.abandon(gone.id, [Done()])
    assert log.failing_since is None
    assert log.unanswered(0) == []
    log.abandon(silent.id, [])


async def test_a_deleted_run_is_an_answer_of_the_database(make_log: Log) -> None:
    log = make_log(flush_seconds=60, options=LogOptions(slow_seconds=0))
    run = await database.execute_write(make_run)
    log.open(run.id, run.attempt)
    log.append(run.id, words(1))
    await Run.objects.all().adelete()
    with pytest.raises(OwnershipLost):
        await log.close(run.id, [Done()], run, end)
    assert log.failing_since is None
    log.abandon(run.id, [])


@pytest.mark.postgresql
async def test_a_flush_leaves_out_a_run_that_is_locked(make_log: Log) -> None:
    log = make_log(flush_seconds=60, options=LogOptions(slow_seconds=0))
    runs = [await database.execute_write(make_run) for _ in range(2)]
    for run in runs:
        log.open(run.id, run.attempt)
        log.append(run.id, words(1))
    async with locked(Run.objects.filter(id=runs[0].id)), asyncio.timeout(20):
        await log.flush()
        numbers = [
            len(await database.execute_read(stored_log().read, run.id)) for run in runs
        ]
        assert numbers == [0, 1]
        assert log.failing_since is None
        closing = asyncio.create_task(log.close(runs[0].id, [Done()], runs[0], end))
        await log.close(runs[1].id, [Done()], runs[1], end)
        assert not closing.done()
        # A write that waits for a lock is known as such after a tenth of a second.
        while log.failing_since is not None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await closing
    assert [entry.number for entry in await read(log, runs[0].id)] == [1, 2]
