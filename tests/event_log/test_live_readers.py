"""Readers in other processes: each event once, in order, on whatever way it came."""

import asyncio
import random
from collections.abc import Sequence

import pytest

from streaming.event_log import ClosedLogs, DatabaseLog, LogOptions
from streaming.event_log.live.base import (
    LivePathError,
    MakeLive,
    NoLive,
    Offer,
    Piece,
    encode,
)
from streaming.event_log.remote import HELD_BYTES, RemoteLog, RemoteLogs
from streaming.events import Content, Done, Entry, Event, encode_all, make_entries
from streaming.models import EventSegment, Run
from streaming.storage import database
from streaming.storage.database import default
from tests import campaign
from tests.event_log.live_paths import (
    CARRYING,
    NEVER,
    TICK,
    LivePath,
    MakeLog,
    RedisPath,
    make_log,
    path,
)
from tests.event_log.test_database_log import (
    WORKER,
    commit,
    make_run,
    read,
    words,
)
from tests.event_log.test_live_paths import until

__all__ = ["make_log", "path"]

carrying = pytest.mark.parametrize("path", CARRYING, indirect=True)
every = pytest.mark.parametrize("path", ["none", *CARRYING], indirect=True)


async def begin(log: DatabaseLog, *events: Event) -> Run:
    """A shared run with some durable events."""
    run = await database.execute_write(make_run)
    log.open(run.pk, run.attempt)
    log.share(run.pk, True)
    if events:
        log.append(run.pk, events)
        await log.flush()
    return run


class Following:
    """A reader, and the entries that it has."""

    def __init__(self, log: DatabaseLog, run: Run, after: int = 0) -> None:
        self.entries: list[Entry] = []
        self.joined = asyncio.Event()
        self.task = asyncio.create_task(self._read(log, run, after))

    async def _read(self, log: DatabaseLog, run: Run, after: int) -> None:
        async for batch in log.follow(run.pk, after, heartbeat=0.05):
            self.entries += batch
            if not batch:
                self.joined.set()  # it waits for more

    @property
    def numbers(self) -> list[int]:
        return [entry.number for entry in self.entries]

    async def has(self, count: int) -> None:
        await until(lambda: len(self.entries) >= count)


@carrying
async def test_events_come_before_their_flush(
    path: LivePath, make_log: MakeLog
) -> None:
    here = make_log(path.make, flush_seconds=NEVER)
    elsewhere = make_log(path.make, flush_seconds=NEVER)
    run = await begin(here, *words(1))
    reader = Following(elsewhere, run)
    await reader.joined.wait()
    here.append(run.pk, words(2, 3))
    await reader.has(3)
    here.append(run.pk, [Content(content="é✓" * 2000, timestamp=4)])
    if isinstance(path, RedisPath):
        await reader.has(4)
    assert await EventSegment.objects.acount() == 1
    await here.close(run.pk, [Done(timestamp=5)], None, commit)
    await reader.task
    assert reader.entries == await read(here, run.pk)
    assert reader.numbers == [1, 2, 3, 4, 5]


@every
async def test_the_end_is_shown_once_it_is_durable(
    path: LivePath, make_log: MakeLog
) -> None:
    here, elsewhere = make_log(path.make), make_log(path.make)
    run = await begin(here, *words(1))
    reader = Following(elsewhere, run)
    await reader.joined.wait()

    def refuse(ends: ClosedLogs[None]) -> None:
        raise ValueError("refused")

    with pytest.raises(ValueError, match="refused"):
        await here.close(run.pk, [Done(timestamp=2)], None, refuse)
    await asyncio.sleep(TICK * 4)  # enough for a publication, if there were one
    assert reader.numbers == [1]
    await here.close(run.pk, [Done(timestamp=2)], None, commit)
    await reader.task
    assert reader.numbers == [1, 2]


