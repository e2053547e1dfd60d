"""Pending runs: each starts once, in order, whatever ends the run before it."""

from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from msgspec import structs

from streaming.agent.progress import Progress
from streaming.agents.loops import make_loops
from streaming.exceptions import ConversationBusy
from streaming.messages import Message, TextPart
from streaming.models import IS_ACTIVE, Conversation, LogState, Run, RunStatus
from streaming.principals import Principal
from streaming.runs import deletion, leases, lifecycle, pending, recovery, store
from streaming.runs.ends import FailRuns, FinishRuns
from streaming.runs.recovery import Policy
from streaming.runs.start import RunDefaults, RunRequest, StartResult, start_runs
from streaming.runs.store import OwnedRun

pytestmark = pytest.mark.usefixtures("transactional_db")

LATER = timezone.now() + timedelta(days=1)
CLAIMED = RunDefaults(worker="here", agents=make_loops(), history_chars=1000)


class Jobs:
    """The jobs that an executor has inserted, by the inputs of their runs."""

    def __init__(self) -> None:
        self.inputs: list[str] = []

    def __call__(self, runs: Sequence[Run]) -> None:
        assert {run.status for run in runs} <= {RunStatus.QUEUED, RunStatus.RUNNING}
        self.inputs += [run.input for run in runs]


def request(text: str, on_busy: str = "queue", conversation: str = "c") -> RunRequest:
    return RunRequest(
        input=text,
        principal=Principal("acme"),
        conversation_id=conversation,
        request_hash="of a body",
        on_busy=on_busy,
    )


def start(*texts: str, on_busy: str = "queue", jobs: Jobs | None = None) -> list[Run]:
    """Start runs, each in a transaction of its own."""
    return [_start(request(text, on_busy), jobs).run for text in texts]


def _start(asked: RunRequest, jobs: Jobs | None = None) -> StartResult:
    with transaction.atomic():
        [result] = start_runs([asked], CLAIMED, jobs or Jobs())
    return result


def waiting() -> list[str]:
    """The inputs of the pending runs of the conversation, in order."""
    key = Conversation.objects.get(conversation_id="c").pk
    return [run.input for run in pending.of_conversation(key)]


def ending(run: Run) -> tuple[store.RunResult, LogState]:
    progress = Progress(messages=[Message("assistant", [TextPart("yes")])])
    return store.RunResult(OwnedRun.of(run), progress, None, 0), LogState.COMPACTED


def finish(run: Run, jobs: Jobs) -> None:
    FinishRuns(jobs)([ending(run)])


def fail(run: Run, jobs: Jobs) -> None:
    FailRuns(jobs)([(OwnedRun.of(run), LogState.COMPACTED)])


def lose(run: Run, jobs: Jobs) -> None:
    """Have another process find the lease expired: no further attempt is allowed."""
    before = float("inf")
    policy = Policy(1, jobs)
    assert recovery.recover_orphan(run.id, LATER, before, policy) == RunStatus.FAILED


def cancel_lost(run: Run, jobs: Jobs) -> None:
    """Have another process find the expired lease of a run that was cancelled."""
    leases.request_cancel([run.id], jobs)
    status = recovery.recover_orphan(run.id, LATER, float("inf"), Policy(3, jobs))
    assert status == RunStatus.CANCELLED


def cancel_queued(run: Run, jobs: Jobs) -> None:
    Run.objects.filter(pk=run.pk).update(status=RunStatus.QUEUED, worker="")
    assert leases.request_cancel([run.id], jobs) == {run.id}


def release_cancelled(run: Run, jobs: Jobs) -> None:
    """Have the owner return a cancelled run to the queue, before its execution."""
    leases.request_cancel([run.id], jobs)
    recovery.release(lifecycle.Claim(run.id, run.worker, run.attempt), jobs)


ENDS: list[Callable[[Run, Jobs], None]] = [
    finish,
    fail,
    lose,
    cancel_lost,
    cancel_queued,
    release_cancelled,
]


@pytest.mark.parametrize("end", ENDS)
def test_the_first_pending_run_follows_in_the_transaction_of_an_end(
    end: Callable[[Run, Jobs], None],
) -> None:
    jobs = Jobs()
    first, second, _ = start("first", "second", "third", jobs=jobs)
    assert waiting() == ["second", "third"]
    with transaction.atomic():
        end(first, jobs)
    assert jobs.inputs == ["first", "second"]
    assert waiting() == ["third"]
    second.refresh_from_db()
    assert (second.status, second.place, second.worker) == ("queued", None, "")
    assert list(second.messages.values_list("role", flat=True)) == ["user"]
    assert Run.objects.filter(IS_ACTIVE).get() == second


@pytest.mark.parametrize("end", [fail, lose, cancel_lost, cancel_queued])
def test_a_repeated_answer_without_a_message_leaves_the_earlier_one(
    end: Callable[[Run, Jobs], None],
) -> None:
    [first] = start("first")
    finish(first, Jobs())
    again = _start(structs.replace(request(""), regenerate=first.id)).run
    assert Conversation.objects.get().head == again.question
    with transaction.atomic():
        end(again, Jobs())
    conversation = Conversation.objects.get()
    assert (conversation.head, conversation.is_branched) == (None, False)


def test_pending_runs_and_inputs_cost_the_end_of_another_run_a_statement_each() -> None:
    [run] = start("first")
    with CaptureQueriesContext(connection) as without:
        FinishRuns(Jobs())([ending(run)])
    [run] = start("second")
    with CaptureQueriesContext(connection) as alone:
        store.finish_runs([ending(run)])
    assert len(without) == len(alone) + 2
    [look] = [each["sql"] for each in without if "'pending'" in each["sql"]]
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(f"EXPLAIN QUERY PLAN {look}")
            assert "INDEX run_pending" in str(cursor.fetchall())


