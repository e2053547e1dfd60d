"""The contract of `EventLog` and `StoredLog`, which every implementation fulfils.

To test another implementation, add it to `make_logs`.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import ParamSpec, Protocol, TypeVar

import pytest
import pytest_asyncio

from streaming.event_log import (
    ClosedLogs,
    DatabaseLog,
    EventLog,
    LogOptions,
    OwnershipLost,
    StoredLog,
)
from streaming.event_log.stored import DatabaseStoredLog
from streaming.events import (
    Content,
    Done,
    Entry,
    ErrorEvent,
    ErrorInfo,
    Event,
    Restarted,
    RestartInfo,
    Thinking,
    ToolCallEvent,
    ToolCallInfo,
    encode_all,
    make_entries,
)
from streaming.models import Run, RunStatus
from streaming.storage import database
from tests.event_log.memory import MemoryLog, MemoryStoredLog
from tests.event_log.test_database_log import make_run
from tests.writer import busy_writer

P = ParamSpec("P")
T = TypeVar("T")

FLUSH = 0.02
SECONDS = 20
SMALL = LogOptions(
    tail_entries=3, read_rows=2, read_numbers=6, compact_chars=400, compact_rows=3
)


class Logs(Protocol):
    """One implementation: the logs of several processes, and what they store."""

    stored: StoredLog

    def process(self) -> EventLog:
        """Return the log of one more process."""
        ...

    def end(self, ended: ClosedLogs[str]) -> None:
        """Write the ends of runs; raise `OwnershipLost` if one has ended already."""
        ...


class DatabaseLogs:
    def __init__(self) -> None:
        self.stored: StoredLog = DatabaseStoredLog(SMALL)

    def process(self) -> EventLog:
        return DatabaseLog("this", FLUSH, lambda _: None, options=SMALL)

    def end(self, ended: ClosedLogs[str]) -> None:
        for run_id, log_state in ended:
            running = Run.objects.filter(pk=run_id, status=RunStatus.RUNNING)
            now, status = datetime.now(UTC), RunStatus.COMPLETED
            if not running.update(status=status, ended_at=now, log_state=log_state):
                raise OwnershipLost(run_id)


class MemoryLogs:
    def __init__(self) -> None:
        self.stored: MemoryStoredLog = MemoryStoredLog()

    def process(self) -> EventLog:
        return MemoryLog(self.stored)

    def end(self, ended: ClosedLogs[str]) -> None:
        """The memory needs no row of a run."""


class Bench:
    """The processes of a test, closed at its end, and short forms of its steps."""

    def __init__(self, logs: Logs) -> None:
        self.logs = logs
        self.stored = logs.stored
        self.made: list[EventLog] = []

    def process(self) -> EventLog:
        self.made.append(self.logs.process())
        return self.made[-1]

    async def open(self, log: EventLog, *events: Event) -> str:
        """Return a new run that a process owns, with some durable events."""
        run = await database.execute_write(make_run)
        log.open(run.pk, run.attempt)
        if events:
            log.append(run.pk, events)
            await log.flush()
        return run.pk

    async def close(self, log: EventLog, run_id: str, *events: Event) -> None:
        await log.close(run_id, [*events, DONE], run_id, self.logs.end)

    async def take_over(self, run_id: str) -> None:
        """End a run as another process does when its owner seems dead."""

        def end() -> None:
            Run.objects.filter(pk=run_id).update(status=RunStatus.FAILED)
            first = self.stored.free_number(run_id, 0, leap=True)
            self.stored.append(run_id, first, ORPHANED)

        await database.execute_write(end)

    async def do(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a method of the stored log in a transaction."""
        return await database.execute_write(work, *args, **kwargs)

    async def everything(self, run_id: str) -> list[Entry]:
        """Return the stored log, read a page at a time."""
        entries: list[Entry] = []
        while page := await self.do(
            self.stored.read, run_id, entries[-1].number if entries else 0
        ):
            entries += page
        assert await self.do(lambda: list(self.stored.read_all(run_id))) == entries
        return entries


@pytest_asyncio.fixture(params=[DatabaseLogs, MemoryLogs])
async def bench(
    request: pytest.FixtureRequest, transactional_db: None
) -> AsyncIterator[Bench]:
    bench = Bench(request.param())
    yield bench
    for log in bench.made:
        await log.aclose()


DONE = Done(timestamp=0)
ORPHANED: list[Event] = [
    ErrorEvent(error="lost", metadata=ErrorInfo("interrupted", True), timestamp=7),
    Done(timestamp=8),
]


