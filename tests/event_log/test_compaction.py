"""Logs made compact: fewer rows, and not a byte else for any reader."""

import asyncio
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager
from datetime import timedelta
from functools import partial

import pytest
from django.db import connections, transaction
from django.utils import timezone

from streaming.agent.progress import Progress
from streaming.event_log import DatabaseLog, LogOptions
from streaming.event_log.new_rows import read_new
from streaming.event_log.stored import DatabaseStoredLog
from streaming.events import Content, Done, Entry, encode
from streaming.models import (
    Conversation,
    EventSegment,
    LogState,
    Organization,
    Run,
    RunStatus,
)
from streaming.runs import store
from streaming.storage import database
from tests import campaign

ROW_CHARS = 2_000
#: Limits that short logs reach.
SMALL = LogOptions(
    read_rows=5, read_numbers=20, compact_chars=ROW_CHARS, compact_rows=7
)
stored = DatabaseStoredLog(SMALL)


def make_run(**values: object) -> Run:
    organization, _ = Organization.objects.get_or_create(org_id="acme")
    usual = {"status": RunStatus.COMPLETED, "ended_at": timezone.now()}
    return Run.objects.create(
        organization=organization,
        conversation=Conversation.objects.create(organization=organization),
        **usual | values,
    )


def make_log(run: Run, seed: int, rows: int = 40) -> None:
    """Rows of one to six events; now and then a long one, or ids that leap."""
    chance = random.Random(seed)
    number, made = 1, []
    for row in range(rows):
        length = 2 * ROW_CHARS if chance.random() < 0.05 else chance.randint(0, 30)
        lines = [
            encode(Content(content=f"{number + at}é\n{'x' * length}"))
            for at in range(chance.randint(1, 6))
        ]
        if row == rows - 1:
            lines[-1] = encode(Done())
        last = number + len(lines) - 1
        text = b"\n".join(lines).decode()
        made.append(EventSegment(run=run, first_id=number, last_id=last, events=text))
        number = last + 1 + (1_000 if chance.random() < 0.05 else 0)
    EventSegment.objects.bulk_create(made)


def read(run: Run, after: int = 0) -> list[Entry]:
    """Return the log after a number, read a page at a time."""
    entries: list[Entry] = []
    while page := stored.read(run.id, entries[-1].number if entries else after):
        entries += page
    assert list(stored.read_all(run.id, after)) == entries
    return entries


def compact(run: Run) -> int:
    """Compact to the end; how many transactions it took."""
    passes = 0
    after: int | None = 0
    while after is not None:
        passes += 1
        with transaction.atomic():
            after = stored.compact(run.id, after)
    return passes


@pytest.mark.django_db
@pytest.mark.parametrize("seed", campaign.seeds(2))
def test_every_reader_reads_what_it_would_have_read(seed: int) -> None:
    run, other = make_run(), make_run()
    make_log(run, seed)
    make_log(other, seed + 100)
    entries, untouched = read(run), read(other)
    assert compact(run) > 1
    assert read(run) == entries
    for at, entry in enumerate(entries):
        assert read(run, entry.number) == entries[at + 1 :]
        after = {run.id: entry.number}
        found, _ = read_new(after)
        assert found.get(run.id, []) == entries[at + 1 :]
    assert stored.newest(run.id) == entries[-1]
    assert read(other) == untouched
    assert EventSegment.objects.filter(run=other).count() == 40


@pytest.mark.django_db
@pytest.mark.parametrize("seed", campaign.seeds(2))
def test_rows_become_few_and_none_too_large(seed: int) -> None:
    run = make_run()
    make_log(run, seed)
    written = set(EventSegment.objects.values_list("events", flat=True))
    compact(run)
    rows = list(EventSegment.objects.filter(run=run))
    assert len(rows) < 20
    for row in rows:
        assert len(row.events) <= ROW_CHARS or row.events in written
    for row, following in zip(rows, rows[1:], strict=False):
        together = len(row.events) + len(following.events) + 1
        assert together > ROW_CHARS or following.first_id > row.last_id + 1
    run.refresh_from_db()
    assert run.log_state == LogState.COMPACTED


@pytest.mark.django_db
def test_a_run_under_way_is_left_alone() -> None:
    run = make_run(status=RunStatus.RUNNING, ended_at=None)
    make_log(run, 1)
    assert compact(run) == 1
    assert EventSegment.objects.count() == 40


