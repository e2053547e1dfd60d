"""The inputs of runs against lists, in whatever order things happen.

Each text is a message of the run that has taken it, or a part of the question of the
next run, or stays with a cancelled run; never two of these, and never none.
"""

import itertools

import pytest
from django.db import transaction
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from msgspec import structs

from streaming.agent.progress import Progress
from streaming.exceptions import RunEnded
from streaming.messages import (
    Message,
    ToolCallPart,
    ToolResultPart,
    steering_message,
)
from streaming.models import IS_ACTIVE, LogState, Run, RunInput, RunStatus, new_run_id
from streaming.models import Message as MessageRow
from streaming.runs import inputs, leases, lifecycle, recovery
from streaming.runs.checkpoints import Checkpoint
from streaming.runs.ends import FailRuns, FinishRuns
from streaming.runs.inputs import NextRunNeeded
from streaming.runs.lifecycle import Claim
from streaming.runs.recovery import Policy
from streaming.runs.start import start_runs
from streaming.runs.store import OwnedRun, RunResult, State
from tests import campaign
from tests.runs.test_inputs import ACME
from tests.runs.test_pending import CLAIMED, LATER, Jobs, request

names = itertools.count(1)


class Steered(RuleBasedStateMachine):
    """One conversation, and what is expected of its texts."""

    def __init__(self) -> None:
        super().__init__()
        self.name = f"steered {next(names)}"
        self.texts = itertools.count(1)
        self.jobs = Jobs()
        self.progress = Progress()
        #: The texts that wait, of the active run.
        self.waiting: list[str] = []
        #: The texts of the user in the conversation, in order, and those returned.
        self.told: list[str] = []
        self.returned: list[str] = []
        self.start("queue")

    @property
    def active(self) -> Run | None:
        runs = Run.objects.select_related("organization", "conversation")
        return runs.filter(IS_ACTIVE, conversation__conversation_id=self.name).first()

    def owned(self) -> OwnedRun | None:
        """Return the active run, claimed; a new attempt begins as attempts do."""
        run = self.active
        if run and run.status == RunStatus.QUEUED:
            with transaction.atomic():
                assert lifecycle.claim(run.id, "here")
            rows = run.messages.order_by("id").values_list("role", flat=True)
            saved = len(rows) - 1
            self.progress = Progress(settled=saved)
            self.progress.messages = [steering_message("")] * saved
            run = self.active
        return OwnedRun.of(run) if run else None

    def text(self) -> str:
        return f"text {next(self.texts)}"

    @rule(on_busy=st.sampled_from(["queue", "steer"]))
    def start(self, on_busy: str) -> None:
        text, active = self.text(), self.active
        steers = active and on_busy == "steer" and not active.cancel_requested_at
        if active and not steers:
            return
        asked = structs.replace(request(text, on_busy), conversation_id=self.name)
        with transaction.atomic():
            [result] = start_runs([asked], CLAIMED, self.jobs)
        assert bool(result.message_id) == bool(steers)
        if steers:
            self.waiting.append(text)
        else:
            self.told.append(text)
            self.progress = Progress()

    @rule()
    def steer(self) -> None:
        text, active = self.text(), self.active
        run = active or Run.objects.filter(conversation__conversation_id=self.name)[0]
        try:
            with transaction.atomic():
                inputs.add(run.id, ACME, text, 0)
        except RunEnded:
            assert active is None or active.cancel_requested_at
        else:
            self.waiting.append(text)

    @rule(dies=st.sampled_from(["", "before", "after"]))
    def use_a_tool(self, dies: str) -> None:
        """Take texts after a tool, as an owner does; or die on the way."""
        if (run := self.owned()) is None:
            return
        call = f"call {next(self.texts)}"
        self.progress.messages += [
            Message("assistant", [ToolCallPart(call, "t", "{}")]),
            Message("tool", [ToolResultPart(call, "t", "r")]),
        ]
        found = self.checkpoint(run)
        if dies == "before":
            return self.die()
        for each in found.untaken:
            self.progress.messages.append(steering_message(each.text))
        self.progress.taken += [each.id for each in found.untaken]
        if found.untaken:
            self.checkpoint(run)
            self.progress.taken.clear()
        self.told += self.waiting
        self.waiting = []
        return self.die() if dies else None

    def checkpoint(self, run: OwnedRun) -> Checkpoint:
        state = State.of(run, self.progress, len(self.progress.messages))
        checkpoint = Checkpoint(state, tuple(self.progress.taken))
        with transaction.atomic():
            checkpoint(0)
        return checkpoint

    def die(self) -> None:
        """Have another process return the run to the queue, or end a cancelled one."""
        run = self.active
        assert run
        with transaction.atomic():
            recovery.recover_orphan(
                run.id, LATER, float("inf"), Policy(1000, self.jobs)
            )
        if run.cancel_requested_at:
            self.give_back()

    def give_back(self) -> None:
        self.returned += self.waiting
        self.waiting = []

    @rule()
    def lose_process(self) -> None:
        if self.owned():
            self.die()

    @rule(way=st.sampled_from(["end_turn", "cancelled", "fail", "lose"]))
    def end(self, way: str) -> None:
        if (run := self.owned()) is None:
            return
        if way == "lose":
            is_cancelled = self.active and self.active.cancel_requested_at
            policy = Policy(0, self.jobs)
            with transaction.atomic():
                recovery.recover_orphan(run.id, LATER, float("inf"), policy)
            way = "cancelled" if is_cancelled else "lose"
        elif way == "fail":
            with transaction.atomic():
                FailRuns(self.jobs)([(run, LogState.WRITTEN)])
        else:
            self.finish(run, way)
        if way == "cancelled":
            self.give_back()
        elif self.waiting:
            self.told.append("\n\n".join(self.waiting))
            self.waiting = []

    def finish(self, run: OwnedRun, way: str) -> None:
        self.progress.stop_reason = way  # type: ignore[assignment]
        for next_run in ("", new_run_id()):
            result = RunResult(run, self.progress, None, None, next_run)
            try:
                with transaction.atomic():
                    FinishRuns(self.jobs)([(result, LogState.WRITTEN)])
                break
            except NextRunNeeded:
                assert not next_run

    @rule()
    def cancel(self) -> None:
        if (run := self.active) is None:
            return
        with transaction.atomic():
            leases.request_cancel([run.id], self.jobs)
        if run.status == RunStatus.QUEUED:
            self.give_back()

    @rule()
    def hand_over(self) -> None:
        if (run := self.owned()) is None:
            return
        is_cancelled = self.active and self.active.cancel_requested_at
        with transaction.atomic():
            recovery.release(Claim(run.id, run.worker, run.attempt), self.jobs)
        if is_cancelled:
            self.give_back()

    @invariant()
    def each_text_is_in_one_place(self) -> None:
        of = {"conversation__conversation_id": self.name}
        asked = MessageRow.objects.filter(role="user", **of).order_by("id")
        assert [row.parts[0]["text"] for row in asked] == self.told
        rows = RunInput.objects.filter(run__conversation__conversation_id=self.name)
        left = rows.filter(taken_at=None).select_related("run")
        ordered = left.order_by("run__created_at", "number")
        waiting = [row.text for row in ordered if not row.run.has_ended]
        assert waiting == self.waiting
        returned = [row.text for row in ordered if row.run.has_ended]
        assert sorted(returned) == sorted(self.returned)


@pytest.mark.usefixtures("transactional_db")
def test_each_text_is_taken_once_or_returned() -> None:
    examples = campaign.examples(20)
    run_state_machine_as_test(
        Steered, settings=settings(max_examples=examples, stateful_step_count=25)
    )
