"""The transaction that starts runs: all that are requested at the same time at once.

One by one, each run would cost the one writer thread four statements or more, and
Django's work around each of them. If the executor claims at the start, the rows are
inserted `running` and already claimed by this process; otherwise they are `queued`.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Protocol

import msgspec
from django.utils import timezone

from streaming.agents.loops import ModelName, QueuePlace
from streaming.budgets import accounts
from streaming.budgets.limits import CallerLimit
from streaming.exceptions import ConversationBusy, Rate, RateLimited
from streaming.messages import Message, user_message
from streaming.models import (
    ACTIVE,
    IS_ACTIVE,
    Conversation,
    ConversationText,
    Organization,
    Run,
    RunStatus,
    new_conversation_id,
)
from streaming.principals import Principal
from streaming.runs.branches import history_sql, place, show_questions
from streaming.runs.history import History, read_history
from streaming.runs.idempotency import RunKey, take_key
from streaming.runs.store import insert_messages, touch
from streaming.storage.alias import app_connection
from streaming.storage.search import text_of
from streaming.storage.sql import clock_sql, insert_all, insert_with_keys

TITLE_CHARS = 80
#: Attempts of a start that loses a race against other requests each time.
MAX_START_ATTEMPTS = 5


#: The part of starting runs that an executor does (`Executor.enqueue`).
Enqueue = Callable[[Sequence[Run]], None]


class RunRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A client's request for a run: valid, and complete except for an empty id."""

    input: str
    principal: Principal
    #: Empty: the agent of the settings.
    agent: str = ""
    #: Empty: a new conversation.
    conversation_id: str = ""
    #: The message that it follows, 0 for none; None: the head of the conversation.
    parent_message: int | None = None
    #: The run whose question it answers again; empty: the input is the question.
    regenerate: str = ""
    context: dict[str, str] = {}
    max_iterations: int = 5
    background: bool = False
    #: Whether its readers remove the text that a further attempt voids.
    restarts: bool = True
    #: Empty: none.
    idempotency_key: str = ""
    request_hash: str = ""
    #: The W3C trace context of the request; empty: none.
    traceparent: str = ""
    #: Values of Python code for the tools, which JSON can hold.
    deps: object = None
    #: The limits that apply to the caller.
    limits: Sequence[CallerLimit] = ()

    @property
    def org_id(self) -> str:
        """The organization of the caller."""
        return self.principal.org_id

    @property
    def run_key(self) -> RunKey | None:
        """The idempotency key with its owner, if there is one."""
        caller, key = self.principal, self.idempotency_key
        return (
            RunKey(caller.org_id, caller.owner, key, self.request_hash) if key else None
        )


class Agents(Protocol):
    """The models and queues of agents, by the names of the agents in their runs."""

    def model_of(self, key: str) -> ModelName:
        """Return the model of an agent. Raises `AgentRemoved`."""
        ...

    def queue_of(self, key: str) -> QueuePlace:
        """Return the queue of an agent. Raises `AgentRemoved`."""
        ...


class RunDefaults(msgspec.Struct, frozen=True, kw_only=True):
    """The values that all runs of a process share."""

    #: The worker that claims the runs; empty: they are inserted queued.
    worker: str
    agents: Agents
    history_chars: int
    #: 0: no limit.
    max_runs_per_org: int = 0


class StartResult(msgspec.Struct, frozen=True):
    """A run and its history, which ends with the run's own question.

    `history` is None if the run existed already.
    """

    run: Run
    history: History | None
    #: The caller's limit of runs in a minute, if there is one.
    rate: Rate | None = None

    @property
    def is_new(self) -> bool:
        """Whether this start created the run."""
        return self.history is not None


class _ExistingRows(msgspec.Struct, frozen=True):
    """The rows that exist for a request, and the active run of its conversation."""

    organization: int | None
    conversation: int | None
    head: int | None
    is_branched: bool | None
    active_run: str | None


class _PendingRun(msgspec.Struct, frozen=True):
    """A requested run with the rows that exist for it."""

    request: RunRequest
    organization: Organization
    rows: _ExistingRows


def start_runs(
    requests: Sequence[RunRequest], defaults: RunDefaults, enqueue: Enqueue
) -> list[StartResult]:
    """Insert new runs into their conversations, or find those of idempotency keys.

    Raises `ConversationBusy`, `IdempotencyConflict`, `RateLimited`, `BudgetExhausted`,
    `AgentRemoved`, or IntegrityError if two requests race. After an error the call is
    repeated for each request alone; after an IntegrityError of one alone, the next call
    finds the rows of the other.
    """
    existing, now = _find(requests)
    organizations = _organizations(requests, existing)
    pending = [
        _PendingRun(request, organizations[request.org_id], rows)
        for request, rows in zip(requests, existing, strict=True)
    ]
    keys = [each.request.run_key for each in pending]
    earlier = [take_key(key) if key else None for key in keys]
    new = [each for each, run in zip(pending, earlier, strict=True) if run is None]
    if defaults.max_runs_per_org:
        _check_limit(new, defaults.max_runs_per_org)
    rates: list[Rate | None] = [None] * len(new)
    if any(each.request.limits for each in new):
        rates = accounts.admit([each.request.limits for each in new])
    created = _create(new, rates, defaults, now)
    if created:
        enqueue([each.run for each in created])
    results = iter(created)
    return [StartResult(run, None) if run else next(results) for run in earlier]


