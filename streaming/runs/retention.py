"""The removal of expired rows: event logs, conversations, idempotency keys, audit.

Each function removes the oldest few in one transaction. Two processes never wait for
each other: each skips the rows that the other has locked.
"""

from datetime import datetime

import msgspec
from django.db.models import Q, QuerySet

from streaming.budgets.accounts import expired_accounts
from streaming.event_log import stored_log
from streaming.models import (
    IS_ACTIVE,
    Account,
    AuditRecord,
    Conversation,
    LogState,
    Run,
    RunStatus,
)
from streaming.runs import deletion
from streaming.runs.idempotency import expired_keys
from streaming.storage.sql import database_time

#: The place of a conversation in the order of retention: its last use, and its key.
Place = tuple[datetime, int]
#: Logs that one transaction removes at most, and rows of them.
LOGS, ROWS = 20, deletion.BATCH
#: Idempotency keys that one transaction frees at most.
KEYS = 200


class Removed(msgspec.Struct, frozen=True):
    """The outcome of one transaction."""

    count: int
    #: Whether the next transaction may remove more.
    more: bool


def logs_ended_before(time: datetime) -> QuerySet[Run]:
    """Return ended runs that still have their event log, the oldest first."""
    kept = Run.objects.filter(log_state__in=(LogState.WRITTEN, LogState.COMPACTED))
    return kept.filter(ended_at__lt=time).order_by("ended_at")


def conversations_unused_since(time: datetime) -> QuerySet[Conversation]:
    """Return conversations without a message since a time whose runs have ended."""
    unused = Conversation.objects.filter(updated_at__lt=time)
    # Two conditions: each has a partial index.
    for condition in (IS_ACTIVE, Q(status=RunStatus.PENDING.value)):
        runs = Run.objects.filter(condition)
        unused = unused.exclude(pk__in=runs.values("conversation"))
    return unused.order_by("updated_at")


def forget_accounts(rows: int = ROWS) -> Removed:
    """Delete the accounts of periods that ended long ago."""
    expired = expired_accounts(database_time()).select_for_update(skip_locked=True)
    keys = list(expired.values_list("pk", flat=True)[:rows])
    Account.objects.filter(pk__in=keys).delete()
    return Removed(len(keys), more=len(keys) == rows)


def remove_logs(ended_before: datetime, logs: int = LOGS, rows: int = ROWS) -> Removed:
    """Remove event logs; the runs stay, with their messages and usage."""
    taken = logs_ended_before(ended_before).select_for_update(
        skip_locked=True, no_key=True
    )
    run_ids = list(taken.values_list("pk", flat=True)[:logs])
    log = stored_log()
    if log.delete_segments(Run.objects.filter(pk__in=run_ids), rows) >= rows:
        return Removed(0, more=True)
    removed = log.delete(run_ids)
    return Removed(len(removed), more=bool(removed))


def forget_conversations(
    unused_since: datetime, rows: int = deletion.BATCH, after: Place | None = None
) -> Removed:
    """Delete conversations with their messages, runs and event logs."""
    return _forget(_unused_after(unused_since, after), rows)


def forget_conversation(unused_since: datetime, key: int) -> Removed:
    """Delete rows of one conversation, as long as it is unused."""
    return _forget(conversations_unused_since(unused_since).filter(pk=key))


def oldest_unused(unused_since: datetime, after: Place | None) -> list[Place]:
    """Return the places of the conversations that the next transaction would take."""
    unused = _unused_after(unused_since, after).order_by("updated_at", "pk")
    return list(unused.values_list("updated_at", "pk")[: deletion.CONVERSATIONS])


def _unused_after(time: datetime, after: Place | None) -> QuerySet[Conversation]:
    unused = conversations_unused_since(time)
    if after is None:
        return unused
    updated_at, key = after
    later = Q(updated_at__gt=updated_at) | Q(updated_at=updated_at, pk__gt=key)
    return unused.filter(later, updated_at__gte=updated_at)  # an index has the latter


def _forget(unused: QuerySet[Conversation], rows: int = deletion.BATCH) -> Removed:
    deleted = deletion.delete_some(unused.select_for_update(skip_locked=True), rows)
    return Removed(deleted.conversations, deleted.more)


def free_idempotency_keys(limit: int = KEYS) -> Removed:
    """Remove the idempotency keys that have expired."""
    taken = expired_keys().select_for_update(skip_locked=True, no_key=True)
    keys = list(taken.values_list("pk", flat=True)[:limit])
    Run.objects.filter(pk__in=keys).update(idempotency_key=None)
    return Removed(len(keys), more=bool(keys))


def audit_records_before(time: datetime) -> QuerySet[AuditRecord]:
    """Return the records of the audit log before a time, the oldest first."""
    return AuditRecord.objects.filter(at__lt=time).order_by("at")


def remove_audit_records(before: datetime, limit: int = ROWS) -> Removed:
    """Remove records of the audit log."""
    taken = audit_records_before(before).select_for_update(skip_locked=True)
    keys = list(taken.values_list("pk", flat=True)[:limit])
    AuditRecord.objects.filter(pk__in=keys).delete()
    return Removed(len(keys), more=bool(keys))
