"""What a stream takes and leaves behind: memory, threads, rows, transactions."""

import sqlite3
import struct
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from bench.contenders import Running
from bench.processes import status

#: Of the streams that are held open: slow, so that many fit beside each other.
HELD = {"deltas": 12, "pace_ms": 500}
FEW, MORE = 50, 250
FLUSH_SECONDS = 0.2
WAL_HEADER, FRAME_HEADER = struct.Struct(">4I2I2I"), struct.Struct(">6I")


@dataclass(frozen=True)
class Holding:
    """A process with many open streams."""

    rss_kb: int
    kb_a_stream: float
    threads: int


@dataclass(frozen=True)
class ShortRuns:
    """Memory after each of some equal portions of short runs."""

    runs: Sequence[int]
    rss_kb: Sequence[int]


@dataclass(frozen=True)
class Writes:
    """Transactions while some runs were in mid-stream."""

    runs: int
    a_flush: float


def holding(running: Running) -> Holding:
    """What one more open stream takes."""
    few = running.begin(FEW, **HELD, spread=0.5)
    time.sleep(1.5)
    before = status(running.server.pid, "VmRSS")
    more = running.begin(MORE, **HELD, spread=3)
    time.sleep(4)
    rss = status(running.server.pid, "VmRSS")
    threads = status(running.server.pid, "Threads")
    few()
    more()
    return Holding(rss, (rss - before) / MORE, threads)


def short_runs(running: Running, portions: int, seconds: float) -> ShortRuns:
    """Many runs of few deltas: does anything stay?"""
    runs, rss = [], []
    for _ in range(portions):
        runs.append(running.measure(16, deltas=5, seconds=seconds).streams)
        rss.append(status(running.server.pid, "VmRSS"))
    return ShortRuns(runs, rss)


def writes(running: Running, runs: int) -> Writes:
    """Transactions in the midst of `runs` paced streams, by SQLite's own log."""
    seconds = 2.0
    end = running.begin(runs, deltas=200, pace_ms=20, spread=0.5)
    time.sleep(1.5)
    with closing(sqlite3.connect(running.database)) as reader:
        reader.execute("BEGIN")  # whoever reads keeps the log from being begun anew
        reader.execute("SELECT count(*) FROM streaming_run").fetchone()
        before = commits(running.database)
        time.sleep(seconds)
        made = commits(running.database) - before
    end()
    return Writes(runs, made / (seconds / FLUSH_SECONDS))


def commits(database: Path) -> int:
    """The transactions in its write-ahead log: the last page of each is marked."""
    data = database.with_name(f"{database.name}-wal").read_bytes()
    _, _, page, _, *salts = WAL_HEADER.unpack_from(data)[:6]
    found = 0
    for start in range(WAL_HEADER.size, len(data), FRAME_HEADER.size + page):
        _, size, *frame_salts = FRAME_HEADER.unpack_from(data, start)[:4]
        if frame_salts != salts:
            break  # left from before the log was begun anew
        found += size > 0
    return found