@pytest.mark.django_db
def test_only_runs_that_ended_a_while_ago_are_due() -> None:
    now = timezone.now()
    first = make_run(ended_at=now - timedelta(minutes=9))
    second = make_run(ended_at=now - timedelta(minutes=8))
    make_run(ended_at=now)
    make_run(ended_at=now - timedelta(minutes=9), log_state=LogState.COMPACTED)
    make_run(status=RunStatus.RUNNING, ended_at=None)
    before = now - timedelta(minutes=1)
    assert stored.compaction_due(before, 9) == [first.id, second.id]
    assert stored.compaction_due(before, 1) == [first.id]
    compact(first)
    assert stored.compaction_due(before, 9) == [second.id]


def close_connections(together: threading.Barrier) -> None:
    together.wait()
    connections.close_all()


@contextmanager
def threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """As many connections to the database as threads, closed in the end."""
    with ThreadPoolExecutor(count) as pool:
        yield pool
        together = threading.Barrier(count)  # so that each thread gets one call
        for _ in range(count):
            pool.submit(close_connections, together)


@pytest.mark.usefixtures("transactional_db")
async def test_readers_in_the_middle_miss_nothing_and_see_nothing_twice() -> None:
    runs = [await database.execute_write(make_run) for _ in range(4)]
    whole = {}
    for seed, run in enumerate(runs):
        await database.execute_write(make_log, run, seed, 120)
        whole[run.id] = await database.execute_read(read, run)
    log = DatabaseLog("another", 0.02, lambda _: None, options=SMALL)
    replays = 0

    async def replay(seed: int) -> None:
        nonlocal replays
        chance = random.Random(seed)
        while not compacted.done() or not replays:
            run_id = chance.choice(runs).id
            entries = whole[run_id]
            start = chance.randrange(len(entries))
            after = entries[start].number
            seen: list[Entry] = []
            async with aclosing(log.follow(run_id, after, 60)) as batches:
                async for batch in batches:
                    seen += batch
            assert seen == entries[start + 1 :]
            replays += 1

    with threads(2) as pool:
        loop = asyncio.get_running_loop()
        work = [loop.run_in_executor(pool, compact, run) for run in runs * 2]
        compacted = asyncio.gather(*work)
        async with asyncio.timeout(60):
            await asyncio.gather(*(replay(seed) for seed in range(8)), compacted)
    await log.aclose()
    for run in runs:
        assert await database.execute_read(read, run) == whole[run.id]
        rows = EventSegment.objects.filter(run=run)
        assert await database.execute_read(rows.count) < 80


@pytest.mark.usefixtures("transactional_db")
async def test_deleting_and_compacting_do_not_lock_each_other_out() -> None:
    runs = [await database.execute_write(make_run) for _ in range(10)]
    for run in runs:
        await database.execute_write(make_log, run, 1, 60)
    with threads(2) as pool:
        loop = asyncio.get_running_loop()
        conversations = [Conversation(pk=run.conversation_id) for run in runs]
        work = [
            loop.run_in_executor(pool, do)
            for run, conversation in zip(runs, conversations, strict=True)
            for do in (partial(compact, run), conversation.delete)
        ]
        async with asyncio.timeout(60):
            await asyncio.gather(*work)
    assert not await EventSegment.objects.aexists()


@pytest.mark.usefixtures("transactional_db")
@pytest.mark.parametrize(
    ("rows", "state"), [(1, LogState.COMPACTED), (2, LogState.WRITTEN)]
)
async def test_a_log_of_one_row_is_compact_from_the_start(
    rows: int, state: LogState
) -> None:
    run = await database.execute_write(
        partial(make_run, status=RunStatus.RUNNING, worker="here")
    )
    log = DatabaseLog("here", 60, lambda _: None)
    log.open(run.id, run.attempt)
    for number in range(1, rows):
        log.append(run.id, [Content(content=f"{number}")])
        await log.flush()
    ending = store.RunResult(store.OwnedRun.of(run), Progress(), None, 0)
    await log.close(run.id, [Done()], ending, store.finish_runs)
    await log.aclose()
    await run.arefresh_from_db()
    assert run.log_state == state
    assert await EventSegment.objects.filter(run=run).acount() == rows
