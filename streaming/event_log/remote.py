"""The logs of runs that other processes own, as the readers of this process see them.

The database brings all events: one poll reads the new rows of all these runs. A live
path brings most of them earlier. Each event has a number, so that each is shown once
and in order, whichever of the two brings it.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

from django.db import Error

from streaming.aio.background import BackgroundTask
from streaming.event_log.live.base import MakeLive, Piece
from streaming.event_log.new_rows import read_new
from streaming.event_log.options import LogOptions
from streaming.event_log.tail import Tail
from streaming.events import Entry, make_entries
from streaming.storage.database import Database
from streaming.storage.errors import describe

logger = logging.getLogger(__name__)

#: The size of the pieces of one run that wait for missing events.
HELD_BYTES = 64 * 1024
#: The memory of a piece beside its lines.
PIECE_BYTES = 200
#: Time after which they are dropped, and the poll no longer quickens for them.
HELD_SECONDS = 5.0
#: Delay of the poll after a gap: the missing events may be on their way.
GAP_SECONDS = 0.05
#: The share of the time without news that the poll pauses.
PAUSE_SHARE = 1 / 4
#: The longest pause where a live path brings the events.
RESTING_SECONDS = 1.0


class RemoteLog:
    """The log of a run that another process owns."""

    def __init__(self, keep: int) -> None:
        #: None until the first reader knows the newest durable event.
        self.tail: Tail | None = None
        self.readers = 0
        self._keep = keep
        #: Called at the end of the tail, or when it begins after that.
        self._finish: Callable[[Tail], None] | None = None
        #: The newest attempt that sent a piece; earlier ones own the run no more.
        self._attempt = 0
        #: Pieces after missing events, in any order.
        self._held: deque[Piece] = deque()
        self._held_bytes = 0
        self._gap_since: float | None = None

    def begin(self, after: int) -> Tail:
        """Return the tail; the first call makes it, after the newest durable event."""
        if self.tail is None:
            self.tail = Tail(self._keep, after)
            if self._finish:
                self._finish(self.tail)
            self._offer_held()
        return self.tail

    def offer(self, piece: Piece) -> bool:
        """Show the new events of a piece, or hold it until missing ones have come.

        Returns True if it is the first piece after missing events.
        """
        if piece.attempt < self._attempt:
            return False
        self._attempt = piece.attempt
        if self._extend(piece):
            return False
        self._held.append(piece)
        self._held_bytes += _size(piece)
        while self._held_bytes > HELD_BYTES:
            self._held_bytes -= _size(self._held.popleft())
        begins, now = self._gap_since is None, time.monotonic()
        self._gap_since = self._gap_since or now
        return begins

    def add_rows(self, entries: Sequence[Entry]) -> None:
        """Show new entries of the database, which may leap over missing numbers."""
        if (tail := self.tail) is None:
            return
        if new := [entry for entry in entries if entry.number > tail.last]:
            tail.extend(new)
        tail.forget(entries[-1].number)
        self._offer_held()

    def awaits_rows(self) -> bool:
        """Return True if pieces came after missing events, a short time ago."""
        since = self._gap_since
        if since and time.monotonic() - since > HELD_SECONDS:
            self._drop_held()
        return self._gap_since is not None

    def release(self) -> None:
        """Disconnect the readers, the present ones and those that are joining."""
        self._end(Tail.release)

    def move(self) -> None:
        """Have the readers follow the run's new owner, which is this process."""
        self._end(Tail.move)

    def _end(self, finish: Callable[[Tail], None]) -> None:
        self._finish = finish
        if self.tail:
            finish(self.tail)

    def _extend(self, piece: Piece) -> bool:
        """Show the new events of a piece; return False if earlier ones are missing."""
        tail = self.tail
        if tail is None:
            return False
        known = tail.last + 1 - piece.first
        if known < 0 or not (piece.lines or known):
            return False
        lines = piece.lines[known:]
        if lines and not tail.ended:
            tail.extend(make_entries(tail.last + 1, lines))
        tail.forget(piece.durable)
        return True

    def _offer_held(self) -> None:
        held = sorted(self._held, key=lambda piece: piece.first)
        self._drop_held()
        for piece in held:
            self.offer(piece)

    def _drop_held(self) -> None:
        self._held.clear()
        self._held_bytes = 0
        self._gap_since = None