def words(*numbers: int) -> list[Event]:
    return [Content(content=f"{number} ", timestamp=number) for number in numbers]


async def read(log: EventLog, run_id: str, after: int = 0) -> list[Entry]:
    """Follow a run until its batches end."""
    async with asyncio.timeout(SECONDS):
        return [
            entry
            async for batch in log.follow(run_id, after, heartbeat=60)
            for entry in batch
        ]


async def test_entries_are_numbered_from_1_and_followed_from_any_number(
    bench: Bench,
) -> None:
    here, elsewhere = bench.process(), bench.process()
    run_id = await bench.open(here)
    readers = [
        asyncio.create_task(read(log, run_id, after))
        for log in (here, elsewhere)
        for after in range(13)
    ]
    for number in range(1, 12, 2):
        here.append(run_id, words(number, number + 1))
        await asyncio.sleep(FLUSH)
    await bench.close(here, run_id)
    expected = make_entries(1, encode_all([*words(*range(1, 13)), DONE]))
    for index, seen in enumerate(await asyncio.gather(*readers)):
        assert seen == expected[index % 13 :]
    assert await bench.everything(run_id) == expected


async def test_readers_in_the_owning_process_see_events_at_once(bench: Bench) -> None:
    here = bench.process()
    run_id = await bench.open(here)
    async with aclosing(here.follow(run_id, 0, heartbeat=60)) as batches:
        here.append(run_id, words(1, 2))
        assert await anext(batches) == make_entries(1, encode_all(words(1, 2)))
    here.abandon(run_id, [])


async def test_events_become_durable_within_a_flush_interval(bench: Bench) -> None:
    here = bench.process()
    run_id = await bench.open(here)
    here.append(run_id, words(1))
    elsewhere = bench.process().follow(run_id, 0, heartbeat=60)
    async with aclosing(elsewhere) as batches, asyncio.timeout(SECONDS):
        assert await anext(batches) == await bench.everything(run_id)
    here.abandon(run_id, [])


async def test_only_the_owner_appends(bench: Bench) -> None:
    here, elsewhere = bench.process(), bench.process()
    run_id = await bench.open(here)
    with pytest.raises(KeyError):
        elsewhere.append(run_id, words(1))
    await bench.close(here, run_id)
    with pytest.raises(KeyError):
        here.append(run_id, words(1))


async def test_a_checkpoint_makes_entries_durable_with_other_writes(
    bench: Bench,
) -> None:
    here = bench.process()
    run_id = await bench.open(here)
    here.append(run_id, words(1, 2))

    def count(last: int) -> None:
        Run.objects.filter(pk=run_id).update(llm_calls=last)

    await here.checkpoint(run_id, count)
    assert len(await bench.everything(run_id)) == 2
    assert (await Run.objects.aget()).llm_calls == 2

    def fail(_: int) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await here.checkpoint(run_id, fail)
    await bench.close(here, run_id, *words(3))
    assert [entry.number for entry in await bench.everything(run_id)] == [1, 2, 3, 4]


async def test_events_of_a_checkpoint_are_shown_once_they_are_durable(
    bench: Bench,
) -> None:
    here = bench.process()
    run_id = await bench.open(here)
    here.append(run_id, words(1))
    begun, go_on = threading.Event(), threading.Event()

    def commit(last: int) -> None:
        assert last == 2
        begun.set()
        assert go_on.wait(SECONDS)

    saving = asyncio.create_task(here.checkpoint(run_id, commit, words(2)))
    async with aclosing(here.follow(run_id, 0, 0.01)) as batches:
        assert await asyncio.to_thread(begun.wait, SECONDS)
        assert [entry.number for entry in await anext(batches)] == [1]
        assert await anext(batches) == []
        go_on.set()
        await saving
        assert len(await bench.everything(run_id)) == 2
        while not (batch := await anext(batches)):
            pass
    assert [entry.number for entry in batch] == [2]
    await bench.close(here, run_id, *words(3))


async def test_events_of_a_failed_checkpoint_keep_their_numbers(bench: Bench) -> None:
    here = bench.process()
    run_id = await bench.open(here)

    def fail(_: int) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await here.checkpoint(run_id, fail, words(1))
    await here.checkpoint(run_id, lambda _: None, words(2))
    await bench.close(here, run_id, *words(3))
    stored = await bench.everything(run_id)
    assert [entry.number for entry in stored] == [1, 2, 3, 4]
    assert [entry.data for entry in stored[:3]] == encode_all(words(1, 2, 3))


