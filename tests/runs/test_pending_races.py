"""Pending runs in transactions that overlap, in the orders that lose something."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial

import pytest
from django.db import IntegrityError, OperationalError, connection, transaction
from msgspec import structs

from streaming.agent.progress import Progress
from streaming.budgets import accounts
from streaming.budgets.accounts import Use
from streaming.budgets.limits import Amounts, CallerLimit
from streaming.event_log import OwnershipLost
from streaming.exceptions import NotPending, QueueChanged
from streaming.models import (
    IS_ACTIVE,
    Account,
    Conversation,
    Reservation,
    Run,
    RunStatus,
)
from streaming.models import Message as MessageRow
from streaming.principals import Principal
from streaming.runs import deletion, leases, pending, recovery, store
from streaming.runs.start import StartResult, start_runs
from tests.client import SECONDS
from tests.runs.test_pending import (
    CLAIMED,
    LATER,
    Jobs,
    _start,
    finish,
    lose,
    request,
    start,
    waiting,
)

pytestmark = [pytest.mark.usefixtures("transactional_db"), pytest.mark.postgresql]

ACME = Principal("acme")


class Overlap:
    """A transaction in a thread, which stays open until `commit`."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._done, self._commit = threading.Event(), threading.Event()
        self._pool = ThreadPoolExecutor(1)
        self._future: Future[object] = self._pool.submit(self._run, work)

    def _run(self, work: Callable[[], object]) -> object:
        try:
            with transaction.atomic():
                result = work()
                self._done.set()
                assert self._commit.wait(SECONDS)
            return result
        finally:
            connection.close()

    def until_done(self) -> None:
        """Wait for the work, before the commit."""
        assert self._done.wait(SECONDS)

    def until_blocked(self) -> None:
        """Wait until the work waits for a lock of another transaction."""
        deadline = time.monotonic() + SECONDS
        with connection.cursor() as cursor:
            while time.monotonic() < deadline:
                cursor.execute("SELECT FROM pg_locks WHERE NOT granted")
                if cursor.fetchall():
                    return
                time.sleep(0.01)
        raise AssertionError("no transaction waits")

    def commit(self) -> object:
        self._commit.set()
        result = self._future.result(SECONDS)
        self._pool.shutdown()
        return result


def test_a_start_that_waits_for_the_end_of_the_active_run_starts_at_once() -> None:
    [first] = start("first")
    end = Overlap(partial(finish, first, Jobs()))
    end.until_done()
    late = Overlap(partial(_start, request("second")))
    late.until_blocked()
    end.commit()
    late.commit()
    assert waiting() == []
    assert Run.objects.get(IS_ACTIVE).input == "second"


def test_a_start_that_waits_for_the_end_of_a_repeated_answer_follows_it() -> None:
    [first] = start("first")
    finish(first, Jobs())
    asked = structs.replace(request(""), regenerate=first.id)
    end = Overlap(partial(finish, _start(asked).run, Jobs()))
    end.until_done()
    late = Overlap(partial(_start, request("second")))
    late.until_blocked()
    end.commit()
    started = late.commit()
    assert isinstance(started, StartResult)
    assert started.history
    texts = [message.text for message in started.history()]
    assert texts == ["first", "yes", "second"]
    question = MessageRow.objects.get(run=started.run)
    assert question.parent is None  # not the first question, as the answer


def test_the_end_of_a_run_that_waits_for_a_start_sees_its_run() -> None:
    [first] = start("first")
    jobs = Jobs()
    late = Overlap(partial(_start, request("second")))
    late.until_done()
    end = Overlap(partial(finish, first, jobs))
    end.until_blocked()
    late.commit()
    end.commit()
    assert jobs.inputs == ["second"]
    assert Run.objects.get(IS_ACTIVE).input == "second"


def test_a_change_of_the_input_that_waits_for_the_promotion_is_refused() -> None:
    first, second = start("first", "second")
    end = Overlap(partial(finish, first, Jobs()))
    end.until_done()
    change = Overlap(partial(pending.change_input, second.id, ACME, "late"))
    change.until_blocked()
    end.commit()
    with pytest.raises(NotPending):
        change.commit()
    assert Run.objects.get(IS_ACTIVE).input == "second"


