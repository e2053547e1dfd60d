"""What a stream takes and leaves behind: memory, threads, rows, transactions."""

import sqlite3
import struct
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from bench.processes import status
from bench.servers_under_test import Running
from streaming.testing.server import START_SECONDS

#: Of the streams that are held open: slow, so that many fit beside each other.
HELD = {"deltas": 10, "pace_ms": 500, "spread": 2}
FEW, MANY = 50, 300
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
    """What one more open stream takes, at the peak of few and of many."""
    few, _ = _peak(running, FEW)
    many, threads = _peak(running, MANY)
    return Holding(many, (many - few) / (MANY - FEW), threads)


def _peak(running: Running, streams: int) -> tuple[int, int]:
    """Of memory, in kB, with so many streams open; and the threads then."""
    pid = running.server.pid
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # forget earlier peaks
    end = running.begin(streams, **HELD)
    # All streams are open by then; the load's process reports only at its end.
    time.sleep(HELD["spread"] + 1)
    threads = status(pid, "Threads")
    end()
    return status(pid, "VmHWM"), threads


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
    end = running.begin(runs, deltas=400, pace_ms=20, spread=0.5)
    with closing(sqlite3.connect(running.database, isolation_level=None)) as reader:
        deadline = time.monotonic() + START_SECONDS
        while _under_way(reader) < runs and time.monotonic() < deadline:
            time.sleep(0.1)  # polled: SQLite tells no other process of new rows
        reader.execute("BEGIN")
        if _under_way(reader) < runs:
            raise RuntimeError(f"not all of {runs} runs have begun")
        made = _commits_in(running.database, seconds)
        if made is None:  # while there are readers, that can happen only once
            made = _commits_in(running.database, seconds)
    end()
    if made is None:
        raise RuntimeError("SQLite began its log anew, again and again")
    return Writes(runs, made / (seconds / FLUSH_SECONDS))


def _under_way(database: sqlite3.Connection) -> int:
    """Runs that have begun and not ended."""
    (count,) = database.execute(
        "SELECT count(*) FROM streaming_run WHERE status = 'running'"
    ).fetchone()
    return int(count)


def _commits_in(database: Path, seconds: float) -> int | None:
    """Transactions in so many seconds; None when the log was begun anew meanwhile."""
    log, before = commits(database)
    time.sleep(seconds)  # no wait for anything: it is the time that is measured
    same, after = commits(database)
    return after - before if same == log else None


def commits(database: Path) -> tuple[Sequence[int], int]:
    """Its write-ahead log's salts, new ones each time that it begins; and the
    transactions in it: the last page of each is marked.
    """
    data = database.with_name(f"{database.name}-wal").read_bytes()
    _, _, page, _, *salts = WAL_HEADER.unpack_from(data)[:6]
    found = 0
    for start in range(WAL_HEADER.size, len(data), FRAME_HEADER.size + page):
        _, size, *frame_salts = FRAME_HEADER.unpack_from(data, start)[:4]
        if frame_salts != salts:
            break  # left from before the log was begun anew
        found += size > 0
    return salts, found
