"""Faults of live paths: they cost time, and never an event."""

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from django.db import connection

from bench.faults.proxy import Proxy, proxy
from streaming.event_log import DatabaseLog
from streaming.event_log.live import postgres
from streaming.event_log.live.base import Piece
from streaming.events import Content, Done
from streaming.models import Run
from streaming.storage.notifications import connection_parameters
from streaming.testing.server import clean_environment
from tests.event_log.live_paths import (
    CARRYING,
    PATIENCE,
    LivePath,
    MakeLog,
    PostgresPath,
    RedisPath,
    listening,
    make_log,
    path,
    redis_server,
)
from tests.event_log.test_database_log import commit, read, words
from tests.event_log.test_live_paths import RUN, piece
from tests.event_log.test_live_readers import Following, begin

__all__ = ["make_log", "path"]

ROOT = Path(__file__).resolve().parents[2]


class Writing:
    """A run with two readers elsewhere, whose owner writes all the time."""

    def __init__(self, log: DatabaseLog, run: Run, readers: list[Following]) -> None:
        self.log, self.run, self.readers = log, run, readers
        self.written = 1
        self._task = asyncio.create_task(self._write())

    async def _write(self) -> None:
        while True:
            self.written += 1
            self.log.append(self.run.pk, words(self.written))
            await asyncio.sleep(0.002)

    async def go_on(self, count: int = 100) -> None:
        """Wait until all readers have events that are written from now on."""
        number = self.written + count
        for reader in self.readers:
            await reader.has(number)

    async def end(self) -> None:
        """End the run; check that each reader has each event once."""
        self._task.cancel()
        await asyncio.wait([self._task])
        await self.log.close(self.run.pk, [Done()], None, commit)
        whole = await read(self.log, self.run.pk)
        assert [entry.number for entry in whole] == [*range(1, self.written + 2)]
        for reader in self.readers:
            await asyncio.wait_for(reader.task, PATIENCE)
            assert reader.entries == whole


@asynccontextmanager
async def writing(path: LivePath, make_log: MakeLog) -> AsyncIterator[Writing]:
    here, elsewhere = make_log(path.make), make_log(path.make)
    run = await begin(here, *words(1))
    readers = [Following(elsewhere, run) for _ in range(2)]
    for reader in readers:
        await reader.joined.wait()
    written = Writing(here, run, readers)
    await written.go_on()
    yield written
    await written.end()


@pytest.mark.parametrize("path", CARRYING, indirect=True)
async def test_connections_that_are_ended_lose_nothing(
    path: LivePath, make_log: MakeLog
) -> None:
    async with writing(path, make_log) as run:
        for _ in range(3):
            await path.end_connections()
            await run.go_on()


@pytest.mark.parametrize("path", ["redis"], indirect=True)
async def test_a_redis_that_is_killed_and_restarted_loses_nothing(
    path: RedisPath, make_log: MakeLog
) -> None:
    async with writing(path, make_log) as run:
        path.server.kill()
        await run.go_on()
        await path.server.astart()
        await run.go_on(300)


@pytest.mark.parametrize("path", ["redis"], indirect=True)
async def test_a_redis_that_hangs_loses_nothing(
    path: RedisPath, make_log: MakeLog
) -> None:
    async with writing(path, make_log) as run:
        path.server.send_signal(signal.SIGSTOP)
        await run.go_on(600)
        path.server.send_signal(signal.SIGCONT)
        await run.go_on(300)


@asynccontextmanager
async def stalling(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Proxy]:
    """Have the live path of PostgreSQL connect through a proxy."""
    parameters = connection_parameters()
    async with proxy(int(parameters.get("port") or 5432)) as between:
        through = {**parameters, "host": "127.0.0.1", "port": between.port}
        monkeypatch.setattr(postgres, "connection_parameters", lambda: through)
        yield between


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.mark.postgresql
async def test_a_database_that_hangs_does_not_hold_a_publication(
    transactional_db: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with (
        stalling(monkeypatch) as between,
        listening(PostgresPath(), RUN) as found,
    ):
        live = postgres.PostgresLive(found.append)
        await live.publish([piece(1, "a")])
        between.stall()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await live.publish([piece(2, "b")])
        between.mend()
        await live.publish([piece(3, "c")])
        await until(lambda: piece(3, "c") in found)
        await live.aclose()
    # psycopg says so where it asked the server to cancel, for up to ten seconds.
    assert not [each for each in caplog.records if each.name.startswith("psycopg")]


@pytest.mark.postgresql
async def test_a_database_that_hangs_does_not_hold_the_reception(
    transactional_db: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(postgres, "TEST_SECONDS", 0.05)
    async with stalling(monkeypatch) as between:
        found: list[Piece] = []
        live = postgres.PostgresLive(found.append)
        await live.listen(RUN)
        await live.publish([piece(1, "a")])
        await until(lambda: bool(found))
        monkeypatch.setattr(postgres, "CONNECT_SECONDS", 1.0)
        between.stall()
        await until(lambda: "live path not received: TimeoutError" in caplog.messages)
        between.mend()
        await until(lambda: "live path received again" in caplog.messages)
        await live.aclose()
    assert not [each for each in caplog.records if each.name.startswith("psycopg")]


def database_url() -> str:
    """Return the URL of the database of the tests."""
    name = connection.settings_dict["NAME"]
    if connection.vendor == "sqlite":
        return f"sqlite:///{name}"
    return f"{os.environ['TEST_DATABASE_URL'].rpartition('/')[0]}/{name}"


@pytest.mark.parametrize(
    "broker", ["redis", pytest.param("postgres", marks=pytest.mark.postgresql)]
)
async def test_a_process_that_was_stopped_misses_nothing(
    broker: str, make_log: MakeLog, tmp_path: Path
) -> None:
    # A stopped client is soon disconnected, as it is after 32 MB by default.
    limit = ("--client-output-buffer-limit", "pubsub 64kb 32kb 1")
    with redis_server(tmp_path, *limit) as server:
        redis = RedisPath(server)
        redis_url = redis.url if broker == "redis" else ""
        make = redis.make if broker == "redis" else PostgresPath().make
        here = make_log(make)
        run = await begin(here, *words(1))
        environment = clean_environment(
            DATABASE_URL=database_url(),
            REDIS_URL=redis_url,
            DATA_DIR=str(tmp_path),
            LLM_PROVIDER="demo",
        )
        command = [sys.executable, "-m", "tests.event_log.reading_process", run.pk]
        process = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, env=environment, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout
        assert await process.stdout.readline() == b"waiting\n"
        process.send_signal(signal.SIGSTOP)
        for number in range(2, 200):
            events = [Content(content=f"{number} {n}" * 20) for n in range(50)]
            here.append(run.pk, events)
            await asyncio.sleep(0.005)
        await here.flush()
        process.send_signal(signal.SIGCONT)
        here.append(run.pk, words(200))
        await here.close(run.pk, [Done()], None, commit)
        printed, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
    numbers = json.loads(printed.splitlines()[-1])
    assert numbers == [*range(1, 198 * 50 + 4)]
