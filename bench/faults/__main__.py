"""All faults at length: `python -m bench.faults --help`. It writes a Markdown table."""

import argparse
import asyncio
import os
import sqlite3
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial

import django
import psycopg
import uvicorn

from bench.faults import away, crash, crowd, ends, model, races, readers, servers
from bench.faults.model import Model
from bench.faults.servers import Site

Seen = Mapping[str, float]
Fault = Callable[[Site, Model], Awaitable[Seen]]


def _faults(seed: int) -> Mapping[str, Fault]:
    """What is done, each to servers and a database of its own."""

    def alone(do: Callable[..., Awaitable[Seen]], **values: float) -> Fault:
        return lambda site, _: do(site, **values)

    return {
        "resume at every cut point of a run, from two processes": alone(
            readers.cut_points
        ),
        "50 readers of one run, from two processes": alone(readers.fifty),
        "readers that join and leave at random for a minute": alone(
            readers.come_and_go, seconds=60, count=20, seed=seed
        ),
        "kill -9 at random moments, two workers": partial(
            crash.kills, count=20, seed=seed
        ),
        "kill -9 of one worker of two": crash.one_of_two,
        "SIGTERM with 100 open streams, two workers": alone(ends.terminate, count=100),
        "a process that stands still longer than its lease": ends.suspend,
        "1,000 idle streams in one process, and 1,000 readers more": partial(
            crowd.idle, count=1000
        ),
        "a reader that stops reading for a minute beside one that does not": alone(
            crowd.stuck, seconds=60
        ),
        "a reader that takes nothing for longer than it may": alone(crowd.disconnected),
        "ten equal POSTs at once, to two processes": partial(
            races.identical_posts, rounds=20
        ),
        "runs of two processes race for a conversation": alone(
            races.one_conversation, rounds=50
        ),
        "cancel, four times, about when the run ends": alone(
            races.cancel_at_the_end, rounds=100, seed=seed
        ),
        "the conversation is deleted in mid-run by another process": alone(
            races.delete_in_mid_run, rounds=30, seed=seed
        ),
        "the database refuses for some seconds": partial(
            away.for_a_while, seconds=8, refuse=True
        ),
        "the database stalls for some seconds": partial(
            away.for_a_while, seconds=8, refuse=False
        ),
        "the database refuses for good": partial(away.for_good, refuse=True),
        "the database stalls for good": partial(away.for_good, refuse=False),
        "the database stalls: probes, and SIGTERM": away.stalled,
    }


def main() -> None:
    """The command."""
    args = _arguments()
    faults = _faults(args.seed)
    wanted = {name: do for name, do in faults.items() if args.only in name}
    print(f"{_conditions(args.postgres)}; seed {args.seed}.\n")
    print("| what was done | what was seen | s |\n| --- | --- | --- |", flush=True)
    failed = 0
    for name, do in wanted.items():
        started = time.monotonic()
        try:
            seen = ", ".join(_told(asyncio.run(_do(do, args.postgres))))
        except Exception:  # reported as failed; the other faults still run
            failed += 1
            seen = "**failed**"
            traceback.print_exc()
        took = time.monotonic() - started
        print(f"| {name} | {seen} | {took:.0f} |", flush=True)
    sys.exit(f"{failed} of {len(wanted)} failed" if failed else 0)


async def _do(fault: Fault, postgres_url: str) -> Seen:
    async with model.serving() as upstream:
        with servers.site(upstream, postgres_url) as site:
            return await fault(site, upstream)


def _told(seen: Seen) -> Iterator[str]:
    for what, number in seen.items():
        yield f"{what} {number:,}"


def _conditions(postgres_url: str) -> str:
    database = f"SQLite {sqlite3.sqlite_version}"
    if postgres_url:
        with psycopg.connect(postgres_url) as connection:
            version = connection.info.server_version
        database = f"PostgreSQL {version // 10_000}.{version % 10_000}"
    python = ".".join(map(str, sys.version_info[:3]))
    load = ", ".join(f"{number:.1f}" for number in os.getloadavg())
    return (
        f"{database}, {os.cpu_count()} CPUs (load average {load} at the start), "
        f"Python {python}, Django {django.__version__}, uvicorn {uvicorn.__version__}"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.faults", description=__doc__)
    parser.add_argument(
        "--postgres", default="", metavar="URL", help="there, and not on SQLite"
    )
    parser.add_argument("--only", default="", help="those whose name has this in it")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
