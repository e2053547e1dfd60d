"""The states of runs: the table allows what the statements do, and nothing else."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from itertools import product

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from streaming.agent.progress import Progress
from streaming.agents.loops import make_loops
from streaming.event_log import OwnershipLost, stored_log
from streaming.exceptions import Interrupted
from streaming.models import (
    ACTIVE,
    IS_ACTIVE,
    NOT_ENDED,
    Conversation,
    LogState,
    Organization,
    Run,
    RunStatus,
)
from streaming.principals import Principal
from streaming.runs import leases, lifecycle, recovery, store
from streaming.runs.attempts import load
from streaming.runs.lifecycle import TRANSITIONS, Claim, Finish
from streaming.runs.recovery import HandOver
from streaming.runs.start import RunDefaults, RunRequest, start_runs

pytestmark = pytest.mark.django_db

WORKER = "here"
LATER = timezone.now() + timedelta(days=1)


def enqueue(runs: Sequence[Run]) -> None:
    """Do nothing, as the executor in the process."""


def make_run(status: RunStatus, **values: object) -> Run:
    """A run in a state; once it was claimed, in its first attempt."""
    organization, _ = Organization.objects.get_or_create(org_id="acme")
    values.setdefault(
        "conversation", Conversation.objects.create(organization=organization)
    )
    claimed = (
        {"worker": WORKER, "attempt": 1}
        if status not in (RunStatus.PENDING, RunStatus.QUEUED)
        else {}
    )
    return Run.objects.create(
        organization=organization, status=status, **claimed | values
    )


def finish(run: Run, status: RunStatus) -> bool:
    claim = Claim(run.id, WORKER, 1)
    return bool(lifecycle.finish([Finish(claim, status, {"ended_at": LATER})]))


#: All functions that can bring a run into a state.
WAYS: Mapping[RunStatus, list[Callable[[Run], bool]]] = {
    RunStatus.PENDING: [],
    RunStatus.QUEUED: [
        lambda run: lifecycle.enter_queue(run.id),
        lambda run: lifecycle.return_to_queue(Claim(run.id, WORKER, 1), {}),
        lambda run: lifecycle.return_to_queue(
            Claim(run.id, WORKER, 1), {"crashes": 1}, not_after=LATER
        ),
    ],
    RunStatus.RUNNING: [lambda run: lifecycle.claim(run.id, "other") is not None],
    RunStatus.COMPLETED: [lambda run: finish(run, RunStatus.COMPLETED)],
    RunStatus.FAILED: [
        lambda run: finish(run, RunStatus.FAILED),
        lambda run: lifecycle.fail_stale(run.id, LATER, Interrupted()),
    ],
    RunStatus.CANCELLED: [
        lambda run: finish(run, RunStatus.CANCELLED),
        lambda run: lifecycle.cancel_queued(run.id),
        lambda run: lifecycle.cancel_pending(run.id),
    ],
}


def test_the_table_names_every_state_and_ends_are_final() -> None:
    assert set(TRANSITIONS) == set(WAYS) == set(RunStatus)
    assert {s for s, targets in TRANSITIONS.items() if targets} == set(NOT_ENDED)


@pytest.mark.parametrize(("source", "target"), list(product(RunStatus, RunStatus)))
def test_a_transition_succeeds_if_the_table_has_it(
    source: RunStatus, target: RunStatus
) -> None:
    succeeded = False
    for way in WAYS[target]:
        run = make_run(source)
        with CaptureQueriesContext(connection) as queries:
            done = way(run)
        updates = [q["sql"] for q in queries if "UPDATE" in q["sql"]]
        assert len(updates) == 1  # nothing is read first to decide
        run.refresh_from_db()
        assert run.status == (target if done else source)
        succeeded |= done
    assert succeeded == (target in TRANSITIONS[source])


@pytest.mark.parametrize("target", [RunStatus.QUEUED, RunStatus.RUNNING])
def test_no_run_can_finish_in_an_active_state(target: RunStatus) -> None:
    with pytest.raises(ValueError, match="no transition"):
        finish(make_run(RunStatus.RUNNING), target)


def test_a_claim_raises_the_attempt_and_only_one_wins() -> None:
    run = make_run(RunStatus.QUEUED, attempt=3)
    assert lifecycle.claim(run.id, "one") == Claim(run.id, "one", 4)
    assert lifecycle.claim(run.id, "other") is None
    run.refresh_from_db()
    assert (run.worker, run.attempt, run.status) == ("one", 4, "running")


def test_a_start_that_claims_costs_no_statement_more() -> None:
    counts = []
    for worker in (WORKER, ""):
        defaults = RunDefaults(worker=worker, agents=make_loops(), history_chars=1000)
        request = RunRequest(input="Hi", principal=Principal(f"of {worker}"))
        with CaptureQueriesContext(connection) as queries:
            [result] = start_runs([request], defaults, lambda runs: None)
        counts.append(len(queries))
        run = Run.objects.get(pk=result.run.pk)
        expected = ("running", 1) if worker else ("queued", 0)
        assert (run.status, run.attempt) == expected
    assert counts[0] == counts[1]


@pytest.mark.parametrize("first", ACTIVE)
@pytest.mark.parametrize("second", ACTIVE)
def test_a_conversation_has_one_active_run(first: RunStatus, second: RunStatus) -> None:
    run = make_run(first)
    with pytest.raises(IntegrityError), transaction.atomic():
        make_run(second, conversation=run.conversation)


def test_queries_for_active_runs_use_the_index_over_them() -> None:
    by_status = Run.objects.filter(status=RunStatus.RUNNING)
    for rows in (by_status, Run.objects.filter(IS_ACTIVE)):
        plan = rows.filter(heartbeat_at__lt=LATER).order_by("heartbeat_at").explain()
        if connection.vendor == "sqlite":  # PostgreSQL scans a table of so few rows
            assert "run_under_way" in plan


def test_a_queued_run_is_cancelled_with_the_end_of_its_log() -> None:
    run = make_run(RunStatus.QUEUED)
    assert leases.request_cancel([run.id, "unknown"], enqueue) == {run.id}
    run.refresh_from_db()
    assert (run.status, run.stop_reason) == ("cancelled", "cancelled")
    assert run.ended_at
    assert run.log_state == LogState.COMPACTED
    entries = stored_log().read(run.id)
    assert [(e.number, e.type) for e in entries] == [(1, "complete"), (2, "done")]
    assert leases.request_cancel([run.id], enqueue) == set()


def test_the_first_request_to_cancel_a_running_run_stands() -> None:
    run = make_run(RunStatus.RUNNING)
    assert leases.request_cancel([run.id], enqueue) == {run.id}
    run.refresh_from_db()
    first = run.cancel_requested_at
    assert leases.request_cancel([run.id], enqueue) == {run.id}
    run.refresh_from_db()
    assert run.cancel_requested_at == first
    assert first
    assert run.status == RunStatus.RUNNING


STALE = [Claim("", WORKER, 0), Claim("", WORKER, 2), Claim("", "another", 1)]


@pytest.mark.parametrize("stale", STALE)
def test_every_write_of_an_owner_checks_its_claim(stale: Claim) -> None:
    run = make_run(RunStatus.RUNNING)
    run = Run.objects.select_related("conversation", "organization").get(pk=run.pk)
    owned = store.OwnedRun.of(run)
    owned.worker, owned.attempt = stale.worker, stale.attempt
    with pytest.raises(OwnershipLost):
        store.checkpoint(store.State.of(owned, Progress(), 0), 0)
    result = store.RunResult(owned, Progress(), None, 0)
    with pytest.raises(OwnershipLost):
        store.finish_runs([(result, LogState.WRITTEN)])
    with pytest.raises(OwnershipLost):
        load(owned, 1000)
    with pytest.raises(OwnershipLost):
        lifecycle.check_held(owned)
    state = store.State.of(owned, Progress(), 0)
    given = HandOver(state, [], Progress(), has_shown=False, is_working=False)
    with pytest.raises(OwnershipLost):
        recovery.hand_over(given, lambda runs: None, 0)
    recovery.release(owned, lambda runs: pytest.fail("it entered the queue"))
    attempts = {run.id: stale.attempt}
    assert leases.renew_leases(attempts, stale.worker) == set()
    assert leases.read_signals(attempts, stale.worker) == {}
    heartbeat_at = run.heartbeat_at
    run.refresh_from_db()
    assert (run.status, run.heartbeat_at) == ("running", heartbeat_at)


def test_a_hand_over_has_three_statements() -> None:
    run = make_run(RunStatus.RUNNING)
    state = store.State.of(store.OwnedRun.of(run), Progress(), 0)
    given = HandOver(state, [], Progress(), has_shown=True, is_working=False)
    queued: list[Run] = []
    with CaptureQueriesContext(connection) as queries:
        recovery.hand_over(given, queued.extend, 0)
    assert len(queries) == 3
    run.refresh_from_db()
    assert [(run.status, run.worker)] == [(each.status, each.worker) for each in queued]


def test_the_owner_renews_its_lease() -> None:
    run = make_run(RunStatus.RUNNING, heartbeat_at="2020-01-01T00:00Z")
    assert leases.renew_leases({run.id: 1}, WORKER) == set()
    assert set(leases.read_signals({run.id: 1}, WORKER)) == {run.id}
    assert leases.find_stale(60) == {}