async def test_a_checkpoint_of_an_abandoned_run_finds_it_lost(bench: Bench) -> None:
    here = bench.process()
    run_id = await bench.open(here, *words(1))
    reader = asyncio.create_task(read(here, run_id))
    await asyncio.sleep(0)
    here.abandon(run_id, ORPHANED)
    here.abandon(run_id, ORPHANED)  # no effect
    with pytest.raises(OwnershipLost):
        await here.checkpoint(run_id, lambda _: None)
    assert [entry.number for entry in await reader] == [1, 2, 3]
    assert len(await bench.everything(run_id)) == 1


async def test_the_end_is_shown_only_once_it_is_durable(bench: Bench) -> None:
    here = bench.process()
    run_id = await bench.open(here, *words(1))
    reader = asyncio.create_task(read(here, run_id))

    def fail(ended: ClosedLogs[str]) -> None:
        assert [end for end, _ in ended] == [run_id]
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await here.close(run_id, [DONE], run_id, fail)
    await asyncio.sleep(FLUSH * 3)
    assert not reader.done()
    assert len(await bench.everything(run_id)) == 1
    await bench.close(here, run_id)
    assert await reader == await bench.everything(run_id)
    assert len(await reader) == 2


async def test_an_orphan_ends_far_beyond_the_numbers_of_its_owner(
    bench: Bench,
) -> None:
    here, elsewhere = bench.process(), bench.process()
    run_id = await bench.open(here, *words(1, 2))
    reader = asyncio.create_task(read(elsewhere, run_id))
    await bench.take_over(run_id)
    expected = [
        *make_entries(1, encode_all(words(1, 2))),
        *make_entries(1_000_002, encode_all(ORPHANED)),
    ]
    assert await reader == expected
    assert await bench.everything(run_id) == expected
    for after in (2, 3, 1_000_001):
        assert await read(bench.process(), run_id, after) == expected[2:]
    here.append(run_id, words(3))
    with pytest.raises(OwnershipLost):
        await bench.close(here, run_id)
    here.abandon(run_id, [DONE])
    assert await bench.everything(run_id) == expected


async def test_an_orphan_without_entries_ends_as_well(bench: Bench) -> None:
    run_id = await bench.open(bench.process())
    await bench.take_over(run_id)
    assert [entry.number for entry in await read(bench.process(), run_id)] == [
        1_000_000,
        1_000_001,
    ]


async def test_silence_is_an_empty_batch(bench: Bench) -> None:
    here, elsewhere = bench.process(), bench.process()
    run_id = await bench.open(here)
    for log in (here, elsewhere):
        async with aclosing(log.follow(run_id, 0, heartbeat=0.02)) as batches:
            assert [await anext(batches), await anext(batches)] == [[], []]
    here.abandon(run_id, [])


async def test_readers_of_other_processes_runs_are_disconnected(bench: Bench) -> None:
    here, elsewhere = bench.process(), bench.process()
    run_id = await bench.open(here, *words(1))
    reader = asyncio.create_task(read(elsewhere, run_id))
    own = asyncio.create_task(read(here, run_id))
    await asyncio.sleep(FLUSH * 3)
    elsewhere.release()
    here.release()
    assert [entry.number for entry in await reader] == [1]
    assert [entry.number for entry in await read(elsewhere, run_id)] == [1]
    assert not own.done()
    await bench.close(here, run_id)
    assert [entry.number for entry in await own] == [1, 2]


async def test_an_ended_run_is_replayed_without_the_writer(bench: Bench) -> None:
    here = bench.process()
    run_id = await bench.open(here)
    here.append(run_id, words(*range(1, 20)))
    await bench.close(here, run_id)
    async with busy_writer():
        for after in (0, 7, 20, 21):
            entries = await read(bench.process(), run_id, after)
            assert [e.number for e in entries] == list(range(after + 1, 21))


async def test_the_text_is_that_of_content_events(bench: Bench) -> None:
    here = bench.process()
    call = ToolCallInfo("c", "calculator", "{}", "executing")
    run_id = await bench.open(
        here,
        *words(1, 2),
        Thinking(thinking_step="hm"),
        ToolCallEvent(tool_call=call),
        *words(3),
    )
    assert await bench.do(bench.stored.text, run_id) == "1 2 3 "
    assert await bench.do(bench.stored.text, run_id, since_tool=True) == "3 "
    assert await bench.do(bench.stored.text, "none") == ""
    here.abandon(run_id, [])


