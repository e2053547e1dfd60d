"""The new events of a process's runs, on their way to readers in other processes."""

import asyncio
import logging
from collections.abc import Iterator, Mapping

from streaming.aio.background import BackgroundTask
from streaming.event_log.live.base import LivePathError, LiveTail, Piece
from streaming.event_log.owned import OwnedLog

logger = logging.getLogger(__name__)

#: Time limit of a publication: after it the database is as fast.
PUBLISH_SECONDS = 0.5
#: Pauses after a failed publication, doubled each time.
LEAST_PAUSE, MOST_PAUSE = 0.1, 1.0


class Outbox:
    """Publishes the new events of some owned runs at intervals, all in one call.

    It holds numbers only: the tails of the logs have the events. After a failure it
    continues with the events that are not durable, so that no backlog arises.
    """

    def __init__(
        self, owned: Mapping[str, OwnedLog], live: LiveTail, seconds: float
    ) -> None:
        self._owned = owned
        self._live = live
        self._seconds = seconds
        self._shared: dict[str, _Shared] = {}
        self._ended: dict[str, _Shared] = {}
        self._failures = 0
        self._task = BackgroundTask(self._publish_forever)

    def has_runs(self) -> bool:
        """Return whether any run of this process is shared."""
        self._drop_given_up()
        return bool(self._shared)

    def add(self, run_id: str) -> None:
        """Publish an owned run's events, from the first that is not durable on."""
        log, shared = self._owned.get(run_id), self._shared.get(run_id)
        if log and (shared is None or shared.log is not log):
            self._shared[run_id] = _Shared(log)
            if self._live.carries:
                self._task.ensure()

    def discard(self, run_id: str) -> None:
        """Publish no more events of a run."""
        self._shared.pop(run_id, None)

    def end(self, run_id: str) -> None:
        """Publish the rest of a log that was closed."""
        shared = self._shared.pop(run_id, None)
        if shared and self._live.carries:
            self._ended[run_id] = shared

    async def aclose(self) -> None:
        """Publish the rest of closed logs, and stop."""
        await self._task.aclose()
        if self._ended and not self._failures:
            await self._publish()

    async def _publish_forever(self) -> None:
        while self._shared or self._ended:
            pause = self._seconds
            if self._failures:
                pause = min(LEAST_PAUSE * 2 ** min(self._failures, 9), MOST_PAUSE)
            await asyncio.sleep(pause)
            await self._publish()

    async def _publish(self) -> None:
        pieces = list(self._take())
        if not pieces:
            return
        try:
            async with asyncio.timeout(PUBLISH_SECONDS):
                await self._live.publish(pieces)
        except (LivePathError, TimeoutError) as error:
            if not self._failures:
                reason = str(error) or "no response"
                logger.warning("live path failed, readers poll: %s", reason)
            self._failures += 1
        except Exception:  # the task must go on: all readers elsewhere depend on it
            if not self._failures:
                logger.exception("live path failed, readers poll")
            self._failures += 1
        else:
            if self._failures:
                logger.info("live path restored")
            self._failures = 0

    def _take(self) -> Iterator[Piece]:
        """Yield the events that were not published yet; they count as published."""
        self._drop_given_up()
        for run_id, shared in [*self._shared.items(), *self._ended.items()]:
            if piece := shared.take(run_id, anew=bool(self._failures)):
                yield piece
        self._ended.clear()

    def _drop_given_up(self) -> None:
        """Drop the runs whose logs this process has given up without an end."""
        for run_id, shared in list(self._shared.items()):
            if self._owned.get(run_id) is not shared.log:
                del self._shared[run_id]


class _Shared:
    """A published run: its log, and the number of the last event published."""

    __slots__ = ("_sent", "log")

    def __init__(self, log: OwnedLog) -> None:
        self.log = log
        self._sent = log.durable

    def take(self, run_id: str, *, anew: bool) -> Piece | None:
        """Return the next events; `anew`: all that are not durable."""
        log, tail = self.log, self.log.tail
        if anew:
            self._sent = log.durable
        after, self._sent = self._sent, tail.last
        if tail.last <= after:
            return None
        entries = tail.since(after)
        if entries is None:  # durable, and dropped: readers are told to look there
            return Piece(run_id, log.attempt, log.durable, tail.last, [])
        lines = [entry.data for entry in entries]
        return Piece(run_id, log.attempt, log.durable, entries[0].number, lines)