def _size(piece: Piece) -> int:
    return PIECE_BYTES + sum(map(len, piece.lines))


class RemoteLogs:
    """The logs that this process reads and does not own, by run, and their poll.

    The poll pauses for a quarter of the time that has passed without news, within two
    limits. With a live path it is late by design and rests; if the path fails, the poll
    finds news and quickens by itself, without any notion of the path's health.
    """

    def __init__(
        self,
        database: Database,
        options: LogOptions,
        make_live: MakeLive,
        *,
        flush_seconds: float,
        live_seconds: float,
    ) -> None:
        self._database = database
        self._options = options
        self.live = make_live(self._offer)
        half = flush_seconds / 2
        self._least, self._most = min(live_seconds, half), half
        if self.live.carries:
            self._least, self._most = half, max(half, RESTING_SECONDS)
        self._logs: dict[str, RemoteLog] = {}
        #: Whether readers of other processes' runs are disconnected for good.
        self.released = False
        self._news_at = self._due = 0.0
        self._hurried = asyncio.Event()
        self._task = BackgroundTask(self._poll_forever)

    def enter(self, run_id: str) -> RemoteLog:
        """Add a reader of a run; it must `leave`."""
        log = self._logs.get(run_id)
        if log is None:
            log = self._logs[run_id] = RemoteLog(self._options.tail_entries)
        if self.released:
            log.release()
        log.readers += 1
        return log

    def begin(self, log: RemoteLog, after: int) -> Tail:
        """Return the tail of a log whose newest durable event has a number."""
        tail = log.begin(after)
        self._news_at = time.monotonic()  # its owner may not know yet of the reader
        self._hurry(self._least)
        self._task.ensure()
        return tail

    def leave(self, run_id: str, log: RemoteLog | None) -> None:
        """Remove a reader, if it has entered."""
        if log is None:
            return
        log.readers -= 1
        if not log.readers and self._logs.get(run_id) is log:
            del self._logs[run_id]
            self.live.leave(run_id)

    def move(self, run_id: str) -> None:
        """Have the readers of a run follow its log, which this process has opened."""
        if log := self._logs.pop(run_id, None):
            log.move()
            self.live.leave(run_id)

    def release(self) -> None:
        """Disconnect all readers, and those that come."""
        self.released = True
        self._disconnect()

    async def aclose(self) -> None:
        """Stop the poll, and close the live path."""
        await self._task.aclose()
        await self.live.aclose()

    def _offer(self, piece: Piece) -> None:
        log = self._logs.get(piece.run_id)
        if log and log.offer(piece):
            self._hurry(GAP_SECONDS)

    def _disconnect(self) -> None:
        for run_id, log in self._logs.items():
            log.release()
            self.live.leave(run_id)
        self._logs.clear()

    async def _poll_forever(self) -> None:
        succeeded_at = time.monotonic()
        while self._logs:
            try:
                await self._poll()
                succeeded_at = time.monotonic()
            except Error as error:
                logger.debug("event log poll failed: %s", describe(error))
            except Exception:  # all readers here depend on this task
                logger.exception("event log poll failed")
            if time.monotonic() - succeeded_at >= self._database.timeout_seconds:
                self._disconnect()  # they reconnect, and get the error
            await self._pause()

    async def _poll(self) -> None:
        logs = {run_id: log for run_id, log in self._logs.items() if log.tail}
        positions = {run_id: log.tail.last for run_id, log in logs.items() if log.tail}
        found, ended = await self._database.execute_read(read_new, positions)
        for run_id, entries in found.items():
            logs[run_id].add_rows(entries)
        for run_id in ended:
            logs[run_id].release()
        if found:
            self._news_at = time.monotonic()

    async def _pause(self) -> None:
        pause = self._least
        if not any(log.awaits_rows() for log in self._logs.values()):
            pause = self.pause_after(time.monotonic() - self._news_at)
        self._due = time.monotonic() + pause
        while (left := self._due - time.monotonic()) > 0:
            self._hurried.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._hurried.wait()

    def pause_after(self, idle: float) -> float:
        """Return the pause of the poll after so many seconds without news."""
        return min(max(idle * PAUSE_SHARE, self._least), self._most)

    def _hurry(self, seconds: float) -> None:
        """Poll within a time."""
        due = time.monotonic() + seconds
        if due < self._due:
            self._due = due
            self._hurried.set()