@lru_cache(64)
def _find_statement(requests: int) -> str:
    requested = ", ".join(f"({at}, %s, %s, %s)" for at in range(requests))
    # An OR as in `IS_ACTIVE`, so that SQLite uses the index over active runs.
    active = " OR ".join(f"run.status = '{status.value}'" for status in ACTIVE)
    return f"""
        WITH requested (place, org_id, owner, conversation_id) AS (VALUES {requested})
        SELECT
            requested.place, organization.id,
            conversation.id, conversation.head, conversation.is_branched,
            run.id, {clock_sql()}
        FROM requested
        LEFT JOIN {Organization._meta.db_table} organization
        ON organization.org_id = requested.org_id
        LEFT JOIN {Conversation._meta.db_table} conversation
        ON conversation.organization_id = organization.id
        AND conversation.owner = requested.owner
        AND conversation.conversation_id = requested.conversation_id
        LEFT JOIN {Run._meta.db_table} run
        ON run.conversation_id = conversation.id AND ({active})
    """


def _find(requests: Sequence[RunRequest]) -> tuple[list[_ExistingRows], datetime]:
    """Return the rows that exist for each request, and the database's time."""
    names = [
        name
        for r in requests
        for name in (r.org_id, r.principal.owner, r.conversation_id)
    ]
    with app_connection().cursor() as cursor:
        cursor.execute(_find_statement(len(requests)), names)
        rows = sorted(cursor.fetchall())
    now: datetime | None = rows[0][-1]
    return [_ExistingRows(*keys) for _, *keys, _ in rows], now or timezone.now()


def _organizations(
    requests: Sequence[RunRequest], existing: Sequence[_ExistingRows]
) -> dict[str, Organization]:
    """Return the organizations by their names; insert the missing ones."""
    found = {
        request.org_id: Organization(pk=rows.organization, org_id=request.org_id)
        for request, rows in zip(requests, existing, strict=True)
    }
    insert_with_keys([each for each in found.values() if not each.pk])
    return found


def _check_limit(new: Sequence[_PendingRun], limit: int) -> None:
    requested = Counter(pending.organization.pk for pending in new)
    organizations = Organization.objects.filter(pk__in=requested)
    # Lock the organizations: two processes must not both take the last place.
    for each in organizations.select_for_update().order_by("pk"):
        active = each.runs.filter(IS_ACTIVE).count()
        if active + requested[each.pk] > limit:
            raise RateLimited


def _create(
    new: Sequence[_PendingRun],
    rates: Sequence[Rate | None],
    defaults: RunDefaults,
    now: datetime,
) -> list[StartResult]:
    conversations = [_conversation(pending, now) for pending in new]
    begun = [
        (conversation, pending.request.input)
        for pending, conversation in zip(new, conversations, strict=True)
        if not conversation.pk
    ]
    insert_with_keys([conversation for conversation, _ in begun])
    insert_all(
        ConversationText(conversation=each, text=text_of(each.title, question))
        for each, question in begun
    )
    runs = [
        _run(pending.request, conversation, defaults, now)
        for pending, conversation in zip(new, conversations, strict=True)
    ]
    for run, pending in zip(runs, new, strict=True):
        place(run, pending.request.parent_message, pending.request.regenerate)
    insert_all(runs)
    asked = [(run, user_message(run.input)) for run in runs]
    known = [pending.rows.conversation for pending in new]
    touch((key for key in known if key), now, head=None)
    insert_messages((each for each in asked if not each[0].question), now)
    show_questions(runs)
    return [
        StartResult(run, _history(run, question, defaults if key else None), rate)
        for (run, question), key, rate in zip(asked, known, rates, strict=True)
    ]


def _conversation(pending: _PendingRun, now: datetime) -> Conversation:
    if pending.rows.active_run:
        raise ConversationBusy(pending.rows.active_run)
    return Conversation(
        pk=pending.rows.conversation,
        organization=pending.organization,
        owner=pending.request.principal.owner,
        conversation_id=pending.request.conversation_id or new_conversation_id(),
        title=title_of(pending.request.input),
        created_at=now,
        updated_at=now,
        head=pending.rows.head,
        is_branched=bool(pending.rows.is_branched),
    )


def title_of(text: str) -> str:
    """Return the title of a conversation that begins with a question."""
    line = " ".join(text.split())
    return line if len(line) <= TITLE_CHARS else line[: TITLE_CHARS - 1] + "…"


def _run(
    request: RunRequest,
    conversation: Conversation,
    defaults: RunDefaults,
    now: datetime,
) -> Run:
    claimed = bool(defaults.worker)
    chosen = defaults.agents.model_of(request.agent)
    queued = defaults.agents.queue_of(request.agent)
    return Run(
        organization=conversation.organization,
        conversation=conversation,
        owner=request.principal.owner,
        user=request.principal.user,
        credential=request.principal.credential,
        agent=request.agent,
        deps=request.deps,
        status=RunStatus.RUNNING if claimed else RunStatus.QUEUED,
        input=request.input,
        context=request.context,
        max_iterations=request.max_iterations,
        background=request.background,
        traceparent=request.traceparent,
        restarts=request.restarts,
        provider=chosen.provider,
        model=chosen.model,
        queue=queued.queue,
        priority=queued.priority,
        idempotency_key=request.idempotency_key or None,
        request_hash=request.request_hash,
        worker=defaults.worker,
        attempt=int(claimed),
        heartbeat_at=now,
        # Equal times: no reader has been connected to another process.
        created_at=now,
        last_reader_at=now,
    )


def _history(run: Run, question: Message, earlier: RunDefaults | None) -> History:
    if earlier:
        sql = history_sql(run, has_messages=not run.question)
        return read_history(run.conversation, earlier.history_chars, sql)
    return lambda: [question]
