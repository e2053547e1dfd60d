"""The event log against a simple model, in whatever order things happen to it.

Some processes share a database. They append, flush, end, crash, are taken for dead and
take over from each other; the database refuses, or its answer is lost; ended logs are
made compact and removed. Whoever follows sees what the model says, byte for byte.
"""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from django.db import OperationalError
from django.utils import timezone
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    precondition,
    rule,
    run_state_machine_as_test,
)

from streaming.event_log import ClosedLogs, DatabaseLog, LogOptions, OwnershipLost
from streaming.event_log.stored import DatabaseStoredLog
from streaming.events import (
    Content,
    Done,
    Entry,
    ErrorEvent,
    ErrorInfo,
    Event,
    encode_all,
    make_entries,
)
from streaming.models import Run, RunStatus
from streaming.runs import recovery, retention
from streaming.runs.recovery import Policy
from streaming.storage import database
from tests import campaign
from tests.event_log.faulty import Fault, FaultKind, FaultyDatabase
from tests.event_log.test_database_log import make_run

T = TypeVar("T")

HEARTBEAT = 0.002
SECONDS = 20
#: Events that are said before anything ends.
MUCH = 12
FAULTS: st.SearchStrategy[FaultKind] = st.sampled_from(
    ["", "", "", "refuse", "lose the answer"]
)
#: Limits that short logs reach.
SMALL = LogOptions(
    tail_entries=3, read_rows=2, read_numbers=6, compact_chars=400, compact_rows=3
)
stored = DatabaseStoredLog(SMALL)
timestamps = itertools.count(1)
workers = itertools.count(1)


class Process(DatabaseLog):
    """A process's log, that flushes only when it is told to."""

    def __init__(self) -> None:
        self.name = f"process {next(workers)}"
        self.lost: list[str] = []
        self.database = FaultyDatabase()
        super().__init__(
            self.name,
            HEARTBEAT,
            self.lost.append,
            database=self.database,
            options=SMALL,
        )

    @contextmanager
    def fault(self, kind: FaultKind) -> Iterator[None]:
        """Refuse the next write, or lose the answer to it."""
        self.database.faults.append(Fault(kind))
        yield
        self.database.faults.clear()

    def __repr__(self) -> str:
        return self.name

    async def _flush_forever(self) -> None:
        """Not at all."""


@dataclass(eq=False, repr=False)
class ModelRun:
    """What is known of a run: what its owner showed, and what is durable."""

    id: str
    owner: Process | None
    shown: list[Entry] = field(default_factory=list)
    durable: list[Entry] = field(default_factory=list)
    #: Every event that ever had a number.
    named: dict[int, bytes] = field(default_factory=dict)
    #: How its owner ends it, from when it first tried.
    end: list[Event] = field(default_factory=list)
    ended: bool = False
    removed: bool = False

    def __repr__(self) -> str:
        return f"run of {self.owner}"

    def number(self, events: list[Event], upto: int) -> list[Entry]:
        return make_entries(upto + 1, encode_all(events))

    def name(self, entries: list[Entry]) -> None:
        for entry in entries:
            assert self.named.setdefault(entry.number, entry.data) == entry.data

    @property
    def last(self) -> int:
        return self.shown[-1].number if self.shown else 0


@dataclass(eq=False, repr=False)
class Client:
    """One that follows a run, over as many connections as it takes."""

    run: ModelRun
    process: Process
    #: Connected to the process that writes the run: it sees what is not yet durable.
    inside: bool
    after: int
    batches: AsyncGenerator[list[Entry]]
    seen: list[Entry] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"client of {self.process}, {self.run} after {self.after}"

    @property
    def right(self) -> list[list[Entry]]:
        """What it may have seen when it has seen all.

        Who is in the old process of a run that was taken over sees what that one
        shows; or, from where the memory ends, what the database has.
        """
        durable = [e for e in self.run.durable if e.number > self.after]
        if not self.inside:
            return [durable]
        shown = [e for e in self.run.shown if e.number > self.after]
        cuts = range(len(shown) + 1) if self.run.ended else ()
        return [shown, *(_end_with(shown[:cut], durable) for cut in cuts)]

    async def catch_up(self) -> None:
        """Read until nothing more comes, and compare."""
        batch: list[Entry] | None = self.seen
        async with asyncio.timeout(SECONDS):
            while batch is not None and (batch or self.seen not in self.right):
                batch = await anext(self.batches, None)
                self.seen += batch or ()
        if self.run.removed:
            assert self.seen in [whole[: len(self.seen)] for whole in self.right]
        else:
            assert self.seen in self.right
            assert batch is not None or self.run.ended