def test_a_promotion_that_waits_for_a_change_of_the_input_takes_the_new_one() -> None:
    first, second = start("first", "second")
    change = Overlap(partial(pending.change_input, second.id, ACME, "changed"))
    change.until_done()
    end = Overlap(partial(finish, first, Jobs()))
    end.until_blocked()
    change.commit()
    end.commit()
    told = MessageRow.objects.filter(role="user").order_by("id").last()
    assert told and told.parts[0]["text"] == "changed"


def test_a_cancel_that_waits_for_the_promotion_reaches_the_promoted_run() -> None:
    first, second = start("first", "second")
    end = Overlap(partial(finish, first, Jobs()))
    end.until_done()
    cancel = Overlap(partial(leases.request_cancel, [second.id], Jobs()))
    cancel.until_blocked()
    end.commit()
    assert cancel.commit() == {second.id}
    assert Run.objects.get(pk=second.id).status == RunStatus.CANCELLED


def test_a_cancel_of_the_active_run_and_the_next_reaches_the_promoted_one() -> None:
    first, second = start("first", "second")
    end = Overlap(partial(finish, first, Jobs()))
    end.until_done()
    both = [first.id, second.id]
    cancel = Overlap(partial(leases.request_cancel, both, Jobs()))
    cancel.until_blocked()
    end.commit()
    assert cancel.commit() == {second.id}
    assert Run.objects.get(pk=second.id).status == RunStatus.CANCELLED


def test_a_promotion_that_waits_for_a_cancel_takes_the_next_run() -> None:
    first, second, third = start("first", "second", "third")
    cancel = Overlap(partial(leases.request_cancel, [second.id], Jobs()))
    cancel.until_done()
    end = Overlap(partial(finish, first, Jobs()))
    end.until_blocked()
    cancel.commit()
    end.commit()
    assert Run.objects.get(IS_ACTIVE) == third


def test_an_order_that_waits_for_the_promotion_is_refused() -> None:
    first, second, third = start("first", "second", "third")
    end = Overlap(partial(finish, first, Jobs()))
    end.until_done()
    order = [third.id, second.id]
    change = Overlap(partial(pending.reorder, first.conversation_id, order))
    change.until_blocked()
    end.commit()
    with pytest.raises(QueueChanged):
        change.commit()


class TwoSteps:
    """Work that takes locks of a second kind once `proceed` was called."""

    def __init__(self, first: Callable[[], object], then: Callable[[], object]) -> None:
        self._first, self._then = first, then
        self._has_first, self._proceed = threading.Event(), threading.Event()
        self.overlap = Overlap(self._work)
        assert self._has_first.wait(SECONDS)

    def _work(self) -> object:
        self._first()
        self._has_first.set()
        assert self._proceed.wait(SECONDS)
        return self._then()

    def proceed(self) -> None:
        """Take the other locks, and commit."""
        self._proceed.set()
        self.overlap.commit()


def test_a_deletion_locks_the_active_run_before_its_conversation() -> None:
    first, _ = start("first", "second")
    end = TwoSteps(
        lambda: list(leases.lock_active([first.id])),
        lambda: pending.lock([first.conversation_id]),
    )
    chosen = Conversation.objects.filter(pk=first.conversation_id)
    removal = Overlap(partial(deletion.delete_some, chosen))
    removal.until_blocked()
    end.proceed()
    removal.until_done()
    removal.commit()
    assert not Run.objects.exists()


def hand_over(run: Run, jobs: Jobs) -> None:
    """Have the owner return a cancelled run to the queue in the middle of a call."""
    state = store.State(store.OwnedRun.of(run), [], {})
    given = recovery.HandOver(state, [], Progress(), has_shown=False, is_working=True)
    recovery.hand_over(given, jobs, 0)


def recover(run: Run, jobs: Jobs) -> None:
    recovery.recover_orphan(run.id, LATER, float("inf"), recovery.Policy(3, jobs))


