"""The upkeep of what has ended: event logs made compact, and removed when their time
is over. Each process does a little of it now and then, in the background."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from contextvars import Context
from datetime import datetime, timedelta

from django.db import Error
from django.utils import timezone

from streaming.conf import AgentConf
from streaming.event_log import stored_log
from streaming.runs import retention
from streaming.storage import database

logger = logging.getLogger(__name__)

#: How long after its end a run's log is made compact.
COMPACT_AFTER_SECONDS = 60.0
COMPACTION_SECONDS = 15.0
RETENTION_SECONDS = 600.0
#: Between two transactions, for those who have more urgent things to write.
PAUSE_SECONDS = 0.01
MOST_RUNS_AT_ONCE = 500


class Maintenance:
    """Works from when it is made until `aclose`."""

    def __init__(self, conf: AgentConf) -> None:
        self._conf = conf
        self._tasks = [
            asyncio.create_task(_now_and_then(seconds, work), context=Context())
            for seconds, work in (
                (COMPACTION_SECONDS, compact),
                (RETENTION_SECONDS, self._prune),
            )
        ]

    async def aclose(self) -> None:
        """Stop; what has begun in the database is finished there."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    async def _prune(self) -> None:
        removed = await prune(
            self._conf.run_retention_days, self._conf.conversation_retention_days
        )
        if any(removed.values()):
            logger.info("kept no longer", extra=removed)


async def compact() -> None:
    """Make the logs of runs that ended a while ago compact."""
    ended_before = timezone.now() - timedelta(seconds=COMPACT_AFTER_SECONDS)
    for run_id in await database.execute_read(
        stored_log().compaction_due, ended_before, MOST_RUNS_AT_ONCE
    ):
        after: int | None = 0
        while after is not None:
            after = await database.execute_write(stored_log().compact, run_id, after)
            await asyncio.sleep(PAUSE_SECONDS)


async def prune(run_days: int, conversation_days: int) -> dict[str, int]:
    """Remove what is older than so many days (0: nothing is); say how much it was."""
    removed = {"idempotency_keys": await _all(retention.free_idempotency_keys)}
    if conversation_days:
        unused_since = days_ago(conversation_days)
        removed["conversations"] = await _all(
            retention.forget_conversations, unused_since
        )
    if run_days:
        ended_before = days_ago(run_days)
        removed["event_logs"] = await _all(retention.remove_logs, ended_before)
    return removed


def days_ago(days: int) -> datetime:
    """The time so many days before now, at most a century."""
    return timezone.now() - timedelta(days=min(days, 36_525))


async def _all(take: Callable[..., int], *args: datetime) -> int:
    """Take a few again and again, until there are no more."""
    total = 0
    while taken := await database.execute_write(take, *args):
        total += taken
        await asyncio.sleep(PAUSE_SECONDS)
    return total


async def _now_and_then(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    while True:
        # Processes that were started together do not all work at the same time.
        await asyncio.sleep(seconds * random.uniform(0.5, 1.5))
        try:
            await work()
        except Error:
            logger.warning("upkeep waits: the database does not answer")
        except Exception:  # it must go on: nobody would start it again
            logger.exception("upkeep failed")
