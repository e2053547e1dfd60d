"""The states of a run, and the transitions between them as conditional statements.

`pending` is the state of a run that waits for an earlier one of its conversation
(`pending`), `queued` that of a run that no worker has claimed, `running` that of a run
whose worker holds its lease; the others are ends. A worker claims runs with
`claim_all`; an executor that claims at the start inserts its runs already claimed
(`start.start_runs`), so that the claim costs no statement. A run whose worker drains or
has died returns to the queue, from which a further attempt continues it (`recovery`).

Each transition is one UPDATE on the condition of the state before it. Each write of an
owner is also on the condition of its worker and attempt (`Claim`): every claim raises
`attempt`, so that a worker that lost a run cannot write into it, even if the same
process claims the run again.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

import msgspec
from django.db.models import Case, F, QuerySet, Value, When
from django.db.models.functions import Now

from streaming.event_log import OwnershipLost
from streaming.exceptions import AgentError
from streaming.models import LogState, Run, RunStatus
from streaming.storage.sql import update_all

#: The states that can follow on each state.
TRANSITIONS: Mapping[RunStatus, frozenset[RunStatus]] = MappingProxyType(
    {
        RunStatus.PENDING: frozenset({RunStatus.QUEUED, RunStatus.CANCELLED}),
        RunStatus.QUEUED: frozenset({RunStatus.RUNNING, RunStatus.CANCELLED}),
        RunStatus.RUNNING: frozenset(
            {
                RunStatus.QUEUED,
                RunStatus.COMPLETED,
                RunStatus.FAILED,
                RunStatus.CANCELLED,
            }
        ),
        RunStatus.COMPLETED: frozenset(),
        RunStatus.FAILED: frozenset(),
        RunStatus.CANCELLED: frozenset(),
    }
)


class Claim(msgspec.Struct):
    """The right of one worker to execute a run in one attempt."""

    id: str
    worker: str
    attempt: int

    @property
    def condition(self) -> dict[str, object]:
        """The values of the run's row for as long as the claim holds."""
        return {
            "id": self.id,
            "worker": self.worker,
            "attempt": self.attempt,
            "status": RunStatus.RUNNING,
        }


class Finish(msgspec.Struct, frozen=True):
    """The end of a claimed run: its final state, and the values of its row then."""

    claim: Claim
    status: RunStatus
    values: Mapping[str, object]


def claim(run_id: str, worker: str) -> Claim | None:
    """Claim a queued run for a worker; return None if another process was earlier.

    A row that another transaction has locked is waited for: a web process writes the
    time of the run's first reader at about the moment of the claim.
    """
    return next(iter(claim_all([run_id], worker, skip_locked=False)), None)


def claim_all(
    run_ids: Collection[str], worker: str, *, skip_locked: bool = True
) -> list[Claim]:
    """Claim those of these runs that are queued; return the worker's claims of them.

    Runs that another transaction has locked are left out. A repeated call returns the
    claims of the first one too, whose response may have been lost. A worker executes
    each claim once (`Worker.execute`).
    """
    queued = _leaving(RunStatus.QUEUED, RunStatus.RUNNING).filter(pk__in=run_ids)
    free = queued.select_for_update(no_key=True, skip_locked=skip_locked)
    queued.filter(pk__in=free.values("pk")).update(
        status=RunStatus.RUNNING,
        worker=worker,
        attempt=F("attempt") + 1,
        heartbeat_at=Now(),
    )
    claimed = Run.objects.filter(
        pk__in=run_ids, worker=worker, status=RunStatus.RUNNING
    )
    attempts = claimed.order_by("id").values_list("id", "attempt")
    return [Claim(run_id, worker, attempt) for run_id, attempt in attempts]


def return_to_queue(
    claim: Claim, values: Mapping[str, Any], *, not_after: datetime | None = None
) -> bool:
    """Return a claimed run to the queue; return False if the claim does not hold.

    With `not_after` also if the run had a heartbeat after that time.
    """
    _check(RunStatus.RUNNING, RunStatus.QUEUED)
    claimed = Run.objects.filter(**claim.condition)
    if not_after:
        # Not "equal": SQLite compares texts, and the ones it makes have fewer digits.
        claimed = claimed.filter(heartbeat_at__lte=not_after)
    return bool(claimed.update(status=RunStatus.QUEUED, worker="", **values))


def check_held(claim: Claim) -> None:
    """Lock a claimed run. Raises `OwnershipLost` if the claim does not hold."""
    claimed = Run.objects.filter(**claim.condition)
    if not claimed.select_for_update(no_key=True).exists():
        raise OwnershipLost(claim.id)


def finish(finishes: Sequence[Finish]) -> int:
    """End claimed runs; return the number of those whose claim held."""
    for each in finishes:
        _check(RunStatus.RUNNING, each.status, is_end=True)
    return update_all(
        Run,
        [(f.claim.condition, {"status": f.status, **f.values}) for f in finishes],
        clock=("ended_at",),
    )


def enter_queue(run_id: str) -> bool:
    """Queue a pending run; return False if it is not pending."""
    pending = _leaving(RunStatus.PENDING, RunStatus.QUEUED).filter(pk=run_id)
    # The heartbeat tells since when the run has been in the queue.
    return bool(pending.update(status=RunStatus.QUEUED, place=None, heartbeat_at=Now()))


def cancel_pending(run_id: str) -> bool:
    """Cancel a pending run; return False if it is not pending."""
    return _cancel_unclaimed(run_id, RunStatus.PENDING)


def cancel_queued(run_id: str) -> bool:
    """Cancel a run that no worker has claimed; return False if it is not queued."""
    return _cancel_unclaimed(run_id, RunStatus.QUEUED)


def _cancel_unclaimed(run_id: str, source: RunStatus) -> bool:
    unclaimed = _leaving(source, RunStatus.CANCELLED).filter(pk=run_id)
    return bool(
        unclaimed.update(
            status=RunStatus.CANCELLED,
            place=None,
            stop_reason="cancelled",
            ended_at=Now(),
            # The log of a run without an attempt is the one row with the run's end.
            log_state=Case(
                When(log_number=0, then=Value(LogState.COMPACTED)),
                default=Value(LogState.WRITTEN),
            ),
        )
    )


def fail_stale(run_id: str, heartbeat_at: datetime, error: AgentError) -> bool:
    """Fail a run that has had no heartbeat since a time; return False if it had one."""
    # Not "equal": SQLite compares texts, and the ones it makes have fewer digits.
    stale = _leaving(RunStatus.RUNNING, RunStatus.FAILED).filter(
        pk=run_id, heartbeat_at__lte=heartbeat_at
    )
    return bool(
        stale.update(
            status=RunStatus.FAILED,
            error_code=error.code,
            error_message=error.message,
            ended_at=Now(),
        )
    )


def _leaving(source: RunStatus, target: RunStatus) -> QuerySet[Run]:
    """Return the runs in a state from which a transition leads to another."""
    _check(source, target)
    return Run.objects.filter(status=source)


def _check(source: RunStatus, target: RunStatus, *, is_end: bool = False) -> None:
    if target not in TRANSITIONS[source] or (is_end and TRANSITIONS[target]):
        raise ValueError(f"no transition from {source} to {target}")
