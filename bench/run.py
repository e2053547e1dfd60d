"""Measure all servers_under_test in one run: `python -m bench.run --help`."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench import latency, plot, report, resources
from bench.results import Comparison, Results, conditions
from bench.servers_under_test import (
    ALL,
    CEILINGS,
    FASTAPI,
    ONE_BY_ONE,
    OUR,
    OURS,
    PEERS,
    Running,
    TestBed,
    house,
)
from bench.throughput import compare, warm_up
from bench.wire import PROTOCOLS, Protocol

DELTAS = 200
#: Few enough deltas a second of a slow server that 64 streams would take minutes.
SLOW = frozenset(one.name for one in PEERS) - {FASTAPI}
STORED = "10,000 conversations stored"
LONG = "in conversations of 500 messages"
EMPTY = "empty database"
OPEN = "open to all"
KEYED = "an API key in each request"


def main() -> None:
    """The command."""
    args = _arguments()
    args.output.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="bench-") as name:
        results = measure(Path(name), args)
    results.save(args.output / "results.json")
    (args.output / "capacity.svg").write_text(plot.draw(results.capacity))
    (args.output / "tables.md").write_text(report.write(results))
    print(report.write(results))


def measure(directory: Path, args: argparse.Namespace) -> Results:
    """Everything, one protocol after another; what is not of a protocol with chat."""
    told = conditions(args.peers)
    compared: list[Comparison] = []
    one_by_one: list[Comparison] = []
    rest: dict[str, Any] = {}
    for protocol in PROTOCOLS:
        with house(directory / protocol, protocol, args.peers) as servers:
            running = _serve(servers, protocol)
            if protocol == "chat":  # first, for memory that was used once stays around
                _tell("memory")
                rest["holding"] = _each(_real(running), resources.holding)
            compared += _throughput(running, protocol, args)
            one_by_one.append(_one_by_one(running, protocol, args))
            if protocol == "chat":
                rest |= _others(servers.upstream, running, args)
            _ours(running).check_stored()
    with house(directory / "growth", "chat") as servers:
        rest["growth"] = _growth(servers, args)
    with house(directory / "keys", "chat") as servers:
        rest |= _keys(servers, args)
    return Results(told, compared, one_by_one, **rest)


def _serve(servers: TestBed, protocol: Protocol) -> list[Running]:
    running = [servers.serve(one) for one in ALL if protocol in one.protocols]
    warm_up(running)
    return running


def _throughput(
    running: list[Running], protocol: Protocol, args: argparse.Namespace
) -> list[Comparison]:
    fast = [one for one in running if one.name not in SLOW]
    compared = []
    for streams, those in ((16, running), (64, fast)):
        _tell(f"{protocol}: {streams} streams flat out")
        rounds = compare(those, streams, args.rounds, args.seconds, DELTAS)
        compared.append(Comparison(protocol, streams, rounds))
    return compared


def _one_by_one(
    running: list[Running], protocol: Protocol, args: argparse.Namespace
) -> Comparison:
    _tell(f"{protocol}: one delta by one")
    those = [one for one in running if one.name in ONE_BY_ONE]
    rounds = compare(those, 16, args.rounds, args.seconds, DELTAS, one_by_one=True)
    return Comparison(protocol, 16, rounds)


def _others(
    upstream: Running, running: list[Running], args: argparse.Namespace
) -> dict[str, Any]:
    """What is measured with one protocol only."""
    _tell("first event, fairness")
    first = _each([upstream, *running], lambda one: latency.first(one, args.seconds))
    fairness = _each(running, lambda one: latency.fairness(one, args.seconds))
    _tell("how many streams one process holds")
    capacity = _each([upstream, *running], lambda one: latency.capacity(one, args.most))
    _tell("transactions, short runs")
    ours = _ours(running)
    return {
        "first": first,
        "fairness": fairness,
        "capacity": capacity,
        "writes": [resources.writes(ours, runs) for runs in (1, 10, 100)],
        "short_runs": resources.short_runs(ours, 4, args.seconds * 4),
    }


def _growth(servers: TestBed, args: argparse.Namespace) -> Comparison:
    """Ours with three databases; the long conversations are one for each client."""
    _tell("growth")
    running = [
        servers.serve(replace(OUR, name=EMPTY)),
        servers.serve(replace(OUR, name=STORED), 10_000, 0, 0),
        servers.serve(replace(OUR, name=LONG, conversation="long-"), 0, 16, 500),
    ]
    warm_up(running)
    rounds = compare(running, 16, args.rounds, args.seconds, DELTAS)
    for one in running:
        one.check_stored()
    return Comparison("chat", 16, rounds)


def _keys(servers: TestBed, args: argparse.Namespace) -> dict[str, Any]:
    """The cost of authentication."""
    _tell("API keys")
    running = [
        servers.serve(replace(OUR, name=OPEN)),
        servers.serve(replace(OUR, name=KEYED, keyed=True)),
    ]
    warm_up(running)
    rounds = compare(running, 16, args.rounds * 3, args.seconds, DELTAS)
    first = _each(running, lambda one: latency.first(one, args.seconds * 4))
    return {"keys": Comparison("chat", 16, rounds), "keys_first": first}


def _each(running: list[Running], measured: Callable[[Running], Any]) -> dict[str, Any]:
    return {one.name: measured(one) for one in running}


def _real(running: list[Running]) -> list[Running]:
    """Without those that are there for their speed alone."""
    ceilings = {one.name for one in CEILINGS}
    return [one for one in running if one.name not in ceilings]


def _ours(running: list[Running]) -> Running:
    return next(one for one in running if one.name == OURS)


def _tell(what: str) -> None:
    print(f"… {what}", file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure what a delta costs.")
    parser.add_argument("--peers", type=Path, required=True, help="their Python")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each round")
    parser.add_argument("--most", type=int, default=960, help="paced streams to try")
    parser.add_argument("--output", type=Path, default=Path("data/bench"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
