"""What a run reads and writes in the database, each function one transaction."""

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec
from django.db.models import QuerySet
from django.utils import timezone

from streaming.agent.loop import Progress
from streaming.event_log import ClosedLogs, OwnershipLost, stored_log
from streaming.exceptions import AgentError, NotFound
from streaming.messages import Message, parts_from_json, parts_to_json
from streaming.models import Conversation, LogState, Run, RunStatus
from streaming.models import Message as MessageRow
from streaming.storage.sql import Change, count, insert_all, update_all
from streaming.tools.base import ToolContext

ANSWER_CHUNK = 200


class OwnedRun(msgspec.Struct):
    """A run that this process has to run: what it needs of a row ten times as large."""

    id: str
    #: The key of its row; clients' name for it is in `context`.
    conversation_id: int
    worker: str
    context: ToolContext
    max_iterations: int
    background: bool
    first_token_at: datetime | None = None

    @classmethod
    def of(cls, run: Run) -> "OwnedRun":
        """That of a run which was just created."""
        context = ToolContext(
            org_id=run.organization.org_id,
            conversation_id=run.conversation.conversation_id,
            run_id=run.id,
            values=run.context,
        )
        return cls(
            id=run.id,
            conversation_id=run.conversation_id,
            worker=run.worker,
            context=context,
            max_iterations=run.max_iterations,
            background=run.background,
        )


#: Either names a run and its conversation.
AnyRun = Run | OwnedRun


def get_run(run_id: str, org_id: str) -> Run:
    """A run of an organization. Raises `NotFound`."""
    runs = Run.objects.select_related("organization", "conversation")
    # PostgreSQL takes no NUL, not even to look for.
    run = runs.filter(id=run_id.replace("\0", ""), organization__org_id=org_id).first()
    if run is None or run.id != run_id:
        raise NotFound("There is no such run in this organization.")
    return run


def load_output(run: Run) -> str:
    """The text of a run's newest answer, as far as it is durable."""
    if run.status == RunStatus.RUNNING and (
        text := stored_log().text(run.id, since_tool=True)
    ):
        return text
    return saved_answer(run)


def saved_answer(run: Run) -> str:
    """The text of the newest answer in messages; it may have been paused between."""
    rows = MessageRow.objects.filter(run=run).order_by("-id")
    newest_first = rows.values_list("role", "parts").iterator(chunk_size=ANSWER_CHUNK)
    said: list[str] = []
    for role, parts in newest_first:
        if role == "assistant":
            said.append(Message("assistant", parts_from_json(parts)).text)
        elif said or role == "user":
            break
    return "".join(reversed(said))


def checkpoint(run: OwnedRun, messages: Sequence[Message]) -> None:
    """Save the messages of a run so far. Raises `OwnershipLost`."""
    # Locked, so that nobody takes the run over before this is committed.
    if not _owned(run).select_for_update(no_key=True).exists():
        raise OwnershipLost(run.id)
    save_messages(run, messages[_kept(run) :])


def _kept(run: OwnedRun) -> int:
    """How many of a run's messages are there, beside the question."""
    return count(MessageRow, run=run.id) - 1


def save_messages(run: AnyRun, messages: Iterable[Message]) -> None:
    """Append messages to the run's conversation, which is newer then."""
    now = timezone.now()
    insert_messages(((run, message) for message in messages), now)
    touch([run.conversation_id], now)


def insert_messages(said: Iterable[tuple[AnyRun, Message]], now: datetime) -> None:
    """Append messages to the conversations of runs."""
    insert_all(
        MessageRow(
            conversation_id=run.conversation_id,
            run_id=run.id,
            role=message.role,
            parts=parts_to_json(message.parts),
            created_at=now,
        )
        for run, message in said
    )


def touch(conversations: Iterable[int], now: datetime) -> None:
    """Note that something was said in conversations."""
    # In one order, or two processes might wait for each other.
    keys = sorted(set(conversations))
    update_all(Conversation, [({"id": key}, {"updated_at": now}) for key in keys])


class RunResult(msgspec.Struct, frozen=True):
    """How a run ended."""

    run: OwnedRun
    progress: Progress
    error: AgentError | None
    #: How many of its messages checkpoints have saved; None: the database knows.
    kept: int | None

    def unsaved(self) -> Sequence[Message]:
        """What was said since the last checkpoint."""
        kept = _kept(self.run) if self.kept is None else self.kept
        return self.progress.messages[kept:]


def finish_runs(ends: ClosedLogs[RunResult]) -> None:
    """End runs for good. Raises `OwnershipLost` when one of them is ours no longer."""
    now = timezone.now()
    ends = sorted(ends, key=lambda end: end[0].run.id)  # as others lock them
    if update_all(Run, [_change(*end, now) for end in ends]) < len(ends):
        raise OwnershipLost(" or ".join(ending.run.id for ending, _ in ends))
    said = [(ending.run, message) for ending, _ in ends for message in ending.unsaved()]
    insert_messages(said, now)
    touch((ending.run.conversation_id for ending, _ in ends), now)


def _change(ending: RunResult, log_state: LogState, now: datetime) -> Change:
    run, progress, error = ending.run, ending.progress, ending.error
    owned = {"id": run.id, "worker": run.worker, "status": RunStatus.RUNNING}
    used = progress.usage
    return owned, {
        "status": _final_status(progress, error),
        "stop_reason": "" if error else progress.stop_reason,
        "error_code": error.code if error else "",
        "error_message": error.message if error else "",
        "input_tokens": used.input_tokens,
        "output_tokens": used.output_tokens,
        "reasoning_tokens": used.reasoning_tokens,
        "cache_read_tokens": used.cache_read_tokens,
        "cache_write_tokens": used.cache_write_tokens,
        "llm_calls": progress.llm_calls,
        "tool_calls": progress.tool_calls,
        "used_tools": progress.used_tools,
        "first_token_at": run.first_token_at,
        "ended_at": now,
        "log_state": log_state,
    }


def _final_status(progress: Progress, error: AgentError | None) -> RunStatus:
    if error:
        return RunStatus.FAILED
    if progress.stop_reason == "cancelled":
        return RunStatus.CANCELLED
    return RunStatus.COMPLETED


def _owned(run: OwnedRun) -> QuerySet[Run]:
    return Run.objects.filter(pk=run.id, worker=run.worker, status=RunStatus.RUNNING)
