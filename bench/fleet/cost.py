"""The cost of streams to a fleet: connections, transactions, rows, bytes and CPU.

`python -m bench.fleet.cost` measures few and many streams, and writes Markdown tables.
docs/capacity.md calculates with the results.
"""

import argparse
import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psycopg

from bench.faults.waiting import until
from bench.fleet import processes, services
from bench.fleet.processes import Fleet, Size
from bench.load import Load
from bench.processes import start
from bench.upstream import reply_to
from bench.wire import MOST_DELTAS
from streaming.testing.provider import StandInProvider

FLUSH_SECONDS = 0.2
#: All streams begin within this time, also on a busy machine, and end.
SECONDS = 200
COLUMNS = (
    *("streams", "events/s", "connections", "transactions a flush", "rows a flush"),
    *("WAL bytes an event", "CPU µs an event"),
)
RUNNING = "SELECT count(*) FROM streaming_run WHERE status = 'running'"
CANCEL = "UPDATE streaming_run SET cancel_requested_at = now() WHERE status = 'running'"
ROWS = """
    SELECT count(*), coalesce(sum(last_id - first_id + 1), 0),
      pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint
    FROM streaming_eventsegment
"""
CONNECTIONS = """
    SELECT application_name, count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() GROUP BY 1
"""


@dataclass(frozen=True)
class Sample:
    """The counters of a fleet at one moment."""

    at: float
    rows: int
    events: int
    wal_bytes: int
    transactions: int
    #: CPU seconds by the role of processes.
    cpu: Mapping[str, float]


@dataclass(frozen=True)
class Cost:
    """The cost of open streams, between two samples."""

    streams: int
    seconds: float
    events: int
    #: Connections to the database by the role of processes, at most.
    connections: Mapping[str, int]
    transactions_a_flush: float
    rows_a_flush: float
    wal_bytes_an_event: float
    cpu_us_an_event: Mapping[str, float]


async def measure(
    fleet: Fleet, streams: int, *, pace_ms: float, seconds: float
) -> Cost:
    """Measure a fleet while so many runs stream an event each `pace_ms`."""
    load = Load(
        port=fleet.nginx.port,
        pid=fleet.nginx.pid,
        dialect="ours",
        streams=streams,
        deltas=MOST_DELTAS,  # more than are needed: the clients are killed in the end
        pace_ms=pace_ms,
        spread=streams / 200,
    )
    process = start("-m", "bench.load", msgspec.json.encode(load).decode())
    with psycopg.connect(fleet.database_url, autocommit=True) as database:
        try:
            await until(lambda: _numbers(database, RUNNING)[0] == streams, SECONDS)
            connections: dict[str, int] = {}
            before = _sample(fleet, database)
            for _ in range(int(seconds)):
                await asyncio.sleep(1)  # the time that is measured
                for role, count in database.execute(CONNECTIONS).fetchall():
                    connections[role] = max(count, connections.get(role, 0))
            after = _sample(fleet, database)
            assert _numbers(database, RUNNING)[0] == streams, "runs ended meanwhile"
        finally:
            process.kill()
            process.communicate()
        database.execute(CANCEL)
        await until(lambda: _numbers(database, RUNNING)[0] == 0, SECONDS)
    return _cost(streams, before, after, connections)


def _cost(
    streams: int, before: Sample, after: Sample, connections: Mapping[str, int]
) -> Cost:
    seconds = after.at - before.at
    flushes = seconds / FLUSH_SECONDS
    events = after.events - before.events
    return Cost(
        streams=streams,
        seconds=seconds,
        events=events,
        connections=connections,
        transactions_a_flush=(after.transactions - before.transactions) / flushes,
        rows_a_flush=(after.rows - before.rows) / flushes,
        wal_bytes_an_event=(after.wal_bytes - before.wal_bytes) / events,
        cpu_us_an_event={
            role: (after.cpu[role] - before.cpu[role]) / events * 1e6
            for role in after.cpu
        },
    )