def scrambled(make: MakeLive, chance: random.Random) -> MakeLive:
    """Lose, repeat and delay pieces of a live path."""

    def make_scrambled(offer: Offer) -> object:
        late: list[Piece] = []

        def scramble(piece: Piece) -> None:
            match chance.randrange(8):
                case 0:
                    return
                case 1:
                    late.append(piece)
                case 2:
                    offer(piece)
                    offer(piece)
                case 3:
                    cut = chance.randint(0, len(piece.lines))
                    lines = piece.lines[:cut]
                    numbers = (piece.attempt, piece.durable, piece.first)
                    offer(Piece(piece.run_id, *numbers, lines))
                case _:
                    offer(piece)
            if late and chance.randrange(2):
                offer(late.pop(chance.randrange(len(late))))

        return make(scramble)

    return make_scrambled  # type: ignore[return-value]  # a LiveTail


@every
@pytest.mark.parametrize("seed", campaign.seeds(1))
async def test_readers_that_come_and_go_see_each_event_once(
    path: LivePath, make_log: MakeLog, seed: int
) -> None:
    chance = random.Random(seed)
    here = make_log(path.make, tail=20)
    others = [make_log(scrambled(path.make, chance), tail=20) for _ in range(2)]
    run = await begin(here)

    async def come_and_go(log: DatabaseLog) -> list[Entry]:
        seen: list[Entry] = []
        while not (seen and seen[-1].is_last):
            after = seen[-1].number if seen else 0
            stay = chance.randint(1, 30)
            batches = log.follow(run.pk, after, heartbeat=60)
            async for batch in batches:
                seen += batch
                stay -= 1
                await asyncio.sleep(chance.random() * TICK)
                if not stay:
                    break
            await batches.aclose()
        return seen

    readers = [
        asyncio.create_task(come_and_go(chance.choice(others))) for _ in range(9)
    ]
    number = 0
    while number < 300:
        count = chance.randint(1, 10)
        here.append(run.pk, words(*range(number + 1, number + count + 1)))
        number += count
        await asyncio.sleep(chance.random() * TICK)
    await here.close(run.pk, [Done()], None, commit)
    async with asyncio.timeout(60):
        all_seen = await asyncio.gather(*readers)
    for seen in all_seen:
        assert [entry.number for entry in seen] == list(range(1, number + 2))
        assert seen == all_seen[0]


@carrying
async def test_messages_of_strangers_add_nothing(
    path: LivePath, make_log: MakeLog
) -> None:
    here, elsewhere = make_log(path.make), make_log(path.make)
    run, other = await begin(here, *words(1)), await begin(here, *words(1))
    readers = [Following(elsewhere, each) for each in (run, other)]
    for reader in readers:
        await reader.joined.wait()
    whole = encode(Piece(run.pk, 0, 0, 2, encode_all(words(9))))
    messages = [
        b"",
        b"hello",
        b"\xff\x00\xfe",
        b"1 1 1 5\nhello",
        whole[:-1],
        whole + b"\n",
        whole.replace(b"content", b"", 1),
        b"x" * 7000,
        # Of the past, and of a future that never comes.
        encode(Piece(run.pk, 0, 10**9, 1, encode_all(words(9)))),
        encode(Piece(run.pk, 0, 10**9, 10**9, encode_all(words(9)))),
        encode(Piece(run.pk, 0, 0, 10**9, [])),
        # As the text of a message about the other run.
        b" ".join((other.pk.encode(), whole)),
        b"\x1f".join((b"", other.pk.encode() + b" " + whole)),
    ]
    for message in messages:
        await path.send(run.pk, message)
    for each in (run, other):
        here.append(each.pk, words(2, 3))
        await here.close(each.pk, [Done(timestamp=4)], None, commit)
    for each, reader in zip((run, other), readers, strict=True):
        await asyncio.wait_for(reader.task, 60)
        assert reader.entries == await read(here, each.pk)


@carrying
async def test_an_earlier_attempt_is_heard_no_more(
    path: LivePath, make_log: MakeLog
) -> None:
    here = make_log(path.make, flush_seconds=NEVER)
    elsewhere = make_log(path.make, flush_seconds=NEVER)
    run = await database.execute_write(make_run)
    await Run.objects.filter(pk=run.pk).aupdate(attempt=2)
    here.open(run.pk, 2)
    here.share(run.pk, True)
    reader = Following(elsewhere, run)
    await reader.joined.wait()
    here.append(run.pk, words(1))
    await reader.has(1)
    zombie = encode(Piece(run.pk, 1, 0, 2, encode_all(words(99))))
    await path.send(run.pk, zombie)
    here.append(run.pk, words(2))
    await reader.has(2)
    assert reader.entries == make_entries(1, encode_all(words(1, 2)))
    await here.close(run.pk, [Done()], None, commit)
    await reader.task


