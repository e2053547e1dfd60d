"""The maintenance of ended runs: their event logs are compacted, and removed when they
expire. Each process does a small part of it from time to time, in the background."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from contextvars import Context
from datetime import datetime, timedelta
from functools import partial

from django.db import Error

from streaming.aio.background import end_tasks
from streaming.app_options import AgentConf
from streaming.budgets import accounts
from streaming.event_log import stored_log
from streaming.runs import retention
from streaming.runs.retention import Removed
from streaming.runs.timings import Timings
from streaming.storage.database import Database
from streaming.storage.errors import describe, is_rejection
from streaming.storage.pauses import pause_after
from streaming.storage.sql import database_time

logger = logging.getLogger(__name__)

#: Runs that one compaction takes at most.
MAX_RUNS = 500
#: Removes some rows of a kind.
Take = Callable[[], Awaitable[Removed]]


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
        await end_tasks(self._tasks)

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
    """Remove rows older than so many days (0: none); return the number of each kind.

    A kind that fails does not keep the others: the first error is raised after them.
    """
    write = database.execute_write
    kinds: dict[str, Take] = {
        "accounts": partial(_settle_accounts, database),
        "idempotency_keys": partial(write, retention.free_idempotency_keys),
    }
    if conversation_days:
        before = await database.execute_read(days_ago, conversation_days)
        kinds["conversations"] = _Forgetting(database, before).forget_some
    if run_days:
        before = await database.execute_read(days_ago, run_days)
        kinds["event_logs"] = partial(write, retention.remove_logs, before)
    if audit_days:
        before = await database.execute_read(days_ago, audit_days)
        kinds["audit_records"] = partial(write, retention.remove_audit_records, before)
    removed: dict[str, int] = {}
    errors: list[Error] = []
    for kind, take in kinds.items():
        try:
            removed[kind] = await _take_all(take)
        except Error as error:
            logger.warning("%s not removed: %s", kind, describe(error))
            errors.append(error)
    if errors:
        raise errors[0]
    del removed["accounts"]
    return removed


async def _take_all(take: Take) -> int:
    """Remove all rows of a kind; return their number."""
    total, more = 0, True
    while more:
        started = time.monotonic()
        removed = await take()
        total, more = total + removed.count, removed.more
        if more:
            await asyncio.sleep(pause_after(started))
    return total


async def _settle_accounts(database: Database) -> Removed:
    """Delete old accounts, after the settlement of reservations.

    Runs whose process died leave reservations behind.
    """
    await database.execute_write(accounts.settle_abandoned)
    return await database.execute_write(retention.forget_accounts)


class _Forgetting:
    """The deletion of unused conversations, past those that other rows refer to.

    A table of the project may refer to a conversation or a run, and forbid its
    deletion. Such a conversation stays whole, and is tried again at the next pass.
    """

    def __init__(self, database: Database, unused_since: datetime) -> None:
        self._database = database
        self._unused_since = unused_since
        #: The last of the conversations that were tried one by one.
        self._after: retention.Place | None = None

    async def forget_some(self) -> Removed:
        """Delete the oldest; one by one, if they cannot be deleted together."""
        try:
            return await self._database.execute_write(
                retention.forget_conversations, self._unused_since, after=self._after
            )
        except Error as error:
            if not is_rejection(error):
                raise
            return await self._forget_each()

    async def _forget_each(self) -> Removed:
        places = await self._database.execute_read(
            retention.oldest_unused, self._unused_since, self._after
        )
        count, refused = 0, list[str]()
        for _, key in places:
            take = partial(retention.forget_conversation, self._unused_since, key)
            try:
                count += await _take_all(partial(self._database.execute_write, take))
            except Error as error:
                if not is_rejection(error):
                    raise
                refused.append(describe(error))
        if refused:
            message = "conversations not deleted, other rows refer to %d: %s"
            logger.warning(message, len(refused), refused[0])
        self._after = places[-1] if places else self._after
        return Removed(count, more=bool(places))


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
