"""Signals between processes about runs, through the database: leases, readers, cancels.

The owner of a run renews its lease with each heartbeat, and reads the cancel requests
and the readers of other processes with it. A process that finds an expired lease
returns the run to the queue (`recovery`).

Times that processes compare are the database's own: the clocks of machines may differ.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta

import msgspec
from django.db import transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Coalesce, Now

from streaming.agent.progress import Progress
from streaming.event_log import stored_log
from streaming.models import HAS_NOT_ENDED, IS_ACTIVE, Run, RunStatus
from streaming.runs import branches, lifecycle, pending
from streaming.runs.attempts import usage_of
from streaming.runs.ending import last_events
from streaming.runs.pending import Enqueue
from streaming.storage.alias import app_alias


class RunSignals(msgspec.Struct, frozen=True):
    """The signals of other processes to the owner of a run."""

    cancel_requested: bool
    #: Seconds since a reader was connected to another process; infinite if none was.
    seconds_since_reader: float


def renew_leases(attempts: Mapping[str, int], worker: str) -> set[str]:
    """Renew the leases of a worker's runs, by id and attempt; return the locked ones.

    A run that another transaction has locked is left out: it must not delay the others.
    """
    owned = Run.objects.filter(id__in=attempts, worker=worker, status=RunStatus.RUNNING)
    free = owned.select_for_update(no_key=True, skip_locked=True).order_by("id")
    renewed = _of_attempts(free, attempts)
    Run.objects.filter(id__in=renewed).update(heartbeat_at=Now())
    if len(renewed) == len(attempts):
        return set()
    return _of_attempts(owned, attempts) - renewed


def read_signals(attempts: Mapping[str, int], worker: str) -> dict[str, RunSignals]:
    """Return the signals to a worker's runs; those that it lost are missing."""
    owned = Run.objects.filter(id__in=attempts, worker=worker, status=RunStatus.RUNNING)
    cancels = owned.values_list("id", "attempt", "cancel_requested_at")
    elsewhere = owned.exclude(last_reader_at=F("created_at")).annotate(now=Now())
    seconds = {
        run: (now - last).total_seconds()
        for run, last, now in elsewhere.values_list("id", "last_reader_at", "now")
    }
    return {
        run: RunSignals(cancel is not None, seconds.get(run, math.inf))
        for run, attempt, cancel in cancels
        if attempt == attempts[run]
    }


def touch_readers(run_ids: Collection[str]) -> None:
    """Record that readers are, or were until now, connected to this process.

    A run that is locked at the moment is left out, until the next report.
    """
    followed = Run.objects.filter(HAS_NOT_ENDED, id__in=list(run_ids)).order_by("id")
    free = followed.select_for_update(no_key=True, skip_locked=True)
    keys = list(free.values_list("id", flat=True))
    Run.objects.filter(id__in=keys).update(last_reader_at=Now())


class _Promoted(Exception):
    """A pending run entered the queue before its conversation was locked."""


def request_cancel(run_ids: Collection[str], enqueue: Enqueue) -> set[str]:
    """Cancel pending and queued runs, request it from the owners of running ones.

    Returns the runs that had not ended. The time of a first request is kept.
    """
    for _ in range(len(run_ids) + 1):  # each time fewer of them are pending
        # A rollback unlocks all rows: active runs are locked before conversations.
        with suppress(_Promoted), transaction.atomic(app_alias()):
            # First: a run that is promoted in the meantime is among the active ones.
            waiting = pending.find(run_ids)
            rows = lock_active(run_ids).values_list("id", "status", "conversation_id")
            active = {run_id: (status, key) for run_id, status, key in rows}
            for run_id in active:
                waiting.pop(run_id, None)
            return _cancel(active, waiting, enqueue)
    raise AssertionError("unreachable")


def _cancel(
    active: Mapping[str, tuple[str, int]], waiting: Mapping[str, int], enqueue: Enqueue
) -> set[str]:
    """Cancel active runs, which are locked, and pending ones. Raises `_Promoted`."""
    queued = {
        run_id: key
        for run_id, (status, key) in active.items()
        if status == RunStatus.QUEUED
    }
    pending.lock({*waiting.values(), *queued.values()})
    if pending.cancel(waiting) != waiting.keys():
        raise _Promoted
    for run_id in queued:
        cancel_in_queue(run_id)
    if running := active.keys() - queued.keys():
        Run.objects.filter(id__in=running).update(
            cancel_requested_at=Coalesce("cancel_requested_at", Now())
        )
    pending.promote(queued.values(), enqueue)
    return active.keys() | waiting.keys()


def cancel_in_queue(run_id: str) -> None:
    """Cancel a queued run. The messages and the use of earlier attempts stay."""
    run = Run.objects.get(pk=run_id)
    if lifecycle.cancel_queued(run_id):
        progress = Progress(
            stop_reason="cancelled",
            usage=usage_of(run),
            llm_calls=run.llm_calls,
            tool_calls=run.tool_calls,
            used_tools=run.used_tools,
        )
        first = stored_log().free_number(run_id, run.log_number, leap=False)
        stored_log().append(run_id, first, last_events(progress, None))
        branches.restore_heads([run])


def find_stale(seconds: float) -> dict[str, datetime]:
    """Return the runs without a heartbeat for a time, each with its last heartbeat."""
    running = Run.objects.filter(status=RunStatus.RUNNING)
    late = running.filter(heartbeat_at__lt=Now() - timedelta(seconds=seconds))
    return dict(late.values_list("id", "heartbeat_at"))


def lock_active(run_ids: Iterable[str], *, skip_locked: bool = False) -> QuerySet[Run]:
    """Return the active ones of these runs, to be locked when they are read.

    All processes lock in this order, so that two of them cannot deadlock.
    """
    active = Run.objects.filter(IS_ACTIVE, id__in=list(run_ids))
    locked = active.select_for_update(no_key=True, skip_locked=skip_locked)
    return locked.order_by("id")


def _of_attempts(runs: QuerySet[Run], attempts: Mapping[str, int]) -> set[str]:
    """Return the ids of runs that are in these attempts."""
    rows = runs.values_list("id", "attempt")
    return {run_id for run_id, attempt in rows if attempt == attempts[run_id]}