class Silent(NoLive):
    """A path that seems to work, and brings nothing."""

    carries = True


async def test_a_path_that_brings_nothing_loses_nothing(make_log: MakeLog) -> None:
    here, elsewhere = make_log(NoLive), make_log(Silent)
    run = await begin(here, *words(1))
    reader = Following(elsewhere, run)
    await reader.joined.wait()
    for number in range(2, 10):
        here.append(run.pk, words(number))
        await reader.has(number)
    await here.close(run.pk, [Done()], None, commit)
    await reader.task
    assert reader.numbers == [*range(1, 11)]


async def test_without_a_path_a_shared_run_is_flushed_early(make_log: MakeLog) -> None:
    here, elsewhere = make_log(NoLive, flush_seconds=NEVER), make_log(NoLive)
    run = await begin(here)
    reader = Following(elsewhere, run)
    await reader.joined.wait()
    here.append(run.pk, words(1))
    await reader.has(1)
    await here.close(run.pk, [Done()], None, commit)
    await reader.task


def remote_logs(live: MakeLive) -> RemoteLogs:
    return RemoteLogs(
        default, LogOptions(), live, flush_seconds=0.2, live_seconds=0.025
    )


def test_the_poll_rests_while_it_brings_nothing() -> None:
    alone, beside = remote_logs(NoLive), remote_logs(Silent)
    assert [alone.pause_after(idle) for idle in (0, 0.1, 0.2, 9)] == [
        *(0.025, 0.025, 0.05, 0.1)
    ]
    assert [beside.pause_after(idle) for idle in (0, 0.4, 2, 9)] == [0.1, 0.1, 0.5, 1]


def piece(first: int, count: int, *, attempt: int = 1, durable: int = 0) -> Piece:
    lines = encode_all(words(*range(first, first + count)))
    return Piece("run", attempt, durable, first, lines)


def numbers(log: RemoteLog) -> list[int]:
    assert log.tail
    return [entry.number for entry in log.tail.since(0) or []]


async def test_pieces_after_a_gap_wait_for_the_rows_before_them() -> None:
    log = RemoteLog(512)
    log.begin(0)
    assert not log.offer(piece(1, 2))
    assert log.offer(piece(5, 2))  # the first after a gap
    assert not log.offer(piece(7, 1))
    assert log.awaits_rows()
    assert numbers(log) == [1, 2]
    log.add_rows(make_entries(1, encode_all(words(1, 2, 3, 4, 5))))
    assert numbers(log) == [*range(1, 8)]
    assert not log.awaits_rows()


async def test_rows_may_leap_over_numbers_that_are_void() -> None:
    log = RemoteLog(512)
    log.begin(0)
    log.offer(piece(1, 3))
    log.offer(piece(1_000_002, 2, attempt=2))
    log.add_rows(make_entries(1_000_001, encode_all(words(0))))
    assert numbers(log) == [1, 2, 3, 1_000_001, 1_000_002, 1_000_003]
    log.offer(piece(4, 2))  # of the attempt that has lost the run
    assert numbers(log)[-1] == 1_000_003


async def test_an_event_that_is_too_large_for_the_path_is_read_from_the_rows() -> None:
    log = RemoteLog(512)
    log.begin(0)
    log.offer(piece(1, 1))
    assert log.offer(Piece("run", 1, 0, 2, []))
    log.offer(piece(3, 1))
    assert numbers(log) == [1]
    log.add_rows(make_entries(2, encode_all(words(2))))
    assert numbers(log) == [1, 2, 3]


async def test_pieces_that_wait_take_a_bounded_memory() -> None:
    log = RemoteLog(512)
    log.begin(0)
    for number in range(10, 30_000):
        log.offer(piece(number, 1))
    assert log._held_bytes <= HELD_BYTES
    assert sum(len(line) for held in log._held for line in held.lines) <= HELD_BYTES
    log.add_rows(make_entries(1, encode_all(words(*range(1, 29_990)))))
    assert log.tail
    assert log.tail.last == 29_999  # the newest were kept


