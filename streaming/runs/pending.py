"""The pending runs of a conversation, each of which waits for the runs before it.

Their order is `Run.place`. It changes only in transactions that have locked the row of
the conversation, so that all processes see one order. The transaction that ends the
active run of a conversation promotes the first pending one: its question becomes a
message, and it enters the queue.

All transactions lock in one order: active runs by id, conversations by key, pending
runs. A start that found its conversation busy looks again once it has the lock: either
it sees the end of the active run, or the transaction of that end sees its run.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache

import msgspec
from django.db import IntegrityError, transaction
from django.db.models import Count, Exists, Max, Min, OuterRef, Q, QuerySet

from streaming.agent.progress import Progress
from streaming.event_log import stored_log
from streaming.exceptions import (
    FieldError,
    Forbidden,
    InvalidRequest,
    NotPending,
    QueueChanged,
    RateLimited,
)
from streaming.messages import user_message
from streaming.models import HAS_NOT_ENDED, IS_ACTIVE, Conversation, Run, RunStatus
from streaming.principals import Principal
from streaming.runs import branches, lifecycle, store
from streaming.runs.ending import last_events
from streaming.runs.wakes import wake_executors
from streaming.storage.alias import app_alias, app_connection
from streaming.storage.sql import database_time, update_all

#: The part of starting runs that an executor does (`Executor.enqueue`).
Enqueue = Callable[[Sequence[Run]], None]

#: Conversations that one look finds at most.
MAX_FOUND = 100


class Turn(msgspec.Struct, frozen=True):
    """The place of a new run behind, or before, the pending runs of a conversation."""

    place: int
    #: From 1.
    position: int
    #: The active run that is to be cancelled; empty: none.
    interrupts: str = ""


def of_conversation(key: int) -> QuerySet[Run]:
    """Return the pending runs of a conversation, in their order."""
    pending = Run.objects.filter(conversation=key, status=RunStatus.PENDING)
    return pending.order_by("place", "id")


def with_position(run: Run) -> Run:
    """Return a run; if it is pending, with its position."""
    if run.status == RunStatus.PENDING:
        earlier = Q(place__lt=run.place) | Q(place=run.place, id__lt=run.id)
        before = of_conversation(run.conversation_id).filter(earlier)
        run.position = before.count() + 1
    return run


def get_run(run_id: str, principal: Principal) -> Run:
    """Return a run to which a caller has access, with its position if it is pending.

    Raises `NotFound`.
    """
    return with_position(store.get_run(run_id, principal))


def change_input(run_id: str, principal: Principal, text: str) -> None:
    """Change the input of a pending run. Raises `NotFound` or `NotPending`.

    Raises `Forbidden` for a run of another caller, and `InvalidRequest` if it answers
    the question of an earlier run again.
    """
    run = store.get_run(run_id, principal)
    # It runs as its user, or credential, with the values that Python code gave it.
    is_own = run.user == principal.user and (
        bool(run.user) or run.credential == principal.credential
    )
    if not (is_own and run.request_hash and run.deps is None):
        raise Forbidden("Only the caller that requested this run can change its input.")
    if run.question:
        raise InvalidRequest([FieldError("input", "is that of an earlier run")])
    pending = Run.objects.filter(pk=run.pk, status=RunStatus.PENDING)
    if not pending.update(input=text):
        raise NotPending


def reorder(conversation: int, order: Sequence[str]) -> None:
    """Put the pending runs of a conversation into another order.

    Raises `InvalidRequest` for a run that is named twice or of another conversation,
    and `QueueChanged` if the order does not name each pending run.
    """
    if len(set(order)) < len(order):
        raise InvalidRequest([FieldError("order", "names a run twice")])
    lock([conversation])
    present = set(of_conversation(conversation).values_list("id", flat=True))
    if present != set(order):
        named = Run.objects.filter(conversation=conversation, pk__in=order)
        if named.count() < len(order):
            problem = "names a run that is not of this conversation"
            raise InvalidRequest([FieldError("order", problem)])
        raise QueueChanged
    places = [({"id": each}, {"place": place}) for place, each in enumerate(order)]
    update_all(Run, places)


def clear(conversation: int) -> set[str]:
    """Cancel the pending runs of a conversation; return their ids."""
    lock([conversation])
    return cancel(of_conversation(conversation).values_list("id", flat=True))


def lock(conversations: Iterable[int]) -> set[int]:
    """Lock the rows of conversations; return the keys of those that exist."""
    rows = Conversation.objects.filter(pk__in=set(conversations)).order_by("pk")
    return set(rows.select_for_update(no_key=True).values_list("pk", flat=True))


def is_busy(principal: Principal, conversation: str) -> bool:
    """Return whether a conversation of a caller has a run that has not ended."""
    runs = Run.objects.filter(
        HAS_NOT_ENDED,
        conversation__organization__org_id=principal.org_id,
        conversation__owner=principal.owner,
        conversation__conversation_id=conversation,
    )
    return bool(conversation) and runs.exists()


class _Idle(Exception):
    """A conversation has neither an active run nor pending ones."""


def take_turns(wanted: Mapping[int, tuple[int, bool]], most: int) -> dict[int, Turn]:
    """Return turns in conversations that were busy; those that are idle have none.

    `wanted` has the key of each run's conversation, and whether the run interrupts the
    active one. `most` bounds the pending runs of a conversation; 0: no limit. Raises
    `RateLimited`, or IntegrityError if a conversation was deleted.
    """
    turns: dict[int, Turn] = {}
    for key in sorted({key for key, _ in wanted.values()}):
        own = {at: first for at, (of, first) in wanted.items() if of == key}
        # An idle one is unlocked again: a start of its next run locks it after that.
        with suppress(_Idle), transaction.atomic(app_alias()):
            turns |= _take_turns(key, own, most)
    return turns


def _take_turns(key: int, wanted: Mapping[int, bool], most: int) -> dict[int, Turn]:
    """Lock a conversation and return turns in it. Raises `_Idle`."""
    if not lock([key]):
        raise IntegrityError("the conversation was deleted")
    active = Run.objects.filter(IS_ACTIVE, conversation=key)
    active_run = active.values_list("id", flat=True).first() or ""
    found = of_conversation(key).aggregate(
        count=Count("pk"), first=Min("place"), last=Max("place")
    )
    count, first, last = found["count"], found["first"] or 0, found["last"] or 0
    if not (active_run or count):
        raise _Idle
    turns: dict[int, Turn] = {}
    for at, interrupts in wanted.items():
        if most and count >= most:
            raise RateLimited(
                f"The conversation has {most} pending runs (RUN_MAX_PENDING); "
                "try again when one of them has started."
            )
        count += 1
        if interrupts:
            first -= 1
            turns[at] = Turn(first, 1, active_run)
        else:
            last += 1
            turns[at] = Turn(last, count)
    return turns


def promote(conversations: Iterable[int], enqueue: Enqueue) -> None:
    """Queue the first pending run of each conversation without an active run.

    The transaction must have locked the conversations. After the commit this process
    looks at its queue.
    """
    waiting = _with_pending(sorted(set(conversations)))
    if not waiting:
        return
    active = Run.objects.filter(IS_ACTIVE, conversation__in=waiting)
    busy = set(active.values_list("conversation_id", flat=True))
    promoted = [run for key in waiting if key not in busy for run in _promote(key)]
    if promoted:
        enqueue(promoted)
        transaction.on_commit(wake_executors, using=app_alias(), robust=True)


def advance(conversations: Collection[int], enqueue: Enqueue) -> None:
    """Lock conversations, and promote the first pending run of each that is idle."""
    promote(lock(conversations), enqueue)


def find_idle() -> list[int]:
    """Return conversations that have pending runs, and no active run.

    A process of an earlier version may have ended their active runs.
    """
    active = Run.objects.filter(IS_ACTIVE, conversation=OuterRef("conversation"))
    idle = Run.objects.filter(~Exists(active), status=RunStatus.PENDING).order_by()
    keys = idle.values_list("conversation_id", flat=True).distinct()
    return list(keys[:MAX_FOUND])


def find_interrupted() -> list[str]:
    """Return active runs whose cancellation a pending run awaits, and that lack it.

    The process that inserted the pending run may have died before it cancelled them.
    """
    waiting = Run.objects.filter(status=RunStatus.PENDING).exclude(interrupts="")
    active = Run.objects.filter(IS_ACTIVE, cancel_requested_at=None)
    found = active.filter(pk__in=waiting.order_by().values("interrupts"))
    return list(found.values_list("id", flat=True)[:MAX_FOUND])


def find(run_ids: Collection[str]) -> dict[str, int]:
    """Return those of some runs that are pending, with their conversations."""
    pending = Run.objects.filter(pk__in=run_ids, status=RunStatus.PENDING)
    return dict(pending.values_list("id", "conversation_id"))


def cancel(run_ids: Iterable[str]) -> set[str]:
    """Cancel those of some runs that are pending; return their ids.

    The transaction must have locked their conversations.
    """
    cancelled = {each for each in list(run_ids) if lifecycle.cancel_pending(each)}
    for run_id in cancelled:
        ends = last_events(Progress(stop_reason="cancelled"), None)
        stored_log().append(run_id, 1, ends)
    return cancelled


@lru_cache(64)  # each number of conversations has a statement of its own
def _statement(conversations: int) -> str:
    keys = ", ".join(["%s"] * conversations)
    return f"""
        SELECT DISTINCT conversation_id FROM {Run._meta.db_table}
        WHERE status = '{RunStatus.PENDING.value}' AND conversation_id IN ({keys})
        ORDER BY conversation_id
    """


def _with_pending(keys: Sequence[int]) -> list[int]:
    """Return those of some conversations that have pending runs.

    The one statement that pending runs cost the ends of all other runs.
    """
    if not keys:
        return []
    with app_connection().cursor() as cursor:
        cursor.execute(_statement(len(keys)), keys)
        return [key for (key,) in cursor.fetchall()]


def _promote(key: int) -> list[Run]:
    """Queue the first pending run of a conversation; return it, if there is one."""
    run = of_conversation(key).select_for_update(no_key=True).first()
    if run is None or not lifecycle.enter_queue(run.id):
        return []
    run.status, run.place = RunStatus.QUEUED, None
    if run.parent is None and (head := branches.continued(run.conversation)):
        run.parent = head
        Run.objects.filter(pk=run.pk).update(parent=head)
    now = database_time()
    store.touch([key], now, head=None)
    if run.question:
        branches.show_questions([run])
    else:
        store.insert_messages([(run, user_message(run.input))], now)
    return [run]
