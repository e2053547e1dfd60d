"""What the processes tell each other of runs, through the database: who lives, who
listens, who wants to stop.

Times that processes compare are the database's own: machines' clocks may differ.
"""

import math
import time
from collections.abc import Collection
from datetime import datetime, timedelta

import msgspec
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from streaming.event_log import stored_log
from streaming.events import Done, ErrorEvent, ErrorInfo
from streaming.exceptions import Interrupted
from streaming.messages import Message, TextPart, parts_from_json
from streaming.models import Run, RunStatus
from streaming.runs.store import save_messages


class RunSignals(msgspec.Struct, frozen=True):
    """What the owner of a run wants to know of it."""

    cancel_requested: bool
    #: Seconds since somebody in another process listened; infinite when nobody did.
    seconds_since_reader: float


def renew_leases(run_ids: Collection[str], worker: str) -> dict[str, RunSignals]:
    """Say that `worker` lives and runs these; return the signs of those it owns."""
    owned = Run.objects.filter(worker=worker, status=RunStatus.RUNNING)
    owned.filter(id__in=_lock(run_ids)).update(heartbeat_at=Now())
    return read_signals(run_ids, worker)


def read_signals(run_ids: Collection[str], worker: str) -> dict[str, RunSignals]:
    """The signs of the runs among these that `worker` owns."""
    owned = Run.objects.filter(id__in=run_ids, worker=worker, status=RunStatus.RUNNING)
    cancels = owned.values_list("id", "cancel_requested_at")
    elsewhere = owned.exclude(last_reader_at=F("created_at")).annotate(now=Now())
    heard = {
        run: (now - last).total_seconds()
        for run, last, now in elsewhere.values_list("id", "last_reader_at", "now")
    }
    return {
        run: RunSignals(cancel is not None, heard.get(run, math.inf))
        for run, cancel in cancels
    }


def touch_readers(run_ids: Collection[str]) -> None:
    """Say that somebody listens to these runs now."""
    Run.objects.filter(id__in=_lock(run_ids)).update(last_reader_at=Now())


def request_cancel(run_id: str) -> bool:
    """Ask whoever runs it to stop a run; false when it has ended already."""
    running = Run.objects.filter(pk=run_id, status=RunStatus.RUNNING)
    return bool(running.update(cancel_requested_at=timezone.now()))


def find_stale(seconds: float) -> dict[str, datetime]:
    """The runs whose process has not beaten for a while, and when it last did."""
    running = Run.objects.filter(status=RunStatus.RUNNING)
    late = running.filter(heartbeat_at__lt=Now() - timedelta(seconds=seconds))
    return dict(late.values_list("id", "heartbeat_at"))


def fail_orphan(run_id: str, heartbeat_at: datetime, before: float) -> bool:
    """End an orphan, unless its process or another has come first.

    Nothing is done later than `before` (time.monotonic()): if this had to wait for the
    database, so may have the beat of its process.
    """
    if time.monotonic() > before:
        return False
    error = Interrupted()
    orphan = Run.objects.filter(
        # Not "equal": SQLite compares texts, and its own have fewer digits.
        pk=run_id,
        status=RunStatus.RUNNING,
        heartbeat_at__lte=heartbeat_at,
    )
    ended = orphan.update(
        status=RunStatus.FAILED,
        error_code=error.code,
        error_message=error.message,
        ended_at=timezone.now(),
    )
    if ended:
        run = Run.objects.get(pk=run_id)
        _keep_partial_answer(run)
        info = ErrorInfo(error.code, error.retryable)
        events = (ErrorEvent(error=error.message, metadata=info), Done())
        stored_log().end_orphan(run_id, events)
    return bool(ended)


def _lock(run_ids: Collection[str]) -> list[str]:
    """Lock those under way, in order, so that no two processes wait for each other."""
    running = Run.objects.filter(id__in=run_ids, status=RunStatus.RUNNING)
    locked = running.select_for_update(no_key=True).order_by("id")
    return list(locked.values_list("id", flat=True))


def _keep_partial_answer(run: Run) -> None:
    """Save the text that no message has yet: what the log has beyond them."""
    answers = run.messages.filter(role="assistant").order_by("id")
    parts = (parts_from_json(row) for row in answers.values_list("parts", flat=True))
    saved = "".join(Message("assistant", found).text for found in parts)
    if text := stored_log().text(run.id)[len(saved) :]:
        save_messages(run, [Message("assistant", [TextPart(text)])])