async def test_pieces_that_come_before_the_tail_begins_are_kept() -> None:
    log = RemoteLog(512)
    log.offer(piece(4, 2))
    log.begin(3)
    assert log.tail
    assert log.tail.last == 5


async def test_only_durable_events_leave_the_memory() -> None:
    log = RemoteLog(2)
    log.begin(0)
    log.offer(piece(1, 10))
    assert numbers(log) == [*range(1, 11)]
    log.offer(piece(11, 1, durable=8))
    assert log.tail
    assert log.tail.since(5) is None
    assert [entry.number for entry in log.tail.since(6) or []] == [*range(7, 12)]


class Recorder(NoLive):
    """A path that notes what it is given; it can fail and hang."""

    carries = True

    def __init__(self, offer: Offer) -> None:
        super().__init__(offer)
        self.sent: list[Piece] = []
        self.error: Exception | None = None
        self.hangs = False
        self.calls = 0

    async def publish(self, pieces: Sequence[Piece]) -> None:
        self.calls += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.error:
            raise self.error
        self.sent += pieces

    @property
    def numbers(self) -> list[int]:
        return [n for p in self.sent for n in range(p.first, p.first + len(p.lines))]


def recorder(log: DatabaseLog) -> Recorder:
    live = log._remote.live
    assert isinstance(live, Recorder)
    return live


@pytest.mark.parametrize("fault", ["error", "bug", "hang"])
async def test_after_a_failure_only_events_that_are_not_durable_are_sent(
    make_log: MakeLog, fault: str
) -> None:
    log = make_log(Recorder, flush_seconds=NEVER)
    live = recorder(log)
    run = await begin(log)
    log.append(run.pk, words(1))
    await until(lambda: live.numbers == [1])
    live.hangs = fault == "hang"
    live.error = LivePathError("away") if fault == "error" else ValueError("bug")
    log.append(run.pk, words(2, 3))
    calls = live.calls
    await until(lambda: live.calls > calls)
    await log.flush()
    log.append(run.pk, words(4))
    await until(lambda: live.calls > calls + 1)
    live.hangs, live.error = False, None
    await until(lambda: live.numbers == [1, 4])
    log.append(run.pk, words(5))
    await log.close(run.pk, [Done()], None, commit)
    await until(lambda: live.numbers == [1, 4, 5, 6])


async def test_a_run_is_published_only_while_it_is_shared(make_log: MakeLog) -> None:
    log = make_log(Recorder, flush_seconds=NEVER)
    live = recorder(log)
    run = await database.execute_write(make_run)
    other = await begin(log)
    log.open(run.pk, run.attempt)
    log.append(run.pk, words(1))
    log.append(other.pk, words(1))
    await until(lambda: live.sent)
    assert {sent.run_id for sent in live.sent} == {other.pk}
    log.share(run.pk, True)  # from the first event that is not durable on
    await until(lambda: len(live.sent) == 2)
    assert live.sent[1].first == 1
    log.share(run.pk, False)
    log.append(run.pk, words(2))
    log.abandon(other.pk, [Done()])
    third = await begin(log)
    log.append(third.pk, words(1))
    await until(lambda: len(live.sent) == 3)
    assert live.sent[2].run_id == third.pk
    for each in (run, third):
        log.abandon(each.pk, [])


async def test_all_runs_are_published_where_requests_are_elsewhere(
    transactional_db: None,
) -> None:
    log = DatabaseLog(
        WORKER, NEVER, lambda _: None, live=Recorder, live_seconds=TICK, shares_all=True
    )
    run = await database.execute_write(make_run)
    log.open(run.pk, run.attempt)
    log.append(run.pk, words(1))
    await until(lambda: recorder(log).numbers == [1])
    log.abandon(run.pk, [])
    await log.aclose()
    await asyncio.to_thread(default.close)


async def test_the_rest_of_a_closed_log_is_published_at_shutdown(
    make_log: MakeLog,
) -> None:
    log = make_log(Recorder, flush_seconds=NEVER)
    run = await begin(log)
    log.append(run.pk, words(1))
    await log.close(run.pk, [Done()], None, commit)
    await log.aclose()
    assert recorder(log).numbers == [1, 2]