async def test_void_text_is_left_out(bench: Bench) -> None:
    here = bench.process()
    call = ToolCallInfo("c", "calculator", "{}", "executing")
    run_id = await bench.open(
        here,
        *words(1, 2),
        ToolCallEvent(tool_call=call),
        Restarted(metadata=RestartInfo(2, discard_after=1)),
        *words(3),
    )
    for since_tool in (False, True):
        text = await bench.do(bench.stored.text, run_id, since_tool=since_tool)
        assert text == "1 3 "
    here.abandon(run_id, [])


async def test_another_owner_continues_a_log_for_the_same_readers(
    bench: Bench,
) -> None:
    here, elsewhere, third = (bench.process() for _ in range(3))
    run_id = await bench.open(here, *words(1, 2))
    readers = [
        asyncio.create_task(read(log, run_id, after))
        for log in (here, elsewhere, third)
        for after in (0, 1, 2)
    ]
    await asyncio.sleep(FLUSH * 3)
    here.hand_over(run_id)
    here.hand_over(run_id)  # no effect
    with pytest.raises(KeyError):
        here.append(run_id, words(3))
    run = await Run.objects.aget()
    first = await bench.do(bench.stored.free_number, run_id, 0, leap=True)
    elsewhere.open(run_id, run.attempt, first)
    elsewhere.append(run_id, words(3))
    late = asyncio.create_task(read(here, run_id, 2))
    await bench.close(elsewhere, run_id)
    expected = [
        *make_entries(1, encode_all(words(1, 2))),
        *make_entries(first + 1, encode_all([*words(3), DONE])),
    ]
    for index, seen in enumerate(await asyncio.gather(*readers)):
        assert seen == expected[index % 3 :]
    assert await late == expected[2:]
    assert await bench.everything(run_id) == expected


async def test_readers_of_a_handed_over_log_are_released(bench: Bench) -> None:
    here = bench.process()
    run_id = await bench.open(here, *words(1))
    reader = asyncio.create_task(read(here, run_id))
    await asyncio.sleep(FLUSH)
    here.release()
    assert not reader.done()
    here.hand_over(run_id)
    assert [entry.number for entry in await reader] == [1]


async def test_the_newest_entry_is_the_last_durable_one(bench: Bench) -> None:
    here = bench.process()
    run_id = await bench.open(here)
    assert await bench.do(bench.stored.newest, run_id) is None
    await bench.close(here, run_id, *words(1, 2, 3))
    newest = await bench.do(bench.stored.newest, run_id)
    assert newest == (await bench.everything(run_id))[-1]
    assert newest.is_last


async def test_compaction_changes_no_entry(bench: Bench) -> None:
    here = bench.process()
    run_ids = [await bench.open(here) for _ in range(3)]
    for number in range(1, 40):
        here.append(run_ids[0], words(number))
        await here.flush()
    for run_id in run_ids[:2]:
        await bench.close(here, run_id)
    before = await bench.everything(run_ids[0])
    due, tomorrow = bench.stored.compaction_due, datetime.now(UTC) + timedelta(days=1)
    assert await bench.do(due, tomorrow, 1) == run_ids[:1]
    assert await bench.do(due, tomorrow - timedelta(days=2), 9) == []
    after: int | None = 0
    while after is not None:
        after = await bench.do(bench.stored.compact, run_ids[0], after)
    assert await bench.everything(run_ids[0]) == before
    assert len(before) == 40
    assert run_ids[0] not in await bench.do(due, tomorrow, 9)
    assert await bench.do(bench.stored.compact, run_ids[2]) is None  # still running
    here.abandon(run_ids[2], [])


async def test_a_deleted_log_is_empty(bench: Bench) -> None:
    here, elsewhere = bench.process(), bench.process()
    run_ids = [await bench.open(here, *words(1)) for _ in range(3)]
    for run_id in run_ids:
        await bench.close(here, run_id)
    deleted = await bench.do(bench.stored.delete, run_ids[:2])
    assert deleted == set(run_ids[:2])
    for run_id in deleted:
        assert await bench.everything(run_id) == []
        assert await bench.do(bench.stored.newest, run_id) is None
        assert await read(elsewhere, run_id) == []
    assert len(await read(elsewhere, run_ids[2])) == 2
    count = bench.stored.count_segments
    assert await bench.do(count, Run.objects.filter(pk__in=deleted), 9) == 0
    assert await bench.do(count, Run.objects.all(), 1) == 1