def test_a_start_without_on_busy_has_no_statement_for_pending_runs() -> None:
    with CaptureQueriesContext(connection) as queries:
        start("first", on_busy="reject")
    statements = [query["sql"] for query in queries]
    assert ["requested" in each for each in statements if "'pending'" in each] == [True]
    assert not [each for each in statements if "FOR NO" in each]
    with pytest.raises(ConversationBusy):
        start("second", on_busy="reject")


def test_several_requests_of_one_transaction_get_positions_in_their_order() -> None:
    start("first")
    with transaction.atomic():
        asked = [request(text) for text in ("a", "b")]
        asked += [request("c", "interrupt"), request("d", conversation="d")]
        results = start_runs(asked, CLAIMED, Jobs())
    assert waiting() == ["c", "a", "b"]
    assert [result.run.position for result in results] == [1, 2, 1, None]
    assert [bool(result.interrupts) for result in results] == [
        False,
        False,
        True,
        False,
    ]
    assert [result.begins for result in results] == [False, False, False, True]


def test_runs_of_several_conversations_are_cancelled_together() -> None:
    jobs = Jobs()
    first, second, third = start("first", "second", "third")
    other = _start(request("other", conversation="d")).run
    Run.objects.filter(pk=first.pk).update(status=RunStatus.QUEUED, worker="")
    with transaction.atomic():
        ids = [third.id, other.id, first.id, "unknown"]
        assert leases.request_cancel(ids, jobs) == {first.id, third.id, other.id}
    assert jobs.inputs == ["second"]
    states = {run.input: run.status for run in Run.objects.all()}
    assert states == {
        "first": "cancelled",
        "second": "queued",
        "third": "cancelled",
        "other": "running",
    }
    assert Run.objects.get(pk=other.pk).cancel_requested_at


def test_a_pending_run_whose_conversation_is_idle_is_found() -> None:
    """As after the end of the active run by a process of an earlier version."""
    jobs = Jobs()
    first, _ = start("first", "second")
    assert pending.find_idle() == []
    Run.objects.filter(pk=first.pk).update(status=RunStatus.COMPLETED)
    keys = pending.find_idle()
    assert keys == [first.conversation_id]
    for _ in range(2):
        with transaction.atomic():
            pending.advance(keys, jobs)
    assert jobs.inputs == ["second"]
    assert pending.find_idle() == []


def test_a_deletion_takes_pending_runs_first() -> None:
    first, _, _ = start("first", "second", "third")
    chosen = Conversation.objects.filter(pk=first.conversation_id)
    with transaction.atomic():
        deletion._delete_content([first.conversation_id], 1)
    assert list(Run.objects.all()) == [first]
    with transaction.atomic():
        assert deletion.delete_some(chosen).active == [first.id]
    assert not Run.objects.exists()


def test_a_start_in_a_deleted_conversation_is_repeated() -> None:
    [first] = start("first")
    with pytest.raises(Exception, match="deleted"), transaction.atomic():
        pending.take_turns({0: (first.conversation_id, False), 1: (-1, False)}, 0)


def test_a_start_waits_behind_pending_runs_that_nothing_has_promoted() -> None:
    jobs = Jobs()
    first, second = start("first", "second")
    Run.objects.filter(pk=first.pk).update(status=RunStatus.COMPLETED)
    with pytest.raises(ConversationBusy) as refused:
        start("third", on_busy="reject")
    assert refused.value.run_id == second.id
    urgent, third = (
        _start(request(*asked)).run
        for asked in (("urgent", "interrupt"), ("third", "queue"))
    )
    assert (urgent.status, third.status) == ("pending", "pending")
    assert not urgent.interrupts
    with transaction.atomic():
        pending.advance([first.conversation_id], jobs)
    assert jobs.inputs == ["urgent"]
    assert waiting() == ["second", "third"]


def test_an_interruption_is_completed_although_its_process_died() -> None:
    """The run is pending, and the active one was not cancelled."""
    [first] = start("first")
    asked = structs.replace(request("now", "interrupt"), idempotency_key="k")
    assert _start(asked).interrupts == first.id
    assert _start(asked).interrupts == first.id  # the request is repeated
    assert pending.find_interrupted() == [first.id]
    with transaction.atomic():
        leases.request_cancel([first.id], Jobs())
    assert pending.find_interrupted() == []
    later = _start(request("later", "interrupt")).run
    with transaction.atomic():
        finish(first, Jobs())
    active = Run.objects.get(IS_ACTIVE)
    assert active == later
    # The other run interrupts only the run that was active when it was requested.
    assert waiting() == ["now"]
    assert pending.find_interrupted() == []
    assert _start(asked).interrupts == first.id
    with transaction.atomic():
        assert leases.request_cancel([first.id], Jobs()) == set()


def test_a_place_among_many_pending_runs_reads_none_of_their_rows() -> None:
    start("first", *(f"question {n}" for n in range(20)))
    with CaptureQueriesContext(connection) as queries:
        [last] = start("last")
        assert pending.with_position(last).position == 21
    [urgent] = start("urgent", on_busy="interrupt")
    assert (urgent.position, pending.with_position(last).position) == (1, 22)
    reads = [
        q["sql"] for q in queries if "'pending'" in q["sql"] and "COUNT" in q["sql"]
    ]
    assert len(reads) == 2
    assert not [q for q in queries if 'ORDER BY "streaming_run"."place"' in q["sql"]]
