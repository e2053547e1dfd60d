"""What is kept for how long: event logs, whole conversations, idempotency keys.

Each function takes the oldest few in one transaction and says how many it took. Two
processes never wait for each other: each takes what the other has not in hand.
"""

from datetime import datetime, timedelta

from django.db.models import QuerySet
from django.utils import timezone

from streaming.event_log import stored_log
from streaming.models import Conversation, LogState, Run, RunStatus
from streaming.runs.start import IDEMPOTENCY_HOURS

#: What one transaction takes at most.
BATCH = 20


def logs_ended_before(time: datetime) -> QuerySet[Run]:
    """Ended runs that still have their event log, the oldest first."""
    kept = Run.objects.filter(log_state__in=(LogState.WRITTEN, LogState.COMPACTED))
    return kept.filter(ended_at__lt=time).order_by("ended_at")


def conversations_unused_since(time: datetime) -> QuerySet[Conversation]:
    """Conversations in which nothing was said since, and nothing is under way."""
    running = Run.objects.filter(status=RunStatus.RUNNING)
    unused = Conversation.objects.filter(updated_at__lt=time)
    return unused.exclude(pk__in=running.values("conversation")).order_by("updated_at")


def spent_idempotency_keys() -> QuerySet[Run]:
    """Runs whose idempotency key no longer counts."""
    oldest = timezone.now() - timedelta(hours=IDEMPOTENCY_HOURS)
    return Run.objects.filter(idempotency_key__isnull=False, created_at__lt=oldest)


def remove_logs(ended_before: datetime) -> int:
    """Remove event logs; the runs stay, with all that was said and used."""
    taken = logs_ended_before(ended_before).select_for_update(
        skip_locked=True, no_key=True
    )
    run_ids = list(taken.values_list("pk", flat=True)[:BATCH])
    return len(stored_log().delete(run_ids))


def forget_conversations(unused_since: datetime) -> int:
    """Delete conversations with their messages, runs and event logs."""
    taken = conversations_unused_since(unused_since).select_for_update(skip_locked=True)
    keys = list(taken.values_list("pk", flat=True)[:BATCH])
    Conversation.objects.filter(pk__in=keys).delete()
    return len(keys)


def free_idempotency_keys() -> int:
    """Forget the keys that no longer count."""
    taken = spent_idempotency_keys().select_for_update(skip_locked=True, no_key=True)
    keys = list(taken.values_list("pk", flat=True)[: BATCH * 10])
    return Run.objects.filter(pk__in=keys).update(idempotency_key=None)
