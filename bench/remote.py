"""Readers in other processes: `python -m bench.remote --help`, two minutes.

Two processes write the events of 200 runs, 50 a second each. Two other processes read
them through each way that there is; beside that, the writing processes do.
"""

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import psycopg

from bench.faults.databases import database
from bench.processes import cpu_seconds, python, serving, start, wait_for
from bench.report import table

WORKERS = ("writer-1", "writer-2")
#: The events of this time are not measured.
WARM_UP_SECONDS = 2.0
POLL_SECONDS = 0.05
HEADINGS = (
    "readers",
    "events/s",
    "p50 ms",
    "p99 ms",
    "writing, µs an event",
    "reading",
    "PostgreSQL",
    "Redis",
    "sum",
)


class Part(msgspec.Struct, frozen=True):
    """The runs of a process, and its work on them. Times are in seconds."""

    name: str
    worker: str
    writes: Sequence[str]
    reads: Sequence[str]
    events_per_second: float
    warm_up: float
    seconds: float
    #: Where each process reports that it is ready, and finds the time to begin.
    directory: str

    @property
    def ready(self) -> Path:
        """Return the file that this process makes when it is ready."""
        return Path(self.directory) / f"{self.name}.ready"

    @property
    def go(self) -> Path:
        """Return the file with the time to begin (`time.monotonic()`)."""
        return Path(self.directory) / "go"


class Measured(msgspec.Struct, frozen=True):
    """What a process measured: times in ms, CPU time in seconds."""

    events: int
    #: p50 and p99 from the call of `append` until the event is with a reader.
    delay_ms: tuple[float, float]
    cpu: float


class Way(msgspec.Struct, frozen=True):
    """A way of events to their readers."""

    name: str
    on_postgres: bool = True
    redis: bool = False
    live: str = "auto"
    in_process: bool = False


WAYS = (
    Way("in the same process, SQLite", on_postgres=False, in_process=True),
    Way("in the same process, PostgreSQL", in_process=True),
    Way("elsewhere, SQLite", on_postgres=False),
    Way("elsewhere, PostgreSQL without a live path", live="none"),
    Way("elsewhere, NOTIFY", live="auto"),
    Way("elsewhere, Redis", redis=True),
)


class Row(msgspec.Struct, frozen=True):
    """The result of one way. CPU times are in µs an event."""

    name: str
    events_per_second: float
    p50_ms: float
    p99_ms: float
    writing: float
    reading: float
    postgres: float
    redis: float

    def cells(self) -> Sequence[str]:
        """Return the row of a table."""
        cpu = (self.writing, self.reading, self.postgres, self.redis)
        return (
            self.name,
            f"{self.events_per_second:,.0f}",
            f"{self.p50_ms:.1f}",
            f"{self.p99_ms:.1f}",
            *(f"{each:.1f}" if each else "" for each in cpu),
            f"{sum(cpu):.0f}",
        )


def main() -> None:
    """The command."""
    args = _arguments()
    rows = []
    for way in WAYS:
        if not way.on_postgres or args.postgres:
            print(f"… {way.name}", file=sys.stderr, flush=True)
            with TemporaryDirectory(prefix="bench-") as name:
                rows.append(measure(way, Path(name), args))
    args.output.mkdir(parents=True, exist_ok=True)
    written = table(HEADINGS, (row.cells() for row in rows))
    (args.output / "remote.md").write_text(f"{written}\n")
    print(written)


