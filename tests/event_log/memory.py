"""A second event log, as small as can be: all processes share one object in memory."""

import asyncio
from collections.abc import (
    AsyncGenerator,
    Callable,
    Collection,
    Iterator,
    Sequence,
)
from datetime import UTC, datetime
from typing import TypeVar

import msgspec
from django.db.models import QuerySet

from streaming.event_log import ORPHAN_LEAP, ClosedLogs, EventLog, OwnershipLost
from streaming.events import Entry, Event, encode_all, make_entries
from streaming.models import LogState, Run
from streaming.storage import database

T = TypeVar("T")

POLL_SECONDS = 0.002
PAGE = 3


class MemoryStoredLog:
    """Implements `StoredLog`. There is one segment for each log."""

    def __init__(self) -> None:
        self.logs: dict[str, list[Entry]] = {}
        #: The process that owns each run which has not ended.
        self.owners: dict[str, EventLog] = {}
        self.removed: set[str] = set()
        self._ended_at: dict[str, datetime] = {}
        self._compacted: set[str] = set()

    def add(self, run_id: str, entries: Sequence[Entry]) -> None:
        """Store entries, and note the end of the log."""
        self.logs[run_id] += entries
        if entries and entries[-1].is_last:
            del self.owners[run_id]
            self._ended_at[run_id] = datetime.now(UTC)

    def read(self, run_id: str, after: int = 0) -> list[Entry]:
        return list(self.read_all(run_id, after))[:PAGE]

    def read_all(self, run_id: str, after: int = 0) -> Iterator[Entry]:
        log = self.logs.get(run_id, [])
        return iter([entry for entry in log if entry.number > after])

    def newest(self, run_id: str) -> Entry | None:
        log = self.logs.get(run_id)
        return log[-1] if log else None

    def text(self, run_id: str, *, since_tool: bool = False) -> str:
        text = ""
        for entry in self._valid(run_id):
            if entry.type == "content":
                text += msgspec.json.decode(entry.data)["content"]
            elif since_tool and entry.type.startswith("tool_"):
                text = ""
        return text

    def _valid(self, run_id: str) -> list[Entry]:
        valid: list[Entry] = []
        for entry in self.logs.get(run_id, []):
            if entry.type == "restarted":
                last = msgspec.json.decode(entry.data)["metadata"]["discard_after"]
                valid = [earlier for earlier in valid if earlier.number <= last]
            valid.append(entry)
        return valid

    def count_segments(self, runs: QuerySet[Run], limit: int) -> int:
        return min(sum(bool(self.logs.get(run.pk)) for run in runs), limit)

    def delete_segments(self, runs: QuerySet[Run], limit: int) -> int:
        having = [run.pk for run in runs if self.logs.get(run.pk)][:limit]
        for run_id in having:
            self.logs[run_id] = []
        return len(having)

    def compaction_due(self, ended_before: datetime, limit: int) -> list[str]:
        ended = sorted(self._ended_at.items(), key=lambda item: item[1])
        due = [run_id for run_id, ended_at in ended if ended_at < ended_before]
        return [run_id for run_id in due if run_id not in self._compacted][:limit]

    def compact(self, run_id: str, after: int = 0) -> int | None:
        if run_id in self._ended_at:
            self._compacted.add(run_id)
        return None

    def delete(self, run_ids: Collection[str]) -> set[str]:
        for run_id in run_ids:
            self.logs[run_id] = []
        self.removed |= set(run_ids)
        return set(run_ids)

    def free_number(self, run_id: str, after: int, *, leap: bool) -> int:
        newest = self.newest(run_id)
        return max(newest.number if newest else 0, after) + (ORPHAN_LEAP if leap else 1)

    def append(self, run_id: str, first: int, events: Sequence[Event]) -> None:
        self.add(run_id, make_entries(first, encode_all(events)))


