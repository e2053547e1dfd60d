"""The return of runs to the queue, from which a further attempt continues them.

A process that finds an expired lease returns the run of the dead worker, and a worker
that drains hands over the runs that have not ended. The text after the last checkpoint
is void then: readers receive `restarted`, if the run's client understands it. A run of
another client ends, unless no text was shown after the checkpoint.
"""

import time
from datetime import datetime
from typing import cast

import msgspec

from streaming.agent.progress import Progress
from streaming.budgets import accounts
from streaming.event_log import ORPHAN_LEAP, OwnershipLost, stored_log
from streaming.events import Restarted, RestartInfo
from streaming.exceptions import Interrupted
from streaming.messages import (
    Message,
    Role,
    TextPart,
    parts_from_json,
    unanswered_calls,
)
from streaming.models import Message as MessageRow
from streaming.models import Run, RunStatus, new_run_id
from streaming.runs import branches, inputs, leases, lifecycle, pending, store
from streaming.runs.ending import last_events
from streaming.runs.lifecycle import Claim
from streaming.runs.pending import Enqueue
from streaming.runs.store import State

#: The highest number that the database stores.
MAX_NUMBER = 2**31 - 1


class HandOver(msgspec.Struct, frozen=True):
    """A run that its owner returns to the queue."""

    #: Its state at the end of its last complete message.
    state: State
    #: The messages after that: a response that was under way, if any.
    rest: list[Message]
    progress: Progress
    #: Whether readers have text that the last checkpoint does not cover.
    has_shown: bool
    #: Whether the agent still works: its model call is not counted.
    is_working: bool


class Policy(msgspec.Struct, frozen=True):
    """The rules for runs that return to the queue."""

    #: The number of leases that a run may lose since its last checkpoint.
    max_attempts: int
    enqueue: Enqueue


def recover_orphan(
    run_id: str, heartbeat_at: datetime, before: float, policy: Policy
) -> RunStatus | None:
    """Return the run of a dead worker to the queue, or end it; return its new status.

    None: it had a heartbeat, has ended, or is locked by another transaction. Nothing is
    written after `before` (time.monotonic()): if this transaction had to wait for the
    database, the heartbeat of the run's worker may have waited as well.
    """
    run = _locked(run_id)
    if run is None or time.monotonic() > before:
        return None
    if run.cancel_requested_at or (
        run.crashes + 1 < policy.max_attempts and _can_continue(run)
    ):
        if not _requeue(run, policy.enqueue, run.crashes + 1, not_after=heartbeat_at):
            return None
        return RunStatus.CANCELLED if run.cancel_requested_at else RunStatus.QUEUED
    error = Interrupted()
    if not lifecycle.fail_stale(run_id, heartbeat_at, error):
        return None
    pending.lock([run.conversation_id])  # a start locks it before accounts
    _save_partial_text(run)
    accounts.settle(run_id, None)
    pending.lock([run.conversation_id])
    next_run = new_run_id()
    ends = last_events(
        Progress(), error, next_run if inputs.follow(run_id, next_run) else ""
    )
    first = stored_log().free_number(run_id, run.log_number, leap=True)
    stored_log().append(run_id, first, ends)
    branches.restore_heads([run])
    pending.advance([run.conversation_id], policy.enqueue)
    return RunStatus.FAILED


def take_back(run_id: str, enqueue: Enqueue) -> bool:
    """Take a running run from its worker, and return it to the queue.

    Return False if it does not run, is locked, or cannot be continued. The worker
    learns of it by its next heartbeat.
    """
    run = _locked(run_id)
    return bool(run and _can_continue(run) and _requeue(run, enqueue, run.crashes))