def _end_with(seen: list[Entry], durable: list[Entry]) -> list[Entry]:
    last = seen[-1].number if seen else 0
    return [*seen, *(entry for entry in durable if entry.number > last)]


class Logs(RuleBasedStateMachine):
    """Two runs and three processes."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.processes: list[Process] = []
        self.clients: list[Client] = []
        self.runs: list[ModelRun] = []
        self.do(self._begin())

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    async def _begin(self) -> None:
        self.processes = [Process() for _ in range(3)]
        for owner in self.processes[:2]:
            row = await database.execute_write(make_run, owner.name)
            owner.open(row.id, row.attempt)
            self.runs.append(ModelRun(row.id, owner))

    @property
    def going(self) -> list[ModelRun]:
        """Runs whose owner lives and goes on, as far as it knows."""
        return [run for run in self.runs if run.owner]

    @property
    def much(self) -> bool:
        """Whether enough was said for what may happen to it."""
        return sum(len(run.shown) for run in self.runs) > MUCH

    @rule(data=st.data(), count=st.integers(1, 5))
    @precondition(lambda self: any(not run.end for run in self.going))
    def append(self, data: st.DataObject, count: int) -> None:
        run = data.draw(st.sampled_from([run for run in self.going if not run.end]))
        events: list[Event] = [
            Content(content="x" * (at * 7), timestamp=next(timestamps))
            for at in range(count)
        ]
        entries = run.number(events, run.last)
        run.name(entries)
        run.shown += entries

        async def append() -> None:
            assert run.owner
            run.owner.append(run.id, events)

        self.do(append())

    @rule(data=st.data(), name=FAULTS)
    @precondition(lambda self: self.going)
    def flush(self, data: st.DataObject, name: FaultKind) -> None:
        owner = data.draw(st.sampled_from([run.owner for run in self.going]))
        assert owner
        with owner.fault(name):
            try:
                self.do(owner.flush())
            except OperationalError:
                assert name
        for run in self.runs:
            if run.owner is not owner:
                continue
            if run.id in owner.lost:
                self._give_up(run)
            elif name != "refuse" and not run.end and not run.ended:
                run.durable = list(run.shown)

    @rule(data=st.data(), name=FAULTS)
    @precondition(lambda self: any(not run.end for run in self.going))
    def keep(self, data: st.DataObject, name: FaultKind) -> None:
        """The owner keeps what was said, as before the model is told a result."""
        run = data.draw(st.sampled_from([run for run in self.going if not run.end]))
        owner = run.owner
        assert owner

        def commit(_: int) -> None:
            mine = Run.objects.filter(id=run.id, worker=owner.name)
            mine = mine.filter(status=RunStatus.RUNNING)
            if not mine.update(llm_calls=run.last):
                raise OwnershipLost(run.id)

        try:
            with owner.fault(name):
                self.do(owner.checkpoint(run.id, commit))
        except OwnershipLost:
            assert run.ended
            return self._give_up(run)
        except OperationalError:
            assert name
        if name != "refuse":
            run.durable = list(run.shown)
            row = self.do(database.execute_read(Run.objects.get, id=run.id))
            assert row.llm_calls == run.last

    @rule(data=st.data(), name=FAULTS)
    @precondition(lambda self: self.much and self.going)
    def end(self, data: st.DataObject, name: FaultKind) -> None:
        """The owner ends its run; tries again, when it does not know how that went."""
        run = data.draw(st.sampled_from(self.going))
        owner = run.owner
        assert owner
        run.end = run.end or [
            Content(content="bye", timestamp=next(timestamps)),
            Done(timestamp=next(timestamps)),
        ]
        entries = run.number(run.end, run.last)
        taken_over = run.ended and run.durable[-len(entries) :] != entries

        def commit(ends: ClosedLogs[None]) -> None:
            [(_, log_state)] = ends
            mine = Run.objects.filter(
                id=run.id, worker=owner.name, status=RunStatus.RUNNING
            )
            status, now = RunStatus.COMPLETED, timezone.now()
            if not mine.update(status=status, ended_at=now, log_state=log_state):
                raise OwnershipLost(run.id)

        try:
            with owner.fault(name):
                self.do(owner.close(run.id, run.end, None, commit))
        except OwnershipLost:
            assert taken_over
            return self._give_up(run)
        except OperationalError:
            assert name
        if name != "refuse":
            run.name(entries)
            run.durable = [*run.shown, *entries]
            run.ended = True
        if not name:
            run.shown = run.durable
            run.owner = None

    def _give_up(self, run: ModelRun) -> None:
        """The owner has learnt that its run is not its own any more."""
        info = ErrorInfo("interrupted", retryable=True)
        events: list[Event] = [ErrorEvent(error="lost", metadata=info), Done()]
        tried = len(run.end)  # perhaps in vain, but their numbers are gone
        entries = run.number(events, run.last + tried)

        async def abandon() -> None:
            assert run.owner
            run.owner.abandon(run.id, events)

        self.do(abandon())
        run.shown = run.shown + entries
        run.owner = None

    @rule(data=st.data())
    @precondition(lambda self: self.much)
    def crash(self, data: st.DataObject) -> None:
        """Another process takes a dead one's place, without its memory."""
        at = data.draw(st.integers(0, len(self.processes) - 1))
        dead = self.processes[at]
        self.do(self._kill(dead))
        self.processes[at] = Process()
        for run in self.runs:
            if run.owner is dead:
                run.owner = None

    async def _kill(self, dead: Process) -> None:
        for client in [each for each in self.clients if each.process is dead]:
            await client.batches.aclose()
            self.clients.remove(client)
        dead._owned.clear()
        await dead.aclose()

    @rule(data=st.data())
    @precondition(lambda self: self.much and not all(r.ended for r in self.runs))
    def take_over(self, data: st.DataObject) -> None:
        """A run is ended by another process: its owner is dead, or stands still."""
        run = data.draw(st.sampled_from([run for run in self.runs if not run.ended]))
        now, never = timezone.now() + timedelta(days=1), float("inf")
        policy = Policy(1, lambda runs: None)
        recover = recovery.recover_orphan
        ended = database.execute_write(recover, run.id, now, never, policy)
        assert self.do(ended) == RunStatus.FAILED
        after = run.durable[-1].number if run.durable else 0
        entries = self.do(database.execute_read(stored.read, run.id, after))
        assert [entry.type for entry in entries] == ["error", "done"]
        assert entries[0].number > max(run.named, default=0)
        run.name(entries)
        run.durable = [*run.durable, *entries]
        run.ended = True

    @rule(data=st.data())
    def follow(self, data: st.DataObject) -> None:
        run = data.draw(st.sampled_from(self.runs))
        cuts = [0, *run.named, max(run.named, default=0) + 5]
        self._connect(run, data, data.draw(st.sampled_from(cuts)))

    @rule(data=st.data())
    @precondition(lambda self: self.clients)
    def come_back(self, data: st.DataObject) -> None:
        """A client goes on in another process, or the same, after what it has seen."""
        client = data.draw(st.sampled_from(self.clients))
        self.clients.remove(client)
        self.do(client.batches.aclose())
        after = client.seen[-1].number if client.seen else client.after
        self._connect(client.run, data, after)

    def _connect(self, run: ModelRun, data: st.DataObject, after: int) -> None:
        process = data.draw(st.sampled_from(self.processes))
        inside = run.id in process._owned
        batches = process.follow(run.id, after, HEARTBEAT)
        client = Client(run, process, inside, after, batches)
        self.do(client.catch_up())
        self.clients.append(client)

    @rule(data=st.data())
    @precondition(lambda self: self.clients)
    def read(self, data: st.DataObject) -> None:
        """One client catches up; the others fall behind."""
        self.do(data.draw(st.sampled_from(self.clients)).catch_up())

    @rule(data=st.data())
    @precondition(lambda self: any(run.ended for run in self.runs))
    def compact(self, data: st.DataObject) -> None:
        run = data.draw(st.sampled_from([run for run in self.runs if run.ended]))
        after: int | None = 0
        while after is not None:
            after = self.do(database.execute_write(stored.compact, run.id, after))
        assert self.do(database.execute_read(_all, run.id)) == (
            [] if run.removed else run.durable
        )

    @rule()
    @precondition(lambda self: all(r.ended and not r.owner for r in self.runs))
    def remove(self) -> None:
        tomorrow = timezone.now() + timedelta(days=1)
        while self.do(database.execute_write(retention.remove_logs, tomorrow)).more:
            pass  # those of earlier examples, too
        for run in self.runs:
            run.removed = True

    def teardown(self) -> None:
        try:
            for client in self.clients:
                self.do(client.catch_up())
        finally:
            for process in self.processes:
                self.do(self._kill(process))
            self.runner.close()


def _all(run_id: str) -> list[Entry]:
    entries: list[Entry] = []
    while page := stored.read(run_id, entries[-1].number if entries else 0):
        entries += page
    return entries


@pytest.mark.usefixtures("transactional_db")
def test_the_log_is_what_its_model_is() -> None:
    examples = campaign.examples(25)
    run_state_machine_as_test(
        Logs, settings=settings(max_examples=examples, stateful_step_count=40)
    )
