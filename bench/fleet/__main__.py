"""A fleet under faults: `python -m bench.fleet --help`. It writes a Markdown table."""

import argparse
import asyncio
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import django
import uvicorn

from bench.faults import model
from bench.faults.crowd import raise_open_files
from bench.faults.model import Model
from bench.fleet import exercises, processes
from bench.fleet.comparison import Comparison
from bench.fleet.exercises import Exercise
from bench.fleet.load import Load, compare
from bench.fleet.processes import Fleet, Size
from bench.fleet.services import end_at_sigterm

COLUMNS = (
    *("what was done", "runs", "ended", "lost", "duplicate events"),
    *("bytes that differ", "tool calls twice", "restarted"),
    *("longest gap, s", "of", "s"),
)
#: The table's columns that must be 0.
FAULTS = ("lost", "duplicate events", "bytes that differ", "tool calls twice")


@dataclass(frozen=True)
class Clients:
    """The clients of an exercise, and the duration of their runs without a fault."""

    sse: int = 200
    #: Of each kind: EventSource, fetch-event-source and this project's client.
    browsers: int = 3
    run_seconds: float = 12.0


async def exercise(fleet: Fleet, do: Exercise, clients: Clients) -> dict[str, object]:
    """Do one exercise to a fleet under load; return the row of the table."""
    booked = len(fleet.bookings())
    load = Load(fleet, clients.sse, clients.browsers, clients.run_seconds)
    async with load:
        await load.until_streaming()
        await do(fleet)
        await load.until_streaming()
        seen = await load.finish()
    found = await compare(fleet, seen)
    for problem in found.problems[:20]:
        print(problem, file=sys.stderr)
    return _row(found, fleet.bookings()[booked:])


def _row(found: Comparison, tickets: list[str]) -> dict[str, object]:
    return {
        "runs": found.runs,
        "ended": found.ended,
        "lost": found.lost,
        "duplicate events": found.duplicates,
        "bytes that differ": found.differing_bytes,
        "tool calls twice": sum(n > 1 for n in Counter(tickets).values()),
        "restarted": found.restarted,
        "longest gap, s": round(found.longest_gap, 1),
        "of": found.slowest,
    }


def failed(row: Mapping[str, object]) -> bool:
    """Return whether something was lost, repeated or changed."""
    return any(row[name] for name in FAULTS)


async def _all(size: Size, clients: Clients, only: Sequence[str]) -> int:
    """Do the exercises to one fleet; return the number of those that failed."""
    wanted = {
        name: do
        for name, do in exercises.applicable(size.workers > 0, size.redis).items()
        if any(part in name for part in only)
    }
    print(f"| {' | '.join(COLUMNS)} |\n| {' | '.join('---' for _ in COLUMNS)} |")
    failures = 0
    async with model.serving() as upstream, processes.serving(size, upstream) as fleet:
        for name, do in wanted.items():
            failures += not await _one(fleet, upstream, name, do, clients)
    return failures


async def _one(
    fleet: Fleet, upstream: Model, name: str, do: Exercise, clients: Clients
) -> bool:
    """Do an exercise and print its row; return whether all was right."""
    started = time.monotonic()
    try:
        row = await exercise(fleet, do, clients)
    except Exception:  # reported as failed; the other exercises still run
        traceback.print_exc()
        print(f"| {name} | **failed** |", flush=True)
        for server in fleet.servers:  # in threads: this loop has their proxies
            await asyncio.to_thread(server.ensure)
        return False
    row |= {"what was done": name, "s": round(time.monotonic() - started)}
    print(f"| {' | '.join(str(row[column]) for column in COLUMNS)} |", flush=True)
    if refused := upstream.refused:
        print(f"the model refused a history: {refused[0][:500]}", file=sys.stderr)
        upstream.refused = []
        return False
    return not failed(row)


def main() -> None:
    """Run the command."""
    args = _arguments()
    raise_open_files()
    end_at_sigterm()
    size = Size(args.webs, args.workers, args.executor, args.redis, args.lease)
    clients = Clients(args.clients, args.browsers, args.seconds)
    print(f"{', '.join(_conditions(size, clients))}.\n", flush=True)
    if failures := asyncio.run(_all(size, clients, args.only)):
        sys.exit(f"{failures} exercises failed")


def _conditions(size: Size, clients: Clients) -> Iterator[str]:
    yield f"{os.cpu_count()} CPUs"
    yield f"load {os.getloadavg()[0]:.1f} at the start"
    yield f"Python {'.'.join(map(str, sys.version_info[:3]))}"
    yield f"Django {django.__version__}"
    yield f"uvicorn {uvicorn.__version__}"
    yield f"{size.webs} web processes"
    yield f"{size.workers} workers"
    yield f"executor {size.executor}"
    yield "Redis" if size.redis else "no Redis"
    yield f"lease {size.lease_seconds:g} s"
    yield f"{clients.sse} SSE clients and {clients.browsers} of each kind in Node.js"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.fleet", description=__doc__)
    default, clients = Size(), Clients()
    parser.add_argument("--webs", type=int, default=default.webs)
    parser.add_argument("--workers", type=int, default=default.workers)
    parser.add_argument("--executor", default=default.executor)
    parser.add_argument(
        "--redis", action=argparse.BooleanOptionalAction, default=default.redis
    )
    parser.add_argument("--lease", type=float, default=default.lease_seconds)
    parser.add_argument("--clients", type=int, default=clients.sse)
    parser.add_argument("--browsers", type=int, default=clients.browsers)
    parser.add_argument("--seconds", type=float, default=clients.run_seconds)
    parser.add_argument(
        "--only",
        nargs="+",
        default=[""],
        metavar="NAME",
        help="those whose names have one of these in them",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
