"""The pending runs of a conversation against a list, in whatever order things happen.

Runs are started, claimed, ended, cancelled, changed and reordered, and an earlier
version of the app ends one without a thought for the others.
"""

import itertools
from contextlib import suppress

import pytest
from django.db import transaction
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from msgspec import structs

from streaming.event_log import OwnershipLost, stored_log
from streaming.exceptions import (
    ConversationBusy,
    InvalidRequest,
    NotPending,
    QueueChanged,
    RateLimited,
)
from streaming.models import IS_ACTIVE, Conversation, Run, RunStatus
from streaming.principals import Principal
from streaming.runs import leases, lifecycle, pending
from streaming.runs.start import start_runs
from tests import campaign
from tests.runs import test_pending
from tests.runs.test_pending import CLAIMED, Jobs, request

LIMITED = structs.replace(CLAIMED, max_pending=4)
ACME = Principal("acme")
names = itertools.count(1)
CHOICE = st.integers(0, 9)
#: The ends of a run that its worker executes.
WAYS = st.sampled_from([test_pending.finish, test_pending.fail, test_pending.lose])


class Queue(RuleBasedStateMachine):
    """One conversation, and the list of what is expected of it."""

    def __init__(self) -> None:
        super().__init__()
        self.name = f"conversation {next(names)}"
        self.jobs = Jobs()
        #: The ids of the active run and of the pending ones, in order.
        self.active = ""
        self.pending: list[str] = []
        self.is_claimed = self.is_told = False
        self.ended: list[str] = []
        #: The inputs by id, and those of the runs that have begun, in order.
        self.inputs: dict[str, str] = {}
        self.questions: list[str] = []

    @property
    def key(self) -> int:
        return Conversation.objects.get(conversation_id=self.name).pk

    def chosen(self, numbers: set[int]) -> list[str]:
        """Return some of all runs, the newest first."""
        known = [*self.pending, self.active, *reversed(self.ended)]
        return [each for at, each in enumerate(known) if each and at in numbers]

    def begin(self, run_id: str, *, claimed: bool) -> None:
        self.active, self.is_claimed, self.is_told = run_id, claimed, False
        self.questions.append(self.inputs[run_id])

    def follow(self) -> None:
        """Expect that the active run has ended."""
        self.ended.append(self.active)
        self.active = ""
        if self.pending:
            self.begin(self.pending.pop(0), claimed=False)

    @rule(on_busy=st.sampled_from(["reject", "queue", "queue", "interrupt"]))
    def start(self, on_busy: str) -> None:
        text = f"question {next(names)}"
        try:
            with transaction.atomic():
                asked = request(text, on_busy, self.name)
                [result] = start_runs([asked], LIMITED, self.jobs)
        except ConversationBusy as error:
            assert (on_busy, error.run_id) == ("reject", self.active)
            return
        except RateLimited:
            assert len(self.pending) == 4
            return
        run_id = result.run.id
        self.inputs[run_id] = text
        assert result.begins == (not self.active)
        interrupts = self.active if on_busy == "interrupt" else ""
        assert result.interrupts == interrupts
        if not self.active:
            return self.begin(run_id, claimed=True)
        at = 0 if interrupts else len(self.pending)
        self.pending.insert(at, run_id)
        assert result.run.position == at + 1

    @precondition(lambda self: self.active and not self.is_claimed)
    @rule()
    def claim(self) -> None:
        with transaction.atomic():
            claims = lifecycle.claim_all([self.active, *self.pending], "here")
        assert [claim.id for claim in claims] == [self.active]
        self.is_claimed = True

    @precondition(lambda self: self.active and self.is_claimed)
    @rule(way=WAYS)
    def end(self, way: object) -> None:
        assert callable(way)
        run = Run.objects.select_related("organization", "conversation").get(
            pk=self.active
        )
        if self.is_told:
            way = test_pending.finish  # an orphan that was cancelled does not fail
        with transaction.atomic():
            way(run, self.jobs)
        with suppress(OwnershipLost), transaction.atomic():  # as if without an answer
            test_pending.finish(run, self.jobs)
        self.follow()

    @precondition(lambda self: self.active)
    @rule()
    def end_as_an_earlier_version(self) -> None:
        Run.objects.filter(pk=self.active).update(status=RunStatus.COMPLETED)
        if self.pending:
            assert pending.find_idle() == [self.key]
        for _ in range(2):
            with transaction.atomic():
                pending.advance(pending.find_idle(), self.jobs)
        self.follow()

    @rule(numbers=st.sets(CHOICE, max_size=3))
    def cancel(self, numbers: set[int]) -> None:
        chosen = self.chosen(numbers)
        for _ in range(2):  # the answer to the first one may be lost
            with transaction.atomic():
                leases.request_cancel(chosen, self.jobs)
            self.ended += [each for each in self.pending if each in chosen]
            self.pending = [each for each in self.pending if each not in chosen]
            if self.active in chosen and self.is_claimed:
                self.is_told = True
            elif self.active in chosen:
                self.follow()

    @rule(number=CHOICE)
    def change(self, number: int) -> None:
        for run_id in self.chosen({number}):
            text = f"changed {next(names)}"
            try:
                with transaction.atomic():
                    pending.change_input(run_id, ACME, text)
                self.inputs[run_id] = text
                assert run_id in self.pending
            except NotPending:
                assert run_id not in self.pending

    @precondition(lambda self: self.pending)
    @rule(data=st.data(), numbers=st.sets(CHOICE, max_size=1))
    def reorder(self, data: st.DataObject, numbers: set[int]) -> None:
        order = data.draw(st.permutations(self.pending)) + self.chosen(numbers)
        try:
            with transaction.atomic():
                pending.reorder(self.key, order)
            assert set(order) == set(self.pending)
            self.pending = order
        except QueueChanged:
            assert set(order) != set(self.pending)
        except InvalidRequest:
            assert len(set(order)) < len(order)

    @precondition(lambda self: self.pending)
    @rule()
    def clear(self) -> None:
        with transaction.atomic():
            assert pending.clear(self.key) == set(self.pending)
        self.ended += self.pending
        self.pending = []

    @invariant()
    def the_rows_are_as_expected(self) -> None:
        runs = Run.objects.filter(conversation__conversation_id=self.name)
        key = Conversation.objects.filter(conversation_id=self.name).first()
        found = list(pending.of_conversation(key.pk)) if key else []
        assert [run.id for run in found] == self.pending
        positions = [pending.with_position(run).position for run in found]
        assert positions == list(range(1, len(found) + 1))
        active = [run.id for run in runs.filter(IS_ACTIVE)]
        assert active == [self.active] * bool(self.active)
        told = [
            row.parts[0]["text"]
            for run in runs
            for row in run.messages.filter(role="user")
        ]
        assert sorted(told) == sorted(self.questions)
        if key:
            rows = key.messages.filter(role="user").order_by("id")
            assert [row.parts[0]["text"] for row in rows] == self.questions
        for run in runs.exclude(pk__in=[*self.pending, self.active]):
            assert run.has_ended
            assert run.place is None
        assert self.jobs.inputs == self.questions


@pytest.mark.usefixtures("transactional_db")
def test_pending_runs_are_a_list() -> None:
    examples = campaign.examples(10)
    run_state_machine_as_test(
        Queue, settings=settings(max_examples=examples, stateful_step_count=30)
    )


@pytest.mark.usefixtures("transactional_db")
def test_a_cancelled_pending_run_has_a_log_of_one_row() -> None:
    _, second = test_pending.start("first", "second")
    with transaction.atomic():
        leases.request_cancel([second.id], Jobs())
    assert [entry.type for entry in stored_log().read(second.id)] == [
        "complete",
        "done",
    ]
    second.refresh_from_db()
    assert (second.status, second.log_state) == ("cancelled", "compacted")