def hand_over(given: HandOver, enqueue: Enqueue, last: int) -> None:
    """Return a run of this worker to the queue. Raises `OwnershipLost`.

    `last` is the number of its last entry, which this transaction makes durable.
    """
    state, number = given.state, last
    run = _claimed(state.run)
    if run is None:
        raise OwnershipLost(state.run.id)
    is_cancelled = run.cancel_requested_at is not None
    if given.has_shown and not is_cancelled:
        number = last + 1
        _append_restarted(run, number)
    values = {**state.counts, "log_number": number}
    if not (given.progress.lost or given.progress.recovered):
        values["checkpoint_number"] = number  # else the next attempt reads them again
    lifecycle.return_to_queue(state.run, values)
    messages = [*state.messages, *(given.rest if is_cancelled else ())]
    if is_cancelled:
        pending.lock([run.conversation_id])  # a start locks it before accounts
    store.save_new(state.run, messages)
    inputs.mark_taken(given.progress.taken)
    if given.is_working:
        accounts.settle(run.id, None)
    elif given.progress.meter:
        given.progress.meter.settle()
    _enter_queue(run, enqueue)


def release(claim: Claim, enqueue: Enqueue) -> None:
    """Return a claimed run to the queue; its execution must not have begun."""
    if run := _claimed(claim):
        lifecycle.return_to_queue(claim, {})
        _enter_queue(run, enqueue)


def _claimed(claim: Claim) -> Run | None:
    """Return a claimed run, locked; None if the claim does not hold."""
    claimed = Run.objects.filter(**claim.condition)
    return claimed.select_for_update(no_key=True).first()


def _locked(run_id: str) -> Run | None:
    """Return a running run, locked, unless another transaction has locked it."""
    run = leases.lock_active([run_id], skip_locked=True).first()
    return run if run and run.status == RunStatus.RUNNING else None


def _can_continue(run: Run) -> bool:
    """Return whether readers would accept another attempt, and the log has numbers."""
    has_numbers = run.log_number < MAX_NUMBER - 2 * ORPHAN_LEAP
    return has_numbers and (run.restarts or _is_in_tools(run))


def _is_in_tools(run: Run) -> bool:
    """Return whether tools were under way: then no text follows the checkpoint."""
    messages: list[Message] = []
    newest = MessageRow.objects.filter(run=run).order_by("-id")
    for role, parts in newest.values_list("role", "parts").iterator(store.ANSWER_CHUNK):
        messages.insert(0, Message(cast(Role, role), parts_from_json(parts)))
        if role != "tool":
            break
    return bool(unanswered_calls(messages))


def _requeue(
    run: Run, enqueue: Enqueue, crashes: int, *, not_after: datetime | None = None
) -> bool:
    """Return a run to the queue, without its worker; False if it had a heartbeat."""
    claim = Claim(run.id, run.worker, run.attempt)
    number = stored_log().free_number(run.id, run.log_number, leap=True)
    values = {"crashes": crashes, "log_number": number}
    if not lifecycle.return_to_queue(claim, values, not_after=not_after):
        return False
    if run.cancel_requested_at:
        pending.lock([run.conversation_id])  # a start locks it before accounts
    accounts.settle(run.id, None)
    if run.cancel_requested_at:
        _save_partial_text(run)
    elif not _is_in_tools(run):
        _append_restarted(run, number)
    _enter_queue(run, enqueue)
    return True


def _append_restarted(run: Run, number: int) -> None:
    info = RestartInfo(run.attempt + 1, run.checkpoint_number)
    stored_log().append(run.id, number, [Restarted(metadata=info)])


def _enter_queue(run: Run, enqueue: Enqueue) -> None:
    """Enqueue a run that has returned, or end it if its cancel was requested."""
    if run.cancel_requested_at:
        leases.cancel_in_queue(run.id)
        pending.advance([run.conversation_id], enqueue)
    else:
        run.status, run.worker = RunStatus.QUEUED, ""
        enqueue([run])


def _save_partial_text(run: Run) -> None:
    """Save the text that the log has beyond the messages."""
    responses = run.messages.filter(role="assistant").order_by("id")
    parts = (parts_from_json(row) for row in responses.values_list("parts", flat=True))
    saved = "".join(Message("assistant", found).text for found in parts)
    if text := stored_log().text(run.id)[len(saved) :]:
        store.save_messages(run, [Message("assistant", [TextPart(text)])])
