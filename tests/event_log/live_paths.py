"""The live paths, each with a broker of its own, and messages that no process sends."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Protocol

import psycopg
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from streaming.event_log import DatabaseLog, LogOptions
from streaming.event_log.live.base import LiveTail, MakeLive, NoLive, Offer, Piece
from streaming.event_log.live.postgres import PostgresLive
from streaming.event_log.live.redis import PREFIX, RedisLive
from streaming.storage import database
from streaming.storage.notifications import (
    APPLICATION,
    CHANNEL,
    connection_parameters,
)
from streaming.testing.server import Server, clean_environment
from tests.available import need
from tests.event_log.test_database_log import FLUSH, WORKER

#: No flush comes in a test: what readers elsewhere see came on the live path.
NEVER = 3600.0
TICK = 0.005
PATIENCE = 60


class LivePath(Protocol):
    """A live path of the tests."""

    carries: bool

    def make(self, offer: Offer) -> LiveTail:
        """Make it for one more process."""
        ...

    async def send(self, run_id: str, message: bytes) -> None:
        """Send any message about a run, as a stranger with access to the broker."""
        ...

    async def end_connections(self) -> None:
        """End the connections of all processes, which may connect again."""
        ...


class NoPath:
    """The database alone."""

    carries = False

    def make(self, offer: Offer) -> LiveTail:
        return NoLive(offer)

    async def send(self, run_id: str, message: bytes) -> None:
        """There is nothing to send on."""

    async def end_connections(self) -> None:
        """There are none."""


class RedisPath:
    """A Redis of its own, which a test may kill and start again."""

    carries = True

    def __init__(self, server: Server) -> None:
        self.server = server

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.server.port}"

    def make(self, offer: Offer) -> LiveTail:
        return RedisLive(self.url, offer)

    async def send(self, run_id: str, message: bytes) -> None:
        async with Redis.from_url(self.url) as client:
            await client.publish(PREFIX + run_id.encode(), message)

    async def end_connections(self) -> None:
        async with Redis.from_url(self.url) as client:
            for kind in ("normal", "pubsub"):
                await client.client_kill_filter(_type=kind, skipme=True)


class PostgresPath:
    """The database of the tests."""

    carries = True

    def make(self, offer: Offer) -> LiveTail:
        return PostgresLive(offer)

    async def send(self, run_id: str, message: bytes) -> None:
        text = message.decode(errors="replace").replace("\0", "?")
        parameters = connection_parameters() | {"application_name": "stranger"}
        async with await psycopg.AsyncConnection.connect(**parameters) as connection:
            payload = f"{run_id} {text}"
            await connection.execute("SELECT pg_notify(%s, %s)", [CHANNEL, payload])

    async def end_connections(self) -> None:
        parameters = connection_parameters() | {"application_name": "stranger"}
        async with await psycopg.AsyncConnection.connect(**parameters) as connection:
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = %s",
                [APPLICATION],
            )


@contextmanager
def redis_server(directory: Path, *options: str) -> Iterator[Server]:
    """Run a Redis that stores nothing."""
    own = ("--bind", "127.0.0.1", "--save", "", "--dir", str(directory), *options)
    command = [need("redis"), *own, "--port", "{port}"]
    with Server(command, directory, environment=clean_environment()) as server:
        yield server


on_postgresql = pytest.mark.postgresql
CARRYING = ["redis", pytest.param("postgres", marks=on_postgresql)]


@pytest.fixture
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LivePath]:
    """The live path that the test's parameter names."""
    match request.param:
        case "none":
            yield NoPath()
        case "postgres":
            yield PostgresPath()
        case "redis":
            with redis_server(tmp_path) as server:
                yield RedisPath(server)


class MakeLog(Protocol):
    """Makes the log of one more process."""

    def __call__(
        self, make: MakeLive, *, flush_seconds: float = ..., tail: int = ...
    ) -> DatabaseLog: ...


@pytest_asyncio.fixture
async def make_log(transactional_db: None) -> AsyncIterator[MakeLog]:
    """Logs of processes that share the database and a live path."""
    made: list[DatabaseLog] = []

    def make_one(
        make: MakeLive, *, flush_seconds: float = FLUSH, tail: int = 512
    ) -> DatabaseLog:
        options = LogOptions(tail_entries=tail)
        log = DatabaseLog(
            WORKER,
            flush_seconds,
            lambda _: None,
            options=options,
            live=make,
            live_seconds=TICK,
        )
        made.append(log)
        return log

    yield make_one
    for log in made:
        await log.aclose()
    await asyncio.to_thread(database.close)


@asynccontextmanager
async def listening(path: LivePath, *run_ids: str) -> AsyncIterator[list[Piece]]:
    """Listen to runs in one more process; yield the pieces that come."""
    found: list[Piece] = []
    live = path.make(found.append)
    for run_id in run_ids:
        await live.listen(run_id)
    try:
        yield found
    finally:
        await live.aclose()
