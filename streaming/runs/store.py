"""The reads and writes of a run in the database, except its state and its events.

Each public function is called in one transaction.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import msgspec
from django.utils import timezone

from streaming.agent.progress import Progress
from streaming.agents.users import StoredUser
from streaming.event_log import ClosedLogs, OwnershipLost, stored_log
from streaming.exceptions import AgentError, InternalError, NotFound
from streaming.messages import Message, parts_from_json, parts_to_json
from streaming.models import Conversation, Run, RunStatus
from streaming.models import Message as MessageRow
from streaming.prices import dollars
from streaming.principals import Principal
from streaming.providers.base import ModelSelected
from streaming.runs import lifecycle
from streaming.runs.branches import first_parents
from streaming.runs.lifecycle import Claim, Finish
from streaming.storage.sql import Change, count, insert_all, update_all
from streaming.tools.base import Context

ANSWER_CHUNK = 200
#: The scopes of a principal that is loaded with its run, which stores none.
RUN_SCOPES = frozenset({"run"})


class OwnedRun(Claim):
    """A claimed run: the values that its execution needs, a tenth of its row."""

    #: The key of the conversation's row; its id for clients is in `context`.
    conversation_id: int
    #: The name of the agent; empty: the agent of the settings.
    agent: str
    context: Context
    max_iterations: int
    background: bool
    created_at: datetime
    #: The W3C trace context of the request; empty: none.
    traceparent: str = ""
    restarts: bool = False
    #: The message that it answers, if that is the question of an earlier run.
    question: int | None = None
    #: The number after which the entries of this attempt begin.
    log_number: int = 0
    first_token_at: datetime | None = None

    @classmethod
    def of(cls, run: Run) -> "OwnedRun":
        """Return the values of a run's row, claimed as the row says."""
        principal = Principal(
            org_id=run.organization.org_id,
            user=run.user,
            owner=run.owner,
            scopes=RUN_SCOPES,
            credential=run.credential,
        )
        return cls(
            id=run.id,
            worker=run.worker,
            attempt=run.attempt,
            conversation_id=run.conversation_id,
            agent=run.agent,
            context=Context(
                principal=principal,
                conversation=run.conversation.conversation_id,
                run=run.id,
                deps=run.deps,
                client_context=run.context,
                run_user=StoredUser(principal),
            ),
            max_iterations=run.max_iterations,
            background=run.background,
            created_at=run.created_at,
            traceparent=run.traceparent,
            restarts=run.restarts,
            question=run.question,
            log_number=run.log_number,
            first_token_at=run.first_token_at,
        )

    @property
    def parent(self) -> int | None:
        """The parent of its next message, if that is its first one."""
        return self.question


#: Either names a run and its conversation.
AnyRun = Run | OwnedRun


def get_run(run_id: str, principal: Principal) -> Run:
    """Return a run to which a caller has access. Raises `NotFound`."""
    runs = Run.objects.select_related("organization", "conversation")
    # PostgreSQL accepts no NUL, not even in a condition.
    run = runs.filter(
        id=run_id.replace("\0", ""),
        organization__org_id=principal.org_id,
        owner=principal.owner,
    ).first()
    if run is None or run.id != run_id:
        raise NotFound("There is no such run in this organization.")
    return run


def exists(run_id: str) -> bool:
    """Return whether a run has not been deleted."""
    return Run.objects.filter(pk=run_id).exists()


def load_output(run: Run) -> str:
    """Return the text of a run's newest response, as far as it is durable."""
    if not run.has_ended and (text := stored_log().text(run.id, since_tool=True)):
        return text
    return saved_answer(run)


def saved_answer(run: Run) -> str:
    """Return the text of the newest response, also if a pause divides its messages."""
    rows = MessageRow.objects.filter(run=run).order_by("-id")
    newest_first = rows.values_list("role", "parts").iterator(chunk_size=ANSWER_CHUNK)
    texts: list[str] = []
    for role, parts in newest_first:
        if role == "assistant":
            texts.append(Message("assistant", parts_from_json(parts)).text)
        elif texts or role == "user":
            break
    return "".join(reversed(texts))


class State(msgspec.Struct, frozen=True):
    """The state of a run at one moment, copied from its progress."""

    run: OwnedRun
    messages: Sequence[Message]
    #: Values of the run's row.
    counts: Mapping[str, object]
    #: The model of the newest response, of an agent with several.
    selected: ModelSelected | None = None
    has_advanced: bool = False

    @classmethod
    def of(cls, run: OwnedRun, progress: Progress, messages: int) -> "State":
        """Return the state with the first `messages` messages."""
        counts = _counts(run, progress)
        return cls(
            run,
            progress.messages[:messages],
            counts,
            progress.selected,
            progress.has_advanced,
        )


def checkpoint(state: State, last: int) -> None:
    """Save the state of a run; `last` is the number of its last entry so far.

    Raises `OwnershipLost`.
    """
    # The row stays locked: no other process may take the run before the commit.
    values = {**state.counts, "checkpoint_number": last}
    if state.has_advanced:
        values["crashes"] = 0  # else a tool that ends its process would do so for ever
    if not update_all(Run, [(state.run.condition, values)]):
        raise OwnershipLost(state.run.id)
    if state.selected:
        update_all(Run, [_answering_model(state.run, state.selected)])
    save_new(state.run, state.messages)


