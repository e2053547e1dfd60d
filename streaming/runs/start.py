"""The transaction that starts runs: all that are requested at the same time at once.

One by one, each run would cost the one writer thread four statements or more, and
Django's work around each of them. If the executor claims at the start, the rows are
inserted `running` and already claimed by this process; otherwise they are `queued`.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

import msgspec
from msgspec import structs

from streaming.budgets import accounts
from streaming.exceptions import ConversationBusy, Rate, RateLimited
from streaming.messages import Message, user_message
from streaming.models import (
    IS_ACTIVE,
    Conversation,
    ConversationText,
    Organization,
    Run,
    RunStatus,
    new_conversation_id,
)
from streaming.runs.branches import history_sql, place, show_questions
from streaming.runs.existing import ExistingRows, find_existing
from streaming.runs.history import History, read_history
from streaming.runs.idempotency import take_key
from streaming.runs.inputs import steer
from streaming.runs.pending import Enqueue, Turn, take_turns, with_position
from streaming.runs.requests import RunDefaults, RunRequest, StartResult
from streaming.runs.store import insert_messages, touch
from streaming.storage.search import text_of
from streaming.storage.sql import insert_all, insert_with_keys

__all__ = ["RunDefaults", "RunRequest", "StartResult", "start_runs", "title_of"]

TITLE_CHARS = 80
FULL = "This server executes as many runs as it may; try again later."
#: Attempts of a start that loses a race against other requests each time.
MAX_START_ATTEMPTS = 5


class _RequestedRun(msgspec.Struct, frozen=True):
    """A requested run with the rows that exist for it."""

    request: RunRequest
    organization: Organization
    rows: ExistingRows
    #: None: it starts at once.
    turn: Turn | None = None


def start_runs(
    requests: Sequence[RunRequest], defaults: RunDefaults, enqueue: Enqueue
) -> list[StartResult]:
    """Insert new runs into their conversations, or find those of idempotency keys.

    Raises `ConversationBusy`, `IdempotencyConflict`, `RateLimited`, `BudgetExhausted`,
    `AgentRemoved`, or IntegrityError if two requests race. After an error the call is
    repeated for each request alone; after an IntegrityError of one alone, the next call
    finds the rows of the other.
    """
    existing, now = find_existing(requests)
    organizations = _organizations(requests, existing)
    requested = [
        _RequestedRun(request, organizations[request.org_id], rows)
        for request, rows in zip(requests, existing, strict=True)
    ]
    keys = [each.request.run_key for each in requested]
    earlier = [take_key(key) if key else None for key in keys]
    pairs = zip(requested, earlier, strict=True)
    new = [each for each, run in pairs if run is None]
    steered = _steer(new, defaults.max_pending)
    new = [each for at, each in enumerate(new) if at not in steered]
    new = _with_turns(new, defaults.max_pending)
    if defaults.max_runs_per_org:
        _check_limit(new, defaults.max_runs_per_org)
    rates: list[Rate | None] = [None] * len(new)
    if any(each.request.limits for each in new):
        keys_of_new = [each.rows.conversation for each in new]
        rates = accounts.admit([each.request.limits for each in new], keys_of_new)
    created = _create(new, rates, defaults, now)
    if begun := [each.run for each in created if each.begins]:
        enqueue(begun)
    results = _in_order(steered, created)
    return [
        # Again: the process that inserted it may have died before it cancelled.
        StartResult(
            with_position(run),
            None,
            interrupts=run.interrupts if run.status == RunStatus.PENDING else "",
        )
        if run
        else next(results)
        for run in earlier
    ]


def _organizations(
    requests: Sequence[RunRequest], existing: Sequence[ExistingRows]
) -> dict[str, Organization]:
    """Return the organizations by their names; insert the missing ones."""
    found = {
        request.org_id: Organization(pk=rows.organization, org_id=request.org_id)
        for request, rows in zip(requests, existing, strict=True)
    }
    insert_with_keys([each for each in found.values() if not each.pk])
    return found


def _steer(new: Sequence[_RequestedRun], most: int) -> dict[int, StartResult]:
    """Add the texts of requests that steer active runs to these."""
    wanted = {
        at: (each.rows.unended_run or "", each.request)
        for at, each in enumerate(new)
        if each.request.on_busy == "steer"
        and (each.rows.unended_run or each.request.idempotency_key)
    }
    return steer(wanted, most) if wanted else {}


def _in_order(
    steered: Mapping[int, StartResult], created: Sequence[StartResult]
) -> Iterator[StartResult]:
    """Yield results in the order of their requests; `steered` has places."""
    others = iter(created)
    for at in range(len(steered) + len(created)):
        yield steered[at] if at in steered else next(others)


def _with_turns(new: list[_RequestedRun], most: int) -> list[_RequestedRun]:
    """Give turns to the runs that wait for earlier runs of their conversation.

    Raises `RateLimited` for a run that would have to wait and does not.
    """
    waiting = {
        at: (each.rows.conversation, each.request.on_busy == "interrupt")
        for at, each in enumerate(new)
        if each.rows.conversation
        and each.rows.unended_run
        and each.request.on_busy != "reject"
    }
    found = list(new)
    turns = take_turns(waiting, most)
    idle = _read_again(key for at, (key, _) in waiting.items() if at not in turns)
    for at, (key, _) in waiting.items():
        if turn := turns.get(at):
            found[at] = structs.replace(new[at], turn=turn)
        elif fresh := idle.get(key):
            found[at] = structs.replace(
                new[at],
                rows=structs.replace(
                    new[at].rows, head=fresh.head, is_branched=fresh.is_branched
                ),
            )
    if any(each.request.must_wait and each.turn is None for each in found):
        raise RateLimited(FULL)
    return found


def _read_again(keys: Iterable[int]) -> dict[int, Conversation]:
    """Return conversations that have become idle, by key, with their heads.

    The run that ended, or a client, may have moved them.
    """
    chosen = set(keys)
    rows = Conversation.objects.only("head", "is_branched")
    return rows.in_bulk(chosen) if chosen else {}


def _check_limit(new: Sequence[_RequestedRun], limit: int) -> None:
    requested = Counter(each.organization.pk for each in new if each.turn is None)
    organizations = Organization.objects.filter(pk__in=requested)
    # Lock the organizations: two processes must not both take the last place.
    for each in organizations.select_for_update(no_key=True).order_by("pk"):
        active = each.runs.filter(IS_ACTIVE).count()
        if active + requested[each.pk] > limit:
            raise RateLimited


def _create(
    new: Sequence[_RequestedRun],
    rates: Sequence[Rate | None],
    defaults: RunDefaults,
    now: datetime,
) -> list[StartResult]:
    conversations = [_conversation(requested, now) for requested in new]
    first = [
        (conversation, requested.request.input)
        for requested, conversation in zip(new, conversations, strict=True)
        if not conversation.pk
    ]
    insert_with_keys([conversation for conversation, _ in first])
    insert_all(
        ConversationText(conversation=each, text=text_of(each.title, question))
        for each, question in first
    )
    runs = [
        _run(requested.request, conversation, defaults, now, requested.turn)
        for requested, conversation in zip(new, conversations, strict=True)
    ]
    for run, requested in zip(runs, new, strict=True):
        # A pending run follows the head of the time when it starts.
        if requested.turn is None or requested.request.names_place:
            place(
                run,
                requested.request.parent_message,
                requested.request.regenerate,
                waits=requested.turn is not None,
            )
    insert_all(runs)
    begun = [at for at, requested in enumerate(new) if requested.turn is None]
    known = {at: key for at in begun if (key := new[at].rows.conversation)}
    touch(known.values(), now, head=None)
    questions = {at: user_message(runs[at].input) for at in begun}
    asked = [(runs[at], question) for at, question in questions.items()]
    insert_messages((each for each in asked if not each[0].question), now)
    show_questions(runs[at] for at in begun)
    histories = {
        at: _history(runs[at], question, defaults if at in known else None)
        for at, question in questions.items()
    }
    return [
        StartResult(run, histories.get(at), rate, interrupts=run.interrupts)
        for at, (run, rate) in enumerate(zip(runs, rates, strict=True))
    ]


def _conversation(requested: _RequestedRun, now: datetime) -> Conversation:
    if requested.rows.unended_run and requested.request.on_busy == "reject":
        raise ConversationBusy(requested.rows.unended_run)
    return Conversation(
        pk=requested.rows.conversation,
        organization=requested.organization,
        owner=requested.request.principal.owner,
        conversation_id=requested.request.conversation_id or new_conversation_id(),
        title=title_of(requested.request.input),
        created_at=now,
        updated_at=now,
        head=requested.rows.head,
        is_branched=bool(requested.rows.is_branched),
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
    turn: Turn | None,
) -> Run:
    claimed = bool(defaults.worker) and turn is None
    unclaimed = RunStatus.PENDING if turn else RunStatus.QUEUED
    chosen = defaults.agents.model_of(request.agent)
    queued = defaults.agents.queue_of(request.agent)
    run = Run(
        organization=conversation.organization,
        conversation=conversation,
        owner=request.principal.owner,
        user=request.principal.user,
        credential=request.principal.credential,
        agent=request.agent,
        deps=request.deps,
        status=RunStatus.RUNNING if claimed else unclaimed,
        place=turn.place if turn else None,
        interrupts=turn.interrupts if turn else "",
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
        worker=defaults.worker if claimed else "",
        attempt=int(claimed),
        heartbeat_at=now,
        # Equal times: no reader has been connected to another process.
        created_at=now,
        last_reader_at=now,
    )
    run.position = turn.position if turn else None
    return run


def _history(run: Run, question: Message, earlier: RunDefaults | None) -> History:
    if earlier:
        sql = history_sql(run, has_messages=not run.question)
        return read_history(run.conversation, earlier.history_chars, sql)
    return lambda: [question]
