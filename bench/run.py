"""Measure all contenders in one run: `python -m bench.run --help`.

Rounds are interleaved, so that a busy moment of the machine hits all alike.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import report
from bench.contenders import OURS, check_stored, contenders
from bench.load import Measurement
from bench.processes import Server, python

WARM_UP_SECONDS = 0.5


def main() -> None:
    """The command."""
    args = _arguments()
    with TemporaryDirectory(prefix="bench-") as name:
        rounds = measure(Path(name), args)
    print(f"{report.conditions()}\n{_load(args)}\n\n{report.table(rounds)}")
    if args.output:
        samples = {name: [asdict(m) for m in rounds[name]] for name in rounds}
        written = {"conditions": report.conditions(), "load": _load(args)}
        args.output.write_text(json.dumps({**written, "rounds": samples}, indent=1))


def measure(
    directory: Path, args: argparse.Namespace
) -> Mapping[str, list[Measurement]]:
    """Every contender in every round, after a round to warm up."""
    rounds: dict[str, list[Measurement]] = {}
    with contenders(directory, args.deltas, args.pace_ms) as servers:
        for number in range(args.rounds + 1):
            seconds = args.seconds if number else WARM_UP_SECONDS
            for name, server in servers.items():
                rounds.setdefault(name, []).append(_one_round(server, args, seconds))
        check_stored(directory, sum(m.streams for m in rounds[OURS]), args.deltas)
    return {name: measured[1:] for name, measured in rounds.items()}


def _one_round(server: Server, args: argparse.Namespace, seconds: float) -> Measurement:
    options = {
        "port": server.port,
        "pid": server.pid,
        "streams": args.streams,
        "deltas": args.deltas,
        "seconds": seconds,
    }
    flags = [f"--{name}={value}" for name, value in options.items()]
    return Measurement(**json.loads(python("-m", "bench.load", *flags)))


def _load(args: argparse.Namespace) -> str:
    pace = f"one every {args.pace_ms:g} ms" if args.pace_ms else "flat out"
    return (
        f"{args.streams} streams at once of {args.deltas} deltas, {pace}; "
        f"{args.rounds} rounds of {args.seconds:g} s"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure what a delta costs.")
    parser.add_argument("--streams", type=int, default=16, help="at once")
    parser.add_argument("--deltas", type=int, default=200, help="in each stream")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2, help="of each round")
    parser.add_argument("--pace-ms", type=float, default=0, help="0: flat out")
    parser.add_argument("--output", type=Path, help="where to write JSON")
    return parser.parse_args()


if __name__ == "__main__":
    main()
