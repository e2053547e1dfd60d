"""Inputs of active runs in the database: each is taken once, or is the next run."""

from collections.abc import Callable
from functools import partial

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from msgspec import structs

from streaming.agent.progress import Progress
from streaming.event_log import stored_log
from streaming.exceptions import Forbidden, RunEnded
from streaming.messages import Message, TextPart, ToolCallPart, ToolResultPart
from streaming.models import IS_ACTIVE, LogState, Run, RunInput, RunStatus, new_run_id
from streaming.principals import Principal
from streaming.runs import inputs, leases, recovery, store
from streaming.runs.checkpoints import Checkpoint
from streaming.runs.ends import FinishRuns
from streaming.runs.inputs import NextRunNeeded
from streaming.runs.lifecycle import Claim
from streaming.runs.store import OwnedRun, RunResult, State
from tests.runs.test_pending import Jobs, _start, fail, lose, request, start, waiting
from tests.runs.test_pending_races import Overlap

pytestmark = pytest.mark.usefixtures("transactional_db")

ACME = Principal("acme")
CALL = Message("assistant", [ToolCallPart("a", "t", "{}")])
RESULT = Message("tool", [ToolResultPart("a", "t", "r")])


def steer(run: Run, text: str, most: int = 0) -> str:
    with transaction.atomic():
        return inputs.add(run.id, ACME, text, most)


def end(run: Run, jobs: Jobs, *, reason: str = "end_turn", taken: list[str]) -> str:
    """End a run as its owner does; return the id of the next run, if there is one."""
    progress = Progress(messages=[Message("assistant", [TextPart("yes")])], taken=taken)
    progress.stop_reason = reason  # type: ignore[assignment]
    owned = OwnedRun.of(run)
    for next_run in ("", new_run_id()):
        result = RunResult(owned, progress, None, 0, next_run)
        try:
            with transaction.atomic():
                FinishRuns(jobs)([(result, LogState.COMPACTED)])
        except NextRunNeeded:
            continue
        return next_run
    raise AssertionError("the end needs another run")


def finish(run: Run, jobs: Jobs) -> None:
    assert end(run, jobs, taken=[])


@pytest.mark.parametrize("ending", [finish, fail, lose])
def test_untaken_inputs_are_the_next_run_before_pending_ones(
    ending: Callable[[Run, Jobs], None],
) -> None:
    jobs = Jobs()
    first, _ = start("first", "third", jobs=jobs)
    Run.objects.filter(pk=first.pk).update(context={"a": "b"}, user="", restarts=True)
    ids = [steer(first, "second"), steer(first, "and more")]
    with transaction.atomic():
        ending(first, jobs)
    assert jobs.inputs == ["first", "second\n\nand more"]
    assert waiting() == ["third"]
    following = Run.objects.get(IS_ACTIVE)
    assert (following.context, following.background) == ({"a": "b"}, True)
    moved = RunInput.objects.in_bulk(ids)
    assert {each.next_run for each in moved.values()} == {following.id}
    assert all(each.taken_at for each in moved.values())


@pytest.mark.parametrize("taken", [True, False])
def test_the_inputs_of_a_cancelled_run_stay_with_it(taken: bool) -> None:
    jobs = Jobs()
    [first] = start("first", jobs=jobs)
    input_id = steer(first, "second")
    assert not end(first, jobs, reason="cancelled", taken=[input_id] * taken)
    assert jobs.inputs == ["first"]
    row = RunInput.objects.get(pk=input_id)
    assert (bool(row.taken_at), row.next_run) == (taken, "")


def test_inputs_that_were_taken_just_before_the_end_are_no_next_run() -> None:
    [first] = start("first")
    assert not end(first, Jobs(), taken=[steer(first, "second")])
    assert not Run.objects.filter(IS_ACTIVE).exists()


def test_a_queued_run_that_is_cancelled_keeps_its_inputs() -> None:
    [first] = start("first")
    steer(first, "second")
    with transaction.atomic():
        recovery.release(Claim(first.id, first.worker, first.attempt), Jobs())
    steer(first, "third")
    with transaction.atomic():
        leases.request_cancel([first.id], Jobs())
    assert not Run.objects.filter(IS_ACTIVE).exists()
    with pytest.raises(RunEnded):
        steer(first, "late")