def save_new(run: OwnedRun, messages: Sequence[Message]) -> None:
    """Append those of a run's messages that the database lacks."""
    if messages:
        save_messages(run, messages[count_saved(run) :])


def count_saved(run: AnyRun) -> int:
    """Return the number of a run's messages in the database, without the question."""
    return count(MessageRow, run=run.id) - (run.question is None)


def save_messages(run: AnyRun, messages: Iterable[Message]) -> None:
    """Append messages to the run's conversation, and update its time."""
    now = timezone.now()
    touch([run.conversation_id], now)
    insert_messages(((run, message) for message in messages), now)


def insert_messages(pairs: Iterable[tuple[AnyRun, Message]], now: datetime) -> None:
    """Append messages to the conversations of runs, which are locked or new.

    `touch` locks them, in an order in which two processes cannot deadlock.
    """
    pairs = list(pairs)
    parents = first_parents(run for run, _ in pairs)
    insert_all(
        MessageRow(
            conversation_id=run.conversation_id,
            run_id=run.id,
            role=message.role,
            parts=parts_to_json(message.parts),
            created_at=now,
            parent=parents.pop(run.id, None),  # of the first one only
        )
        for run, message in pairs
    )


def touch(conversations: Iterable[int], now: datetime, **values: object) -> None:
    """Set the time of the newest message of conversations, and other values."""
    # Sort the keys: two processes that lock in one order cannot deadlock.
    keys = sorted(set(conversations))
    changes = [({"id": key}, {**values, "updated_at": now}) for key in keys]
    update_all(Conversation, changes, clock=("updated_at",))


class RunResult(msgspec.Struct, frozen=True):
    """The result of an execution, as its last transaction writes it."""

    run: OwnedRun
    progress: Progress
    error: AgentError | None
    #: How many of its messages checkpoints have saved; None: only the database knows.
    saved_messages: int | None
    #: The id of the run that inputs which it has not taken shall become.
    next_run: str = ""

    @property
    def unsaved(self) -> Sequence[Message]:
        """The messages since the last checkpoint."""
        saved = self.saved_messages
        return self.progress.messages[
            count_saved(self.run) if saved is None else saved :
        ]

    @property
    def status(self) -> RunStatus:
        """The final state of the run."""
        if self.error:
            return RunStatus.FAILED
        if self.progress.stop_reason == "cancelled":
            return RunStatus.CANCELLED
        return RunStatus.COMPLETED


def finish_runs(closed: ClosedLogs[RunResult]) -> None:
    """End runs. Raises `OwnershipLost` if this worker no longer owns one of them."""
    now = timezone.now()
    # Sort by id: all transactions lock runs in this order.
    closed = sorted(closed, key=lambda pair: pair[0].run.id)
    finishes = [
        Finish(
            result.run,
            result.status,
            _values(result) | {"log_state": log_state, "ended_at": now},
        )
        for result, log_state in closed
    ]
    if lifecycle.finish(finishes) < len(finishes):
        raise OwnershipLost(" or ".join(finish.claim.id for finish in finishes))
    results = [result for result, _ in closed]
    # Statements of their own, for runs of agents with these options.
    chosen = [(r.run, r.progress.selected) for r in results]
    update_all(Run, [_answering_model(run, model) for run, model in chosen if model])
    update_all(Run, [_output(r) for r in results if r.progress.structured_output])
    touch((result.run.conversation_id for result in results), now)
    insert_messages(((r.run, m) for r in results for m in r.unsaved), now)
    for result in results:
        if result.progress.meter:
            result.progress.meter.settle()


def _answering_model(run: OwnedRun, selected: ModelSelected) -> Change:
    names = {"provider": selected.provider[:32], "model": selected.model[:128]}
    return {"id": run.id}, names


def _output(result: RunResult) -> Change:
    output = result.progress.structured_output.decode()
    return {"id": result.run.id}, {"structured_output": output}


def fail_runs(closed: ClosedLogs[OwnedRun]) -> None:
    """End runs as failed, without any value that their executions produced.

    Raises `OwnershipLost` if this worker no longer owns one of them.
    """
    error, now = InternalError(), timezone.now()
    finishes = [
        Finish(
            run,
            RunStatus.FAILED,
            {
                "error_code": error.code,
                "error_message": error.message,
                "log_state": log_state,
                "ended_at": now,
            },
        )
        for run, log_state in sorted(closed, key=lambda pair: pair[0].id)
    ]
    if lifecycle.finish(finishes) < len(finishes):
        raise OwnershipLost(" or ".join(finish.claim.id for finish in finishes))


def _values(result: RunResult) -> dict[str, object]:
    progress, error = result.progress, result.error
    return {
        "stop_reason": "" if error else progress.stop_reason,
        "error_code": error.code if error else "",
        "error_message": error.message if error else "",
        **_counts(result.run, progress),
    }


def _counts(run: OwnedRun, progress: Progress) -> dict[str, object]:
    used = progress.usage
    cost = progress.meter.cost if progress.meter else progress.cost_before
    return {
        "input_tokens": used.input_tokens,
        "output_tokens": used.output_tokens,
        "reasoning_tokens": used.reasoning_tokens,
        "cache_read_tokens": used.cache_read_tokens,
        "cache_write_tokens": used.cache_write_tokens,
        "cost": None if cost is None else dollars(cost),
        "llm_calls": progress.llm_calls,
        "tool_calls": progress.tool_calls,
        "used_tools": [*progress.used_tools],
        "first_token_at": run.first_token_at,
    }