def _sample(fleet: Fleet, database: psycopg.Connection) -> Sample:
    rows, events, wal_bytes = _numbers(database, ROWS)
    return Sample(
        at=asyncio.get_running_loop().time(),
        rows=rows,
        events=events,
        wal_bytes=wal_bytes,
        transactions=services.transactions(fleet.postgres.database_url),
        cpu={role: _cpu_of(pids) for role, pids in _roles(fleet).items()},
    )


def _roles(fleet: Fleet) -> dict[str, list[int]]:
    roles = {
        "web": [web.pid for web in fleet.webs],
        "worker": [worker.pid for worker in fleet.workers],
        "PostgreSQL": [fleet.postgres.pid],
        "Redis": [fleet.redis.pid] if fleet.redis else [],
        "nginx": [fleet.nginx.pid],
    }
    return {role: pids for role, pids in roles.items() if pids}


def _cpu_of(pids: Sequence[int]) -> float:
    """Return the CPU time of processes and all their children, ended ones included."""
    return sum(_times(pid) for parent in pids for pid in _family(parent))


def _family(pid: int) -> Iterator[int]:
    yield pid
    with suppress(FileNotFoundError, ProcessLookupError):  # it has ended
        tasks = Path(f"/proc/{pid}/task").glob("*/children")
        for child in " ".join(task.read_text() for task in tasks).split():
            yield from _family(int(child))


def _times(pid: int) -> float:
    """Return the times of a process and of its ended children; 0 if it has ended."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    ticks = status.rpartition(")")[2].split()[11:15]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def _numbers(database: psycopg.Connection, query: str) -> tuple[int, ...]:
    row = database.execute(query).fetchone()
    assert row
    return tuple(map(int, row))


@asynccontextmanager
async def paced_fleet(size: Size, **variables: str) -> AsyncIterator[Fleet]:
    """Start a fleet whose provider sends deltas at the pace that a prompt asks for."""
    async with (
        StandInProvider(reply_to, keep_requests=False) as upstream,
        processes.serving(
            size,
            upstream,
            OPENAI_BASE_URL=f"{upstream.url}/v1",
            **variables,
        ) as fleet,
    ):
        yield fleet


async def _all(size: Size, streams: Sequence[int], pace_ms: float, pool: str) -> None:
    async with paced_fleet(size, DATABASE_POOL_SIZE=pool, STREAM_MAX_OPEN="0") as fleet:
        for count in streams:
            cost = await measure(fleet, count, pace_ms=pace_ms, seconds=10)
            print(_row(cost), flush=True)


def _row(cost: Cost) -> str:
    connections = sorted(cost.connections.items())
    cells = (
        f"{cost.streams}",
        f"{cost.events / cost.seconds:,.0f}",
        ", ".join(f"{role} {count}" for role, count in connections),
        f"{cost.transactions_a_flush:.2f}",
        f"{cost.rows_a_flush:.1f}",
        f"{cost.wal_bytes_an_event:.0f}",
        ", ".join(f"{role} {us:.0f}" for role, us in cost.cpu_us_an_event.items()),
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="bench.fleet.cost", description=__doc__)
    default = Size()
    parser.add_argument("--webs", type=int, default=default.webs)
    parser.add_argument("--workers", type=int, default=default.workers)
    parser.add_argument("--executor", default=default.executor)
    parser.add_argument(
        "--redis", action=argparse.BooleanOptionalAction, default=default.redis
    )
    parser.add_argument("--pool", default="10", help="connections of a process's pool")
    parser.add_argument("--pace", type=float, default=1000, help="ms between events")
    parser.add_argument("--streams", type=int, nargs="+", default=[50, 500])
    args = parser.parse_args()
    services.end_at_sigterm()
    # A lease that no process loses because the load generator takes its cores.
    size = Size(args.webs, args.workers, args.executor, args.redis, lease_seconds=60)
    print(f"{size.webs} web processes, {size.workers} workers, {size.executor};")
    print(f"load {os.getloadavg()[0]:.1f}; an event each {args.pace:g} ms.\n")
    print(f"| {' | '.join(COLUMNS)} |\n| {' | '.join('---' for _ in COLUMNS)} |")
    asyncio.run(_all(size, args.streams, args.pace, args.pool))


if __name__ == "__main__":
    main()
