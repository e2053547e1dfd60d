"""All that a run of the bench found out, as it is kept in JSON."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from os import cpu_count, getloadavg
from pathlib import Path
from statistics import median

import msgspec

from bench.latency import Step
from bench.load import Measurement
from bench.processes import interpreter_versions
from bench.resources import Holding, ShortRuns, Writes
from bench.wire import Protocol

OURS = ("django", "uvicorn", "uvloop", "httptools", "openai", "anthropic", "aiohttp")
PEERS = ("fastapi", "sse-starlette", "openai-agents", "pydantic-ai-slim", "google-adk")


@dataclass(frozen=True)
class Comparison:
    """All servers_under_test under the same load, round by round."""

    protocol: Protocol
    streams: int
    rounds: Mapping[str, Sequence[Measurement]]

    def ratio(self, name: str, other: str) -> float:
        """Of the deltas a second: the median of each round's own ratio."""
        pairs = zip(self.rounds[name], self.rounds[other], strict=True)
        return median(a.per_second / b.per_second for a, b in pairs)

    def cpu_ratio(self, name: str, other: str) -> float:
        """The same of the deltas for a second of the server's CPU time."""
        pairs = zip(self.rounds[name], self.rounds[other], strict=True)
        return median(b.cpu_us / a.cpu_us for a, b in pairs)


@dataclass(frozen=True)
class Results:
    """What was measured, by name of the contender where there are several."""

    conditions: str
    throughput: Sequence[Comparison]
    #: The same, when a provider sends each delta by itself.
    one_by_one: Sequence[Comparison]
    first: Mapping[str, Measurement]
    capacity: Mapping[str, Sequence[Step]]
    fairness: Mapping[str, Mapping[str, Measurement]]
    holding: Mapping[str, Holding]
    growth: Comparison
    #: Ours open to all, and with an API key in each request.
    keys: Comparison
    keys_first: Mapping[str, Measurement]
    short_runs: ShortRuns
    writes: Sequence[Writes]

    def save(self, path: Path) -> None:
        """Write them as JSON."""
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1))


def load(path: Path) -> Results:
    """Results that were saved."""
    return msgspec.json.decode(path.read_bytes(), type=Results)


def conditions(peers: Path) -> str:
    """The machine, and the versions that the servers run."""
    installed = [f"{name} {version(name)}" for name in OURS]
    installed += [f"{n} {v}" for n, v in interpreter_versions(peers, PEERS).items()]
    busy = "/".join(f"{load:.1f}" for load in getloadavg())
    python = f"Python {platform.python_version()}"
    return f"{cpu_count()} CPUs, load {busy}, {python}, {', '.join(installed)}"
