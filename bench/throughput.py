"""Deltas a second and CPU a delta, flat out.

Rounds are interleaved, so that a busy moment of the machine hits all alike.
"""

from collections.abc import Mapping, Sequence

from bench.load import Measurement
from bench.servers_under_test import Running

Rounds = Mapping[str, Sequence[Measurement]]


def warm_up(running: Sequence[Running]) -> None:
    """A few short streams of each, so that imports and caches are behind it."""
    for contender in running:
        contender.measure(16, deltas=20)


def compare(
    running: Sequence[Running],
    streams: int,
    rounds: int,
    seconds: float,
    deltas: int,
    *,
    one_by_one: bool = False,
) -> Rounds:
    """So many `streams` at once of each contender, in every round."""
    measured: dict[str, list[Measurement]] = {one.name: [] for one in running}
    for _ in range(rounds):
        for one in running:
            got = one.measure(
                streams, deltas=deltas, seconds=seconds, one_by_one=one_by_one
            )
            measured[one.name].append(got)
    return measured
