"""Whether ours became slower: a minute, `python -m bench.quick`.

It compares with the pass-through of bytes, which is the ceiling, and with the SDK's
typed stream, and fails where a ratio is below its floor. Of each the deltas are counted
that come for a second of its CPU time: a measure that a busy machine changes little.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import report
from bench.results import Comparison
from bench.servers_under_test import (
    CEILINGS,
    OUR,
    OURS,
    PASS_THROUGH,
    TYPED,
    UNIT,
    house,
)
from bench.throughput import compare, warm_up

ROUNDS, SECONDS, STREAMS, DELTAS = 5, 1.5, 16, 200
#: Far enough below what `RESULTS.md` says.
FLOORS = {PASS_THROUGH: 0.12, TYPED: 7}


def main() -> None:
    """The command."""
    with TemporaryDirectory(prefix="bench-") as name:
        compared = measure(Path(name))
    print("\n\n".join(report.throughput(compared)))
    below = [
        f"For its CPU time ours is {ratio:.2f} x {other}; the floor is {floor:g}."
        for other, floor in FLOORS.items()
        if (ratio := compared.cpu_ratio(OURS, other)) < floor
    ]
    if below:
        sys.exit("\n".join(below))


def measure(directory: Path) -> Comparison:
    """Ours between the two, with OpenAI's chat completions."""
    through = next(one for one in CEILINGS if one.name == PASS_THROUGH)
    with house(directory, "chat") as servers:
        running = [servers.serve(one) for one in (through, OUR, UNIT)]
        warm_up(running)
        rounds = compare(running, STREAMS, ROUNDS, SECONDS, DELTAS)
        running[1].check_stored()
    return Comparison("chat", STREAMS, rounds)


if __name__ == "__main__":
    main()
