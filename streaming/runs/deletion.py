"""The deletion of a conversation, in transactions that are short.

A long conversation has thousands of messages and rows of event logs. Deleted at once,
they would keep all other writes of the process waiting.
"""

from functools import partial

from django.db import IntegrityError

from streaming.event_log import stored_log
from streaming.models import ACTIVE, IS_ACTIVE, Conversation, Message, Run
from streaming.storage.database import Database

#: Rows that one transaction deletes at most, before the last one.
BATCH = 500
#: Attempts of the last transaction while other requests start runs.
MAX_ATTEMPTS = 5


async def delete_conversation(
    database: Database, pk: int, batch: int = BATCH
) -> list[str]:
    """Delete a conversation with all that belongs to it; return its active runs."""
    delete_some = partial(database.execute_write, delete_rows, pk, batch)
    while await database.retry_while_unavailable(delete_some):
        pass
    delete_rest = partial(database.execute_write, delete_whole, pk)
    for attempt in range(1, MAX_ATTEMPTS + 1):
        try:
            return await database.retry_while_unavailable(delete_rest)
        except IntegrityError:  # a run has started in the meantime
            if attempt == MAX_ATTEMPTS:
                raise
    raise AssertionError("unreachable")


def delete_rows(pk: int, limit: int) -> int:
    """Delete some rows of a conversation, the oldest first; return their number.

    Returns 0 once the rest is small enough for one transaction.
    """
    runs = Run.objects.filter(conversation=pk)
    if deleted := _full(limit, stored_log().delete_segments(runs, limit)):
        return deleted
    messages = Message.objects.filter(conversation=pk).order_by("id")
    keys = list(messages.values_list("pk", flat=True)[:limit])
    Message.objects.filter(pk__in=keys).delete()
    if deleted := _full(limit, len(keys)):
        return deleted
    ended = runs.exclude(IS_ACTIVE).order_by("created_at", "id")
    run_ids = list(ended.values_list("pk", flat=True)[:limit])
    Run.objects.filter(pk__in=run_ids).delete()
    return _full(limit, len(run_ids))


def delete_whole(pk: int) -> list[str]:
    """Delete a conversation and return the ids of its active runs."""
    # Locks the runs first and then the conversation, in the order of the writers of a
    # run. Rows that a writer is about to insert would otherwise remain.
    locked = Run.objects.filter(conversation=pk).order_by("id").select_for_update()
    status_of = dict(locked.values_list("id", "status"))
    Conversation.objects.select_for_update().filter(pk=pk).exists()
    Conversation.objects.filter(pk=pk).delete()
    return [run for run, status in status_of.items() if status in ACTIVE]


def _full(limit: int, deleted: int) -> int:
    """Return the number of deleted rows if there may be more; 0 if these were all."""
    return deleted if deleted == limit else 0
