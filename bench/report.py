"""Measurements as medians, ratios and a table."""

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from statistics import median

from bench.contenders import CEILING, PEER
from bench.load import Measurement

Rounds = Mapping[str, Sequence[Measurement]]

PACKAGES = ("django", "uvicorn", "uvloop", "openai", "fastapi")
HEADINGS = (
    "server",
    "deltas/s",
    "to the ceiling",
    "to FastAPI",
    "CPU a delta, µs",
    "CPU to FastAPI",
    "first delta p50, ms",
    "server busy",
    "generator busy",
)


def conditions() -> str:
    """The machine and the versions."""
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return f"{os.cpu_count()} CPUs, Python {platform.python_version()}, {versions}"


def table(rounds: Rounds) -> str:
    """Medians over the rounds, in Markdown."""
    rows = [HEADINGS, ("---",) * len(HEADINGS)]
    rows += [_row(name, rounds) for name in rounds]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(name: str, rounds: Rounds) -> tuple[str, ...]:
    def ratio(value: Callable[[Measurement], float], other: str) -> str:
        pairs = zip(rounds[name], rounds[other], strict=True)
        return f"{median(value(a) / value(b) for a, b in pairs):.2f}"

    def middle(value: Callable[[Measurement], float]) -> float:
        return median(map(value, rounds[name]))

    return (
        name,
        f"{middle(lambda m: m.per_second):,.0f}",
        ratio(lambda m: m.per_second, CEILING),
        ratio(lambda m: m.per_second, PEER),
        f"{middle(lambda m: m.cpu_per_delta) * 1e6:.1f}",
        ratio(lambda m: m.cpu_per_delta, PEER),
        f"{middle(lambda m: m.first_delta) * 1000:.1f}",
        f"{middle(lambda m: m.server_cpu / m.elapsed):.0%}",
        f"{middle(lambda m: m.load_cpu / m.elapsed):.0%}",
    )
