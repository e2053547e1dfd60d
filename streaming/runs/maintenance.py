"""The maintenance of ended runs: their event logs are compacted, and removed when they
expire. Each process does a small part of it from time to time, in the background."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from contextvars import Context
from datetime import datetime, timedelta

from django.db import Error

from streaming.app_options import AgentConf
from streaming.budgets import accounts
from streaming.event_log import stored_log
from streaming.runs import retention
from streaming.runs.retention import Removed
from streaming.runs.timings import Timings
from streaming.storage.database import Database
from streaming.storage.errors import describe
from streaming.storage.pauses import pause_after
from streaming.storage.sql import database_time

logger = logging.getLogger(__name__)

#: Runs that one compaction takes at most.
MAX_RUNS = 500


class Maintenance:
    """The periodic work on ended runs, from construction to `aclose`."""

    def __init__(self, conf: AgentConf, database: Database, timings: Timings) -> None:
        self._conf = conf
        self._database = database
        self._timings = timings
        self._tasks = [
            asyncio.create_task(_repeat(seconds, work), context=Context())
            for seconds, work in (
                (timings.compaction, self._compact),
                (timings.retention, self._prune),
            )
        ]

    async def aclose(self) -> None:
        """Stop; a transaction that has begun ends in the database."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    async def _compact(self) -> None:
        """Compact the logs of runs that ended a while ago."""
        for run_id in await self._database.execute_read(
            _compaction_due, self._timings.compact_after
        ):
            after: int | None = 0
            while after is not None:
                started = time.monotonic()
                after = await self._database.execute_write(
                    stored_log().compact, run_id, after
                )
                await asyncio.sleep(pause_after(started))

    async def _prune(self) -> None:
        removed = await prune(
            self._database,
            self._conf.run_retention_days,
            self._conf.conversation_retention_days,
            self._conf.audit_retention_days,
        )
        if any(removed.values()):
            logger.info("expired rows removed", extra=removed)


async def prune(
    database: Database, run_days: int, conversation_days: int, audit_days: int = 0
) -> dict[str, int]:
    """Remove rows older than so many days (0: none); return the number of each kind."""

    async def all_of(take: Callable[..., Removed], *args: datetime) -> int:
        total, more = 0, True
        while more:
            started = time.monotonic()
            removed = await database.execute_write(take, *args)
            total, more = total + removed.count, removed.more
            if more:
                await asyncio.sleep(pause_after(started))
        return total

    await database.execute_write(accounts.settle_abandoned)
    await all_of(retention.forget_accounts)
    removed = {
        "idempotency_keys": await all_of(retention.free_idempotency_keys),
    }
    if conversation_days:
        before = await database.execute_read(days_ago, conversation_days)
        removed["conversations"] = await all_of(retention.forget_conversations, before)
    if run_days:
        before = await database.execute_read(days_ago, run_days)
        removed["event_logs"] = await all_of(retention.remove_logs, before)
    if audit_days:
        before = await database.execute_read(days_ago, audit_days)
        removed["audit_records"] = await all_of(retention.remove_audit_records, before)
    return removed


def days_ago(days: int) -> datetime:
    """Return the database's time so many days ago, at most a century."""
    return database_time() - timedelta(days=min(days, 36_525))


def _compaction_due(seconds: float) -> list[str]:
    """Return runs that ended so long ago and whose log is not compacted yet."""
    before = database_time() - timedelta(seconds=seconds)
    return stored_log().compaction_due(before, MAX_RUNS)


async def _repeat(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    while True:
        # A random interval: processes that start together do not all work at once.
        await asyncio.sleep(seconds * random.uniform(0.5, 1.5))
        try:
            await work()
        except Error as error:
            logger.warning("maintenance failed: %s", describe(error))
        except Exception:  # the task must go on: no other one would restart it
            logger.exception("maintenance failed")