def test_a_checkpoint_looks_for_inputs_only_after_all_results() -> None:
    [first] = start("first")
    found = steer(first, "second")
    two = Message("assistant", [*CALL.parts, ToolCallPart("b", "t", "{}")])
    cases = [([CALL], 0), ([two, RESULT], 0), ([CALL, RESULT], 1)]
    for messages, expected in cases:
        progress = Progress(messages=messages)
        state = State.of(OwnedRun.of(first), progress, len(messages))
        checkpoint = Checkpoint(state, ())
        with transaction.atomic():
            checkpoint(0)
            transaction.set_rollback(True)
        assert [each.id for each in checkpoint.untaken] == [found] * expected


def test_a_checkpoint_without_inputs_costs_one_more_statement() -> None:
    [first] = start("first")
    progress = Progress(messages=[CALL, RESULT])
    state = State.of(OwnedRun.of(first), progress, 2)
    with CaptureQueriesContext(connection) as alone:
        store.checkpoint(state, 0)
    with CaptureQueriesContext(connection) as whole:
        Checkpoint(state, ())(0)
    # The second one finds the messages saved: it inserts none, and touches nothing.
    assert len(whole) <= len(alone) + 1
    assert sum(RunInput._meta.db_table in each["sql"] for each in whole) == 1


def test_a_start_that_steers_nothing_reads_no_inputs() -> None:
    with CaptureQueriesContext(connection) as statements:
        start("first", on_busy="steer")
    table = RunInput._meta.db_table
    assert not any(table in each["sql"] for each in statements)


def test_only_the_user_of_a_run_steers_it() -> None:
    [first] = start("first")
    bob = Principal("acme", user="bob")
    with pytest.raises(Forbidden), transaction.atomic():
        inputs.add(first.id, bob, "second", 0)
    asked = request("second", "steer")
    result = _start(structs.replace(asked, principal=bob))
    assert (result.run.status, result.message_id) == (RunStatus.PENDING, "")


def test_a_run_of_another_agent_is_not_steered() -> None:
    [first] = start("first")
    Run.objects.filter(pk=first.pk).update(agent="other")
    assert _start(request("second", "steer")).run.status == RunStatus.PENDING


def test_a_run_that_is_being_cancelled_is_not_steered() -> None:
    [first] = start("first")
    with transaction.atomic():
        leases.request_cancel([first.id], Jobs())
    assert _start(request("second", "steer")).run.status == RunStatus.PENDING
    with pytest.raises(RunEnded):
        steer(first, "third")


@pytest.mark.postgresql
def test_an_end_that_waits_for_an_input_sees_it() -> None:
    [first] = start("first")
    jobs = Jobs()
    late = Overlap(partial(inputs.add, first.id, ACME, "second", 0))
    late.until_done()
    ends = Overlap(partial(end, first, jobs, taken=[]))
    ends.until_blocked()
    late.commit()
    assert ends.commit()
    assert Run.objects.get(IS_ACTIVE).input == "second"


@pytest.mark.postgresql
def test_an_input_that_waits_for_the_end_is_refused() -> None:
    [first] = start("first")
    ends = Overlap(partial(end, first, Jobs(), taken=[]))
    ends.until_done()
    late = Overlap(partial(inputs.add, first.id, ACME, "second", 0))
    late.until_blocked()
    ends.commit()
    with pytest.raises(RunEnded):
        late.commit()
    assert not RunInput.objects.exists()


@pytest.mark.postgresql
def test_a_request_that_waits_for_the_end_starts_a_run() -> None:
    [first] = start("first")
    ends = Overlap(partial(end, first, Jobs(), taken=[]))
    ends.until_done()
    late = Overlap(partial(_start, request("second", "steer")))
    late.until_blocked()
    ends.commit()
    late.commit()
    assert Run.objects.get(IS_ACTIVE).input == "second"
    assert not RunInput.objects.exists()


@pytest.mark.postgresql
def test_a_checkpoint_that_waits_for_an_input_finds_it() -> None:
    [first] = start("first")
    progress = Progress(messages=[CALL, RESULT])
    checkpoint = Checkpoint(State.of(OwnedRun.of(first), progress, 2), ())
    late = Overlap(partial(inputs.add, first.id, ACME, "second", 0))
    late.until_done()
    saving = Overlap(partial(checkpoint, 0))
    saving.until_blocked()
    late.commit()
    saving.commit()
    assert [each.text for each in checkpoint.untaken] == ["second"]


def test_a_deleted_run_takes_its_inputs_with_it() -> None:
    [first] = start("first")
    steer(first, "second")
    first.conversation.delete()
    assert not RunInput.objects.exists()
    assert stored_log().newest(first.id) is None