class MemoryLog:
    """Implements `EventLog`. Entries become durable as soon as they are appended."""

    failing_since = None

    def __init__(self, stored: MemoryStoredLog) -> None:
        self._stored = stored
        #: What the readers here see of the runs that this process opened.
        self._shown: dict[str, list[Entry]] = {}
        #: The last number of each of these.
        self._last: dict[str, int] = {}
        self._open: set[str] = set()
        self._released = False

    def open(self, run_id: str, attempt: int, after: int = 0) -> None:
        self._stored.logs.setdefault(run_id, [])
        self._stored.owners[run_id] = self
        self._shown[run_id] = list(self._stored.logs[run_id])
        self._last[run_id] = after
        self._open.add(run_id)

    def append(self, run_id: str, events: Sequence[Event]) -> None:
        if run_id not in self._open:
            raise KeyError(run_id)
        entries = self._show(run_id, events)
        if self._stored.owners.get(run_id) is self:
            self._stored.add(run_id, entries)

    async def checkpoint(
        self,
        run_id: str,
        commit: Callable[[int], None],
        events: Sequence[Event] = (),
    ) -> None:
        self._check_owned(run_id)
        try:
            await database.execute_write(commit, self._last[run_id] + len(events))
        except OwnershipLost:
            raise
        except BaseException:
            self.append(run_id, events)
            raise
        self.append(run_id, events)

    async def close(
        self,
        run_id: str,
        events: Sequence[Event],
        end: T,
        commit: Callable[[ClosedLogs[T]], None],
        *,
        drop_pending: bool = False,
    ) -> None:
        self._check_owned(run_id)
        await database.execute_write(commit, [(end, LogState.WRITTEN)])
        self.append(run_id, events)
        self._open.remove(run_id)

    def abandon(self, run_id: str, events: Sequence[Event]) -> None:
        if run_id in self._open:
            self._open.remove(run_id)
            self._show(run_id, events)

    def hand_over(self, run_id: str) -> None:
        self._open.discard(run_id)

    def share(self, run_id: str, wanted: bool) -> None:
        """Do nothing: all processes see the events at once."""

    async def follow(
        self, run_id: str, after: int, heartbeat: float
    ) -> AsyncGenerator[list[Entry]]:
        silent_since = asyncio.get_running_loop().time()
        while True:
            here = run_id in self._open
            log = self._shown[run_id] if here else self._best(run_id)
            now = asyncio.get_running_loop().time()
            if batch := [entry for entry in log if entry.number > after]:
                yield batch
                after, silent_since = batch[-1].number, now
            elif self._has_ended(run_id, log) or (self._released and not here):
                return
            elif now - silent_since >= heartbeat:
                yield []
                silent_since = now
            else:
                await asyncio.sleep(POLL_SECONDS)

    def release(self) -> None:
        self._released = True

    async def flush(self) -> None:
        """Do nothing: there is nothing pending."""

    async def aclose(self) -> None:
        """Do nothing: there are no tasks."""

    def unanswered(self, seconds: float) -> list[str]:
        return []

    def _show(self, run_id: str, events: Sequence[Event]) -> list[Entry]:
        entries = make_entries(self._last[run_id] + 1, encode_all(events))
        self._shown[run_id] += entries
        self._last[run_id] += len(entries)
        return entries

    def _has_ended(self, run_id: str, log: list[Entry]) -> bool:
        return bool(log and log[-1].is_last) or run_id in self._stored.removed

    def _best(self, run_id: str) -> list[Entry]:
        """Return the log as this process shows it after it gave the run up."""
        shown = self._shown.get(run_id, [])
        ended_here = bool(shown) and shown[-1].is_last
        removed = run_id in self._stored.removed
        return shown if ended_here and not removed else self._stored.logs[run_id]

    def _check_owned(self, run_id: str) -> None:
        if run_id not in self._open or self._stored.owners.get(run_id) is not self:
            raise OwnershipLost(run_id)
