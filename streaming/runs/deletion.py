"""The deletion of conversations and organizations, in transactions that are short.

A long conversation has thousands of messages and rows of event logs; an organization
may have a hundred thousand conversations. Deleted at once, they would keep all other
writes of the process waiting. The oldest exchanges are deleted first, each as a whole:
after an interruption the rest of a conversation is a conversation, and the same
deletion continues with it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import ParamSpec, TypeVar

import msgspec
from django.db import IntegrityError
from django.db.models import QuerySet

from streaming.event_log import stored_log
from streaming.models import (
    HAS_NOT_ENDED,
    IS_ACTIVE,
    Conversation,
    Message,
    Organization,
    Run,
    RunStatus,
)
from streaming.runs import pending
from streaming.storage.database import Database, default
from streaming.storage.pauses import pause_after

P = ParamSpec("P")
T = TypeVar("T")

#: A deletion that needs only the database.
Deletion = Callable[[Database], Awaitable[object]]

#: Approximate number of rows that one transaction deletes.
BATCH = 200
#: Conversations whose rows are looked up together, and ended runs of these.
CONVERSATIONS, RUNS = 50, 100
#: Attempts of a transaction while other requests start runs.
MAX_ATTEMPTS = 5


class Deleted(msgspec.Struct, frozen=True):
    """The outcome of one transaction."""

    #: The number of conversations that are deleted completely.
    conversations: int
    #: Their runs that were active.
    active: list[str]
    #: Whether conversations remain.
    more: bool


async def delete_conversations(
    database: Database, conversations: QuerySet[Conversation], batch: int = BATCH
) -> list[str]:
    """Delete conversations with all that belongs to them; return their active runs."""
    active: list[str] = []
    while True:
        started = time.monotonic()
        deleted = await write_repeatedly(database, delete_some, conversations, batch)
        active += deleted.active
        if not deleted.more:
            return active
        await asyncio.sleep(pause_after(started))  # others write in it


async def delete_organizations(database: Database, keys: Collection[int]) -> None:
    """Delete organizations with all that belongs to them."""
    for key in keys:  # an index orders those of one organization only
        conversations = Conversation.objects.filter(organization=key)
        while not await write_repeatedly(database, _delete_empty, key):
            await delete_conversations(database, conversations)


def delete_from_thread(delete: Deletion, seconds: float) -> bool:
    """Delete for at most `seconds`; return true if nothing remains.

    For synchronous code. The calling thread must have no transaction, for which the
    writer would wait.
    """

    async def limited() -> bool:
        try:
            async with asyncio.timeout(seconds):
                await delete(default)
        except TimeoutError:
            return False
        return True

    return asyncio.run(limited())


def delete_some(conversations: QuerySet[Conversation], limit: int = BATCH) -> Deleted:
    """Delete about `limit` rows of conversations, the least recently used first."""
    oldest_first = conversations.order_by("updated_at", "pk")
    count, rows = 0, 0
    active: list[str] = []
    while rows < limit:
        keys = list(oldest_first.values_list("pk", flat=True)[:CONVERSATIONS])
        if not keys:
            return Deleted(count, active, more=False)
        rows += _delete_content(keys, limit - rows)
        if rows < limit:
            active += _delete_whole(keys)
            count += len(keys)
            rows += len(keys)
    return Deleted(count, active, more=True)


def delete_runs(runs: QuerySet[Run], limit: int = BATCH) -> int:
    """Delete about `limit` rows of runs, with their messages and event logs.

    Returns the number of rows, which is less than `limit` once all are deleted.
    """
    rows = 0
    while rows < limit:
        run_ids = list(runs.order_by("pk").values_list("pk", flat=True)[:RUNS])
        if not run_ids:
            break
        some = Run.objects.filter(pk__in=run_ids)
        rows += stored_log().delete_segments(some, limit - rows)
        rows += _delete_messages(Message.objects.filter(run__in=run_ids), limit - rows)
        if rows < limit:
            some.only("pk").delete()
            rows += len(run_ids)
    return rows


def _delete_content(conversations: list[int], limit: int) -> int:
    """Delete rows of conversations, but not their active runs; return their number.

    The number is less than `limit` once all are deleted.
    """
    runs = Run.objects.filter(conversation__in=conversations)
    # First: none of them may start when the active run ends.
    waiting = runs.filter(status=RunStatus.PENDING)
    if keys := set(waiting.order_by().values_list("conversation_id", flat=True)):
        _lock_runs(runs.filter(IS_ACTIVE))
        pending.lock(keys)
        waiting.filter(conversation__in=keys).delete()
    rows = delete_runs(runs.exclude(HAS_NOT_ENDED), limit)
    active = Run.objects.filter(conversation__in=conversations)
    rows += stored_log().delete_segments(active, max(limit - rows, 0))
    loose = Message.objects.filter(conversation__in=conversations)
    return rows + _delete_messages(loose, limit - rows)


def _delete_messages(messages: QuerySet[Message], limit: int) -> int:
    keys = list(messages.order_by("pk").values_list("pk", flat=True)[: max(limit, 0)])
    Message.objects.filter(pk__in=keys).delete()
    return len(keys)


def _delete_whole(keys: list[int]) -> list[str]:
    """Delete conversations and return the ids of their active runs."""
    # Locks the runs first and then the conversations, in the order of the writers of a
    # run. Rows that a writer is about to insert would otherwise remain.
    runs = Run.objects.filter(conversation__in=keys).exclude(status=RunStatus.PENDING)
    _lock_runs(runs)
    conversations = Conversation.objects.filter(pk__in=keys)
    list(conversations.order_by("pk").select_for_update().values_list("pk"))
    active = Run.objects.filter(IS_ACTIVE, conversation__in=keys)
    run_ids = list(active.values_list("id", flat=True))
    conversations.delete()
    return run_ids


def _lock_runs(runs: QuerySet[Run]) -> None:
    list(runs.order_by("id").select_for_update().values_list("id"))


def _delete_empty(organization: int) -> bool:
    """Delete an organization if it is empty; return true if it was."""
    if Conversation.objects.filter(organization=organization).exists():
        return False
    Organization.objects.filter(pk=organization).delete()
    return True


async def write_repeatedly(
    database: Database, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Call `function` in a transaction; repeat it if a run has started meanwhile."""
    write = partial(database.execute_write, function, *args, **kwargs)
    for _ in range(MAX_ATTEMPTS - 1):
        try:
            return await database.retry_while_unavailable(write)
        except IntegrityError:  # a row refers to one that was deleted
            continue
    return await database.retry_while_unavailable(write)
