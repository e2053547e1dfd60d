"""How runs begin in the database: those that are asked for at the same time together.

One by one each would take the one thread that writes four statements or more, with all
that Django does around each.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache

import msgspec
from django.db import connection
from django.utils import timezone

from streaming.exceptions import ConversationBusy, IdempotencyConflict, RateLimited
from streaming.messages import Message, user_message
from streaming.models import (
    Conversation,
    Organization,
    Run,
    RunStatus,
    new_conversation_id,
)
from streaming.runs.history import History, read_history
from streaming.runs.store import insert_messages, touch
from streaming.storage.sql import insert_all, insert_with_keys

IDEMPOTENCY_HOURS = 24
TITLE_CHARS = 80


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


class RunDefaults(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for all runs that a process begins."""

    worker: str
    provider: str
    model: str
    history_chars: int
    #: 0: as many as there are.
    max_runs_per_org: int = 0


class StartResult(msgspec.Struct, frozen=True):
    """A run, and what makes its history: what was said, its own question included.

    `history` is None when the run was there already.
    """

    run: Run
    history: History | None


class _ExistingRows(msgspec.Struct, frozen=True):
    """Where a run belongs, as far as that is there, and what is under way there."""

    organization: int | None
    conversation: int | None
    busy_with: str | None


class _PendingRun(msgspec.Struct, frozen=True):
    """A run that is asked for, and where it belongs."""

    request: RunRequest
    organization: Organization
    place: _ExistingRows


def start_runs(requests: Sequence[RunRequest], terms: RunDefaults) -> list[StartResult]:
    """New runs in their conversations, or those that idempotency keys name.

    Raises `ConversationBusy`, `IdempotencyConflict` or `RateLimited`, or IntegrityError
    when two requests race. Where there are several, each is to be called again alone;
    and after an IntegrityError of one alone it sees what the other made.
    """
    places = _find(requests)
    organizations = _organizations(requests, places)
    starts = [
        _PendingRun(request, organizations[request.org_id], place)
        for request, place in zip(requests, places, strict=True)
    ]
    earlier = [_same_request(start) for start in starts]
    new = [start for start, run in zip(starts, earlier, strict=True) if run is None]
    if terms.max_runs_per_org:
        _check_limit(new, terms.max_runs_per_org)
    created = iter(_create(new, terms))
    return [StartResult(run, None) if run else next(created) for run in earlier]


@lru_cache(64)
def _find_statement(requests: int) -> str:
    asked = ", ".join(f"({at}, %s, %s)" for at in range(requests))
    return f"""
        WITH asked (place, org_id, conversation_id) AS (VALUES {asked})
        SELECT asked.place, organization.id, conversation.id, run.id
        FROM asked
        LEFT JOIN {Organization._meta.db_table} organization
        ON organization.org_id = asked.org_id
        LEFT JOIN {Conversation._meta.db_table} conversation
        ON conversation.organization_id = organization.id
        AND conversation.conversation_id = asked.conversation_id
        LEFT JOIN {Run._meta.db_table} run
        ON run.conversation_id = conversation.id
        AND run.status = '{RunStatus.RUNNING.value}'
    """


def _find(requests: Sequence[RunRequest]) -> list[_ExistingRows]:
    names = [name for r in requests for name in (r.org_id, r.conversation_id)]
    with connection.cursor() as cursor:
        cursor.execute(_find_statement(len(requests)), names)
        return [_ExistingRows(*keys) for _, *keys in sorted(cursor.fetchall())]


def _organizations(
    requests: Sequence[RunRequest], places: Sequence[_ExistingRows]
) -> dict[str, Organization]:
    """The organizations by their names; they are there then."""
    found = {
        request.org_id: Organization(pk=place.organization, org_id=request.org_id)
        for request, place in zip(requests, places, strict=True)
    }
    insert_with_keys([each for each in found.values() if not each.pk])
    return found


def _same_request(start: _PendingRun) -> Run | None:
    """The run that this idempotency key started in the last 24 hours."""
    key = start.request.idempotency_key
    if not key:
        return None
    runs = Run.objects.select_related("organization", "conversation")
    run = runs.filter(organization=start.organization, idempotency_key=key).first()
    if run is None:
        return None
    if run.created_at < timezone.now() - timedelta(hours=IDEMPOTENCY_HOURS):
        Run.objects.filter(pk=run.pk).update(idempotency_key=None)
        return None
    if run.request_hash != start.request.request_hash:
        raise IdempotencyConflict
    return run


def _check_limit(starts: Sequence[_PendingRun], most: int) -> None:
    asked = Counter(start.organization.pk for start in starts)
    organizations = Organization.objects.filter(pk__in=asked)
    # Locked, so that two processes do not both take the last place.
    for each in organizations.select_for_update().order_by("pk"):
        running = each.runs.filter(status=RunStatus.RUNNING).count()
        if running + asked[each.pk] > most:
            raise RateLimited


def _create(starts: Sequence[_PendingRun], terms: RunDefaults) -> list[StartResult]:
    now = timezone.now()
    conversations = [_conversation(start, now) for start in starts]
    insert_with_keys([each for each in conversations if not each.pk])
    runs = [
        _run(start.request, conversation, terms, now)
        for start, conversation in zip(starts, conversations, strict=True)
    ]
    insert_all(runs)
    questions = [user_message(start.request.input) for start in starts]
    insert_messages(zip(runs, questions, strict=True), now)
    known = [start.place.conversation for start in starts]
    touch((key for key in known if key), now)
    return [
        StartResult(run, _history(run, question, terms if key else None))
        for run, question, key in zip(runs, questions, known, strict=True)
    ]


def _conversation(start: _PendingRun, now: datetime) -> Conversation:
    if start.place.busy_with:
        raise ConversationBusy(start.place.busy_with)
    return Conversation(
        pk=start.place.conversation,
        organization=start.organization,
        conversation_id=start.request.conversation_id or new_conversation_id(),
        title=_title(start.request.input),
        created_at=now,
        updated_at=now,
    )


def _title(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= TITLE_CHARS else line[: TITLE_CHARS - 1] + "…"


def _run(
    request: RunRequest, conversation: Conversation, terms: RunDefaults, now: datetime
) -> Run:
    return Run(
        organization=conversation.organization,
        conversation=conversation,
        input=request.input,
        context=request.context,
        max_iterations=request.max_iterations,
        background=request.background,
        provider=terms.provider,
        model=terms.model,
        idempotency_key=request.idempotency_key or None,
        request_hash=request.request_hash,
        worker=terms.worker,
        heartbeat_at=now,
        # Equal: nobody has listened in another process yet.
        created_at=now,
        last_reader_at=now,
    )


def _history(run: Run, question: Message, earlier: RunDefaults | None) -> History:
    if earlier:
        return read_history(run.conversation, earlier.history_chars)
    return lambda: [question]
