"""The removal of expired rows: event logs, whole conversations, idempotency keys.

Each function removes the oldest few in one transaction, and returns their number. Two
processes never wait for each other: each skips the rows that the other has locked.
"""

from datetime import datetime

from django.db.models import QuerySet

from streaming.event_log import stored_log
from streaming.models import IS_ACTIVE, Conversation, LogState, Run
from streaming.runs.idempotency import expired_keys

#: Logs or conversations that one transaction removes at most.
BATCH = 20
#: Idempotency keys that one transaction frees at most.
KEYS_BATCH = 200


def logs_ended_before(time: datetime) -> QuerySet[Run]:
    """Return ended runs that still have their event log, the oldest first."""
    kept = Run.objects.filter(log_state__in=(LogState.WRITTEN, LogState.COMPACTED))
    return kept.filter(ended_at__lt=time).order_by("ended_at")


def conversations_unused_since(time: datetime) -> QuerySet[Conversation]:
    """Return conversations without a message since a time, and without active runs."""
    active = Run.objects.filter(IS_ACTIVE)
    unused = Conversation.objects.filter(updated_at__lt=time)
    return unused.exclude(pk__in=active.values("conversation")).order_by("updated_at")


def remove_logs(ended_before: datetime, limit: int = BATCH) -> int:
    """Remove event logs; the runs stay, with their messages and usage."""
    taken = logs_ended_before(ended_before).select_for_update(
        skip_locked=True, no_key=True
    )
    run_ids = list(taken.values_list("pk", flat=True)[:limit])
    return len(stored_log().delete(run_ids))


def forget_conversations(unused_since: datetime, limit: int = BATCH) -> int:
    """Delete conversations with their messages, runs and event logs."""
    taken = conversations_unused_since(unused_since).select_for_update(skip_locked=True)
    keys = list(taken.values_list("pk", flat=True)[:limit])
    Conversation.objects.filter(pk__in=keys).delete()
    return len(keys)


def free_idempotency_keys(limit: int = KEYS_BATCH) -> int:
    """Remove the idempotency keys that have expired."""
    taken = expired_keys().select_for_update(skip_locked=True, no_key=True)
    keys = list(taken.values_list("pk", flat=True)[:limit])
    return Run.objects.filter(pk__in=keys).update(idempotency_key=None)
