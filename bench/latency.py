"""How soon things come: at the start, in the midst of many, beside greedy others."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.load import Measurement
from bench.servers_under_test import Running

#: 50 tokens a second, as a model that is quick.
PACE_MS = 20
DELTAS = 150
#: What a reader does not notice yet.
MOST_GAP_MS = 40
MOST_DELAY_MS = 100
#: Streams to try; between the last that was held and the next we look closer.
STEPS = (10, 30, 60, 120, 240, 480, 960)
HALVINGS = 2


@dataclass(frozen=True)
class Step:
    """So many streams of 50 tokens a second at once."""

    streams: int
    delay_ms: Sequence[float]
    gap_ms: Sequence[float]
    cpu_us: float

    @property
    def held(self) -> bool:
        """Whether a reader would notice nothing."""
        return self.gap_ms[1] <= MOST_GAP_MS and self.delay_ms[1] <= MOST_DELAY_MS


def first(running: Running, seconds: float) -> Measurement:
    """16 paced streams, again and again: when their first event and text come."""
    return running.measure(
        16, deltas=10, pace_ms=PACE_MS, seconds=seconds, spread=10 * PACE_MS / 1000
    )


def capacity(running: Running, most: int) -> list[Step]:
    """More and more paced streams, until they are too many, at most `most`."""
    steps: list[Step] = []
    for streams in (n for n in STEPS if n <= most):
        steps.append(_step(running, streams))
        if not steps[-1].held:
            steps += _closer(running, most_held(steps), streams)
            break
    return sorted(steps, key=lambda step: step.streams)


def _closer(running: Running, held: int, failed: int) -> Iterator[Step]:
    """Halve the distance between what was held and what was not."""
    for _ in range(HALVINGS):
        step = _step(running, (held + failed) // 2)
        yield step
        if step.held:
            held = step.streams
        else:
            failed = step.streams


def _step(running: Running, streams: int) -> Step:
    """So many streams; once more if they were too many, for machines have hiccups."""
    step = _try(running, streams)
    return step if step.held else _try(running, streams)


def _try(running: Running, streams: int) -> Step:
    """Streams that begin within a second; what came while all were there."""
    got = running.measure(streams, deltas=DELTAS, pace_ms=PACE_MS, spread=1)
    return Step(streams, got.delay_ms, got.gap_ms, got.cpu_us)


def most_held(steps: Sequence[Step]) -> int:
    """How many streams a process holds."""
    return max((step.streams for step in steps if step.held), default=0)


def fairness(running: Running, seconds: float) -> Mapping[str, Measurement]:
    """A 17th stream, again and again, alone and beside 16 that are flat out."""
    alone = running.measure(1, deltas=1, seconds=seconds / 2)
    greedy = running.begin(16, deltas=DELTAS, seconds=seconds + 1)
    # All 16 are at full speed by then; their process reports only at its end.
    time.sleep(0.5)
    beside = running.measure(1, deltas=1, seconds=seconds)
    greedy()
    return {"alone": alone, "beside": beside}