@pytest.mark.parametrize(
    ("end", "is_cancelled"), [(lose, False), (recover, True), (hand_over, True)]
)
def test_the_end_of_a_lost_run_locks_its_conversation_before_its_accounts(
    end: Callable[[Run, Jobs], None], is_cancelled: bool
) -> None:
    limits = [CallerLimit("user:7", "this user", Amounts(tokens_per_day=10), {})]
    first, _ = start("first", "second")
    if is_cancelled:
        with transaction.atomic():
            leases.request_cancel([first.id], Jobs())
    with transaction.atomic():
        assert accounts.reserve(first.id, 1, limits, Use(1, 0), Use()) is None
    late = TwoSteps(
        lambda: pending.lock([first.conversation_id]),
        lambda: list(Account.objects.select_for_update()),
    )
    loss = Overlap(partial(end, first, Jobs()))
    loss.until_blocked()
    late.proceed()
    loss.until_done()
    loss.commit()
    assert Run.objects.get(IS_ACTIVE).input == "second"
    assert not Reservation.objects.exists()


def test_a_start_with_a_limit_delays_no_other_rows_of_the_organization() -> None:
    [first] = start("first")
    defaults = structs.replace(CLAIMED, max_runs_per_org=9)
    asked = request("other", conversation="d")
    late = Overlap(partial(start_runs, [asked], defaults, Jobs()))
    late.until_done()
    organization = first.organization
    copy = Overlap(partial(organization.conversations.create, conversation_id="e"))
    copy.until_done()
    copy.commit()
    late.commit()


@contextmanager
def threads(work: Callable[[int], None], count: int) -> Iterator[None]:
    """Call `work` in some threads, each with a number."""

    def run(number: int) -> None:
        try:
            work(number)
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        calls = [pool.submit(run, number) for number in range(count)]
        yield
        for call in calls:
            call.result()


def test_no_run_is_lost_among_processes_that_do_everything_at_once() -> None:
    [first] = start("first")
    conversation, jobs = first.conversation_id, Jobs()
    asked = threading.Event()
    conflicts: list[str] = []

    def repeatedly(work: Callable[[], object]) -> None:
        """Repeat a transaction that lost a race, as the writers of processes do."""
        for _ in range(100):
            try:
                with transaction.atomic():
                    work()
                return
            except IntegrityError:
                continue
            except OperationalError as error:
                conflicts.append(str(error))
        raise AssertionError("a transaction never succeeded")

    def ask(number: int) -> None:
        dice = random.Random(number)
        for at in range(8):
            text = f"{number}.{at}"
            on_busy = dice.choice(["queue", "queue", "interrupt"])
            repeatedly(lambda: _start(request(text, on_busy), jobs))  # noqa: B023
            order = list(pending.of_conversation(conversation))
            dice.shuffle(order)
            with suppress(QueueChanged, NotPending):
                with transaction.atomic():
                    pending.reorder(conversation, [run.id for run in order])
                if order:
                    pending.change_input(order[0].id, ACME, order[0].input)
            if order and dice.random() < 0.3:
                chosen = [run.id for run in order[:2]]
                repeatedly(lambda: leases.request_cancel(chosen, jobs))  # noqa: B023

    def end(number: int) -> None:
        while not asked.is_set() or Run.objects.filter(IS_ACTIVE).exists():
            for run in Run.objects.filter(IS_ACTIVE).select_related("conversation"):
                Run.objects.filter(pk=run.pk, status=RunStatus.QUEUED).update(
                    status=RunStatus.RUNNING, worker=f"w{number}", attempt=1
                )
                run.refresh_from_db()
                if run.status == RunStatus.RUNNING:
                    with suppress(OwnershipLost):  # the other thread was first
                        repeatedly(partial(finish, run, jobs))

    with threads(end, 2):
        try:
            with threads(ask, 4):
                pass
        finally:
            asked.set()
    ended = list(Run.objects.values_list("input", "status"))
    assert len(ended) == 33
    assert {status for _, status in ended} <= {"completed", "cancelled"}
    questions = MessageRow.objects.filter(role="user").count()
    answered = MessageRow.objects.filter(role="assistant").count()
    assert answered == sum(status == "completed" for _, status in ended)
    assert questions >= answered
    assert not [each for each in conflicts if "deadlock" in each]
