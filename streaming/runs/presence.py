"""What the processes tell each other of runs, through the database: who lives, who
listens, who wants to stop."""

from collections.abc import Collection
from datetime import datetime, timedelta

import msgspec
from django.utils import timezone

from streaming.event_log import segments
from streaming.event_log.base import make_entry
from streaming.event_log.segments import Segment
from streaming.events import Done, ErrorEvent, ErrorInfo
from streaming.exceptions import Interrupted
from streaming.messages import Message, TextPart
from streaming.models import Run, RunStatus
from streaming.runs.store import save_messages, saved_answer
from streaming.wire import native

#: How far ids leap over a crash: beyond all that a dead process may have shown its
#: readers without making it durable.
ID_LEAP = 1_000_000


class Sign(msgspec.Struct, frozen=True):
    """What the owner of a run wants to know of it."""

    cancel_requested: bool
    last_reader_at: datetime


def beat(run_ids: Collection[str], worker: str) -> dict[str, Sign]:
    """Say that `worker` lives and runs these; return the signs of those it owns."""
    owned = Run.objects.filter(id__in=run_ids, worker=worker, status=RunStatus.RUNNING)
    owned.update(heartbeat_at=timezone.now())
    return look(run_ids, worker)


def look(run_ids: Collection[str], worker: str) -> dict[str, Sign]:
    """The signs of the runs among these that `worker` owns."""
    owned = Run.objects.filter(id__in=run_ids, worker=worker, status=RunStatus.RUNNING)
    rows = owned.values_list("id", "cancel_requested_at", "last_reader_at")
    return {run: Sign(cancel is not None, reader) for run, cancel, reader in rows}


def listen(run_ids: Collection[str]) -> None:
    """Say that somebody listens to these runs now."""
    Run.objects.filter(id__in=run_ids).update(last_reader_at=timezone.now())


def request_cancel(run_id: str) -> bool:
    """Ask whoever runs it to stop a run; false when it has ended already."""
    running = Run.objects.filter(pk=run_id, status=RunStatus.RUNNING)
    return bool(running.update(cancel_requested_at=timezone.now()))


def recover(lease_seconds: float) -> list[str]:
    """End the runs whose process has not been seen for a while; return their ids."""
    deadline = timezone.now() - timedelta(seconds=lease_seconds)
    orphans = Run.objects.filter(status=RunStatus.RUNNING, heartbeat_at__lt=deadline)
    return [run.id for run in orphans if _interrupt(run)]


def _interrupt(run: Run) -> bool:
    """End an orphan, unless its process or another has come first."""
    error = Interrupted()
    ended = Run.objects.filter(
        pk=run.pk, status=RunStatus.RUNNING, heartbeat_at=run.heartbeat_at
    ).update(
        status=RunStatus.FAILED,
        error_code=error.code,
        error_message=error.message,
        ended_at=timezone.now(),
    )
    if ended:
        _keep_partial_answer(run)
        _close_log(run, error)
    return bool(ended)


def _keep_partial_answer(run: Run) -> None:
    """Save the text that no message has yet."""
    said = segments.unsaved_text(run.id)
    if text := said.removeprefix(saved_answer(run)):
        save_messages(run, [Message("assistant", [TextPart(text)])])


def _close_log(run: Run, error: Interrupted) -> None:
    newest = segments.newest(run.id)
    first = (newest.number if newest else 0) + ID_LEAP
    info = ErrorInfo(error.code, error.retryable)
    events = (ErrorEvent(error=error.message, metadata=info), Done())
    entries = [
        make_entry(run.id, number, native.encode(event))
        for number, event in enumerate(events, first)
    ]
    Segment(run.id, entries).row().save(force_insert=True)