def measure(way: Way, directory: Path, args: argparse.Namespace) -> Row:
    """Write and read the runs in processes of their own, with a new database."""
    postgres_url = args.postgres if way.on_postgres else ""
    with (
        database(directory, postgres_url) as url,
        redis(directory, wanted=way.redis) as (redis_url, redis_pid),
    ):
        environment = {
            "DATA_DIR": str(directory),
            "DATABASE_URL": url,
            "REDIS_URL": redis_url,
            "EVENT_LIVE": way.live,
            "LLM_PROVIDER": "demo",
            "AUTHENTICATION": "streaming.auth.open",
        }
        process = ("-m", "bench.remote_process")
        count = str(args.runs // len(WORKERS))
        seeded = python(*process, "seed", ",".join(WORKERS), count, **environment)
        runs = msgspec.json.decode(seeded, type=list[list[str]])
        parts = _parts(way, runs, directory, args)
        running = [
            start(*process, msgspec.json.encode(part).decode(), **environment)
            for part in parts
        ]
        begins = _begin(parts, running)
        _sleep_until(begins + WARM_UP_SECONDS)
        pids = {"postgres": _backends(url), "redis": [redis_pid] if redis_pid else []}
        before = {name: _cpu(those) for name, those in pids.items()}
        _sleep_until(begins + WARM_UP_SECONDS + args.seconds)
        servers = {name: _cpu(those) - before[name] for name, those in pids.items()}
        printed = [wait_for(each) for each in running]
    measured = [msgspec.json.decode(each, type=Measured) for each in printed]
    return _row(way, parts, measured, servers, args)


def _begin(parts: Sequence[Part], running: Sequence[subprocess.Popen[str]]) -> float:
    """Have all processes begin at the same time, and return it."""
    while not all(part.ready.exists() for part in parts):
        if any(process.poll() for process in running):
            sys.exit("a process failed at its start")
        time.sleep(POLL_SECONDS)  # polled: files tell of no change
    begins = time.monotonic() + 0.5
    made = parts[0].go.with_suffix(".new")
    made.write_text(str(begins))
    made.rename(parts[0].go)
    return begins


def _parts(
    way: Way, runs: Sequence[list[str]], directory: Path, args: argparse.Namespace
) -> list[Part]:
    def part(name: str, worker: str, writes: list[str], reads: list[str]) -> Part:
        times = (args.rate, WARM_UP_SECONDS, args.seconds)
        return Part(name, worker, writes, reads, *times, str(directory))

    own = list(zip(WORKERS, runs, strict=True))
    if way.in_process:
        return [part(worker, worker, those, those) for worker, those in own]
    writing = [part(worker, worker, those, []) for worker, those in own]
    # Each reading process follows half of the runs of each writing one.
    mixed = [run for group in zip(*runs, strict=True) for run in group]
    half = len(mixed) // 2
    first = part("reader-1", "reader-1", [], mixed[:half])
    second = part("reader-2", "reader-2", [], mixed[half:])
    return [*writing, first, second]


def _row(
    way: Way,
    parts: Sequence[Part],
    measured: Sequence[Measured],
    servers: dict[str, float],
    args: argparse.Namespace,
) -> Row:
    both = list(zip(parts, measured, strict=True))
    read = [each for part, each in both if part.reads]
    events = sum(each.events for each in read)
    writing = sum(each.cpu for part, each in both if part.writes)
    reading = sum(each.cpu for part, each in both if not part.writes)
    per_event = 1e6 / events
    return Row(
        way.name,
        events / args.seconds,
        max(each.delay_ms[0] for each in read),
        max(each.delay_ms[1] for each in read),
        writing * per_event,
        reading * per_event,
        servers["postgres"] * per_event,
        servers["redis"] * per_event,
    )


@contextmanager
def redis(directory: Path, *, wanted: bool) -> Iterator[tuple[str, int]]:
    """Run a Redis that stores nothing; yield its URL and process, if it is wanted."""
    if not wanted:
        yield "", 0
        return
    program = shutil.which("redis-server")
    if program is None:
        sys.exit("redis-server is not installed")
    options = ("--bind", "127.0.0.1", "--save", "", "--dir", str(directory))
    with serving(program, *options, directory=directory) as server:
        yield f"redis://127.0.0.1:{server.port}", server.pid


def _backends(url: str) -> list[int]:
    """Return the processes that serve the connections to a database."""
    if not url:
        return []
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "SELECT pid FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return [int(pid) for (pid,) in found]


def _cpu(pids: Sequence[int]) -> float:
    return sum(map(cpu_seconds, pids))


def _sleep_until(moment: float) -> None:
    # No wait for anything: the measured time ends at this moment.
    time.sleep(max(moment - time.monotonic(), 0))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure readers in other processes.")
    parser.add_argument("--postgres", default="", metavar="URL")
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--rate", type=float, default=50.0, help="events/s of a run")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each way")
    parser.add_argument("--output", type=Path, default=Path("data/bench"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
