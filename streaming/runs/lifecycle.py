"""The states of a run, and the transitions between them as conditional statements.

`queued` is the state of a run that no worker has claimed, `running` that of a run whose
worker holds its lease; the others are ends. A worker claims a run with `claim`; an
executor that claims at the start inserts its runs already claimed (`start.start_runs`),
so that the claim costs no statement.

Each transition is one UPDATE on the condition of the state before it. Each write of an
owner is also on the condition of its worker and attempt (`Claim`): every claim raises
`attempt`, so that a worker that lost a run cannot write into it, even if the same
process claims the run again.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType

import msgspec
from django.db.models import F, QuerySet
from django.db.models.functions import Now

from streaming.exceptions import AgentError
from streaming.models import LogState, Run, RunStatus
from streaming.storage.sql import update_all

#: The states that can follow on each state.
TRANSITIONS: Mapping[RunStatus, frozenset[RunStatus]] = MappingProxyType(
    {
        RunStatus.QUEUED: frozenset({RunStatus.RUNNING, RunStatus.CANCELLED}),
        RunStatus.RUNNING: frozenset(
            {RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED}
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
    """Claim a queued run for a worker; return None if it is no longer queued."""
    claimed = _leaving(RunStatus.QUEUED, RunStatus.RUNNING).filter(pk=run_id)
    if not claimed.update(
        status=RunStatus.RUNNING,
        worker=worker,
        attempt=F("attempt") + 1,
        heartbeat_at=Now(),
    ):
        return None
    attempt = Run.objects.values_list("attempt", flat=True).get(pk=run_id)
    return Claim(run_id, worker, attempt)


def finish(finishes: Sequence[Finish]) -> int:
    """End claimed runs; return the number of those whose claim held."""
    for each in finishes:
        _check(RunStatus.RUNNING, each.status)
    return update_all(
        Run,
        [(f.claim.condition, {"status": f.status, **f.values}) for f in finishes],
        clock=("ended_at",),
    )


def cancel_queued(run_id: str) -> bool:
    """Cancel a run that no worker has claimed; return False if it is not queued."""
    queued = _leaving(RunStatus.QUEUED, RunStatus.CANCELLED).filter(pk=run_id)
    return bool(
        queued.update(
            status=RunStatus.CANCELLED,
            stop_reason="cancelled",
            ended_at=Now(),
            log_state=LogState.COMPACTED,  # it is the one row with the run's end
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


def _check(source: RunStatus, target: RunStatus) -> None:
    if target not in TRANSITIONS[source]:
        raise ValueError(f"no transition from {source} to {target}")
