"""What a run reads and writes in the database, each function one transaction."""

from collections.abc import Sequence
from datetime import timedelta

import msgspec
from django.db import connection
from django.db.models import QuerySet
from django.utils import timezone

from streaming.agent import Progress
from streaming.event_log import LostRun, segments
from streaming.exceptions import (
    AgentError,
    ConversationBusy,
    IdempotencyConflict,
    NotFound,
    RateLimited,
)
from streaming.messages import (
    Message,
    parts_from_json,
    parts_to_json,
    user_message,
)
from streaming.models import (
    Conversation,
    LogState,
    Organization,
    Run,
    RunStatus,
    new_conversation_id,
)
from streaming.models import Message as MessageRow
from streaming.runs.history import History, read_history
from streaming.statements import count, insert, insert_all, update

IDEMPOTENCY_HOURS = 24
TITLE_CHARS = 80
ANSWER_CHUNK = 200


class RunRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a client asks for, valid and complete but for the conversation's id."""

    input: str
    org_id: str
    #: Empty: a new conversation.
    conversation_id: str = ""
    context: dict[str, str] = {}
    max_iterations: int = 5
    background: bool = False
    #: Empty: none.
    idempotency_key: str = ""
    request_hash: str = ""


class Created(msgspec.Struct, frozen=True):
    """A run, and what makes its history: what was said, its own question included.

    `history` is None when the run was there already.
    """

    run: Run
    history: History | None


def create_run(
    request: RunRequest,
    *,
    worker: str,
    provider: str,
    model: str,
    history_chars: int,
    max_runs_per_org: int = 0,
) -> Created:
    """A new run in its conversation, or the one that the idempotency key names.

    Raises `ConversationBusy`, `IdempotencyConflict`, `RateLimited`, or IntegrityError
    when two requests race (call again: the second then sees the first).
    """
    org_key, conversation_key, busy_with = _find(request)
    organization = Organization(pk=org_key, org_id=request.org_id)
    if org_key is None:
        insert(organization)
    if earlier := _same_request(organization, request):
        return Created(earlier, None)
    if busy_with:
        raise ConversationBusy(busy_with)
    if max_runs_per_org:
        _check_limit(organization, max_runs_per_org)
    conversation = Conversation(
        pk=conversation_key,
        organization=organization,
        conversation_id=request.conversation_id or new_conversation_id(),
        title=_title(request.input),
    )
    if conversation_key is None:
        insert(conversation)
    now = timezone.now()
    run = Run(
        organization=organization,
        conversation=conversation,
        input=request.input,
        context=request.context,
        max_iterations=request.max_iterations,
        background=request.background,
        provider=provider,
        model=model,
        idempotency_key=request.idempotency_key or None,
        request_hash=request.request_hash,
        worker=worker,
        # Equal: nobody has listened in another process yet.
        created_at=now,
        last_reader_at=now,
    )
    insert(run)
    question = user_message(request.input)
    if conversation_key is None:
        _insert_messages(run, [question])
        return Created(run, lambda: [question])
    save_messages(run, [question])
    return Created(run, read_history(conversation, history_chars))


_FIND = f"""
    SELECT organization.id, conversation.id, run.id
    FROM {Organization._meta.db_table} organization
    LEFT JOIN {Conversation._meta.db_table} conversation
    ON conversation.organization_id = organization.id
    AND conversation.conversation_id = %s
    LEFT JOIN {Run._meta.db_table} run
    ON run.conversation_id = conversation.id AND run.status = %s
    WHERE organization.org_id = %s
"""


def _find(request: RunRequest) -> tuple[int | None, int | None, str | None]:
    """The organization, the conversation and the run that it is busy with."""
    running = RunStatus.RUNNING.value
    with connection.cursor() as cursor:
        cursor.execute(_FIND, [request.conversation_id, running, request.org_id])
        return cursor.fetchone() or (None, None, None)


def _same_request(organization: Organization, request: RunRequest) -> Run | None:
    """The run that this idempotency key started in the last 24 hours."""
    if not request.idempotency_key:
        return None
    runs = Run.objects.select_related("organization", "conversation")
    run = runs.filter(
        organization=organization, idempotency_key=request.idempotency_key
    ).first()
    if run is None:
        return None
    if run.created_at < timezone.now() - timedelta(hours=IDEMPOTENCY_HOURS):
        Run.objects.filter(pk=run.pk).update(idempotency_key=None)
        return None
    if run.request_hash != request.request_hash:
        raise IdempotencyConflict
    return run


def _check_limit(organization: Organization, max_runs: int) -> None:
    # Locked, so that two processes do not both take the last place.
    Organization.objects.select_for_update().get(pk=organization.pk)
    if organization.runs.filter(status=RunStatus.RUNNING).count() >= max_runs:
        raise RateLimited


def _title(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= TITLE_CHARS else line[: TITLE_CHARS - 1] + "…"


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
        text := segments.text(run.id, since_tool=True)
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


def checkpoint(run: Run, messages: Sequence[Message]) -> None:
    """Keep what a run has said so far. Raises `LostRun` when it is ours no longer."""
    # Locked, so that nobody takes the run over before this is committed.
    if not _owned(run).select_for_update(no_key=True).exists():
        raise LostRun(run.id)
    save_messages(run, messages[_kept(run) :])


def _kept(run: Run) -> int:
    """How many of a run's messages are there, beside the question."""
    return count(MessageRow, run=run.id) - 1


def save_messages(run: Run, messages: Sequence[Message]) -> None:
    """Append messages to the run's conversation, which is newer then."""
    _insert_messages(run, messages)
    update(Conversation, {"id": run.conversation_id}, updated_at=timezone.now())


def _insert_messages(run: Run, messages: Sequence[Message]) -> None:
    insert_all(
        MessageRow(
            conversation_id=run.conversation_id,
            run=run,
            role=message.role,
            parts=parts_to_json(message.parts),
        )
        for message in messages
    )


def finish_run(
    run: Run,
    progress: Progress,
    error: AgentError | None,
    kept: int | None,
    log_state: LogState,
) -> None:
    """End a run for good. Raises `LostRun` when it is ours no longer.

    `kept` is the number of messages that checkpoints saved; None: the database knows.
    """
    used = progress.usage
    owned = {"id": run.id, "worker": run.worker, "status": RunStatus.RUNNING}
    updated = update(
        Run,
        owned,
        status=_final_status(progress, error),
        stop_reason="" if error else progress.stop_reason,
        error_code=error.code if error else "",
        error_message=error.message if error else "",
        input_tokens=used.input_tokens,
        output_tokens=used.output_tokens,
        reasoning_tokens=used.reasoning_tokens,
        cache_read_tokens=used.cache_read_tokens,
        cache_write_tokens=used.cache_write_tokens,
        llm_calls=progress.llm_calls,
        tool_calls=progress.tool_calls,
        used_tools=progress.used_tools,
        first_token_at=run.first_token_at,
        ended_at=timezone.now(),
        log_state=log_state,
    )
    if not updated:
        raise LostRun(run.id)
    save_messages(run, progress.messages[_kept(run) if kept is None else kept :])


def _final_status(progress: Progress, error: AgentError | None) -> RunStatus:
    if error:
        return RunStatus.FAILED
    if progress.stop_reason == "cancelled":
        return RunStatus.CANCELLED
    return RunStatus.COMPLETED


def _owned(run: Run) -> QuerySet[Run]:
    return Run.objects.filter(pk=run.pk, worker=run.worker, status=RunStatus.RUNNING)
