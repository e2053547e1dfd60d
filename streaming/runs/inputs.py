"""The inputs of active runs: texts with which a user steers a run.

Each transaction that adds an input has locked the row of the run, as the transaction
that ends the run has. Either the end finds the input, or the run is found to have
ended. The owner takes inputs in the checkpoint after the results of tools; those that
an ended run has not taken become the next run of its conversation.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache

import msgspec
from django.db.models import Max

from streaming.event_log import stored_log
from streaming.exceptions import (
    Forbidden,
    IdempotencyConflict,
    RateLimited,
    RunEnded,
    RunPending,
)
from streaming.models import Run, RunInput, RunStatus
from streaming.principals import Principal
from streaming.runs import leases, pending, store
from streaming.runs.idempotency import OLDEST, RunKey
from streaming.runs.requests import RunRequest, StartResult
from streaming.storage.alias import app_connection
from streaming.storage.sql import database_time, insert_all

FOREIGN = "Only the user of a run can steer it: it acts with the rights of that user."
#: Between texts that become one run.
BLANK_LINE = "\n\n"


class Untaken(msgspec.Struct, frozen=True):
    """An input that its run has not taken."""

    id: str
    text: str


class NextRunNeeded(Exception):
    """A run that ends has untaken inputs, and no id for the run that they become."""


@lru_cache(64)  # each number of runs has a statement of its own
def _statement(runs: int) -> str:
    keys = ", ".join(["%s"] * runs)
    return f"""
        SELECT run_id, id, text FROM {RunInput._meta.db_table}
        WHERE run_id IN ({keys}) AND taken_at IS NULL
        ORDER BY run_id, number
    """


def untaken(run_ids: Sequence[str]) -> dict[str, list[Untaken]]:
    """Return the untaken inputs of those of some runs that have any, in order.

    The one statement that inputs cost the checkpoints and the ends of other runs.
    """
    found: dict[str, list[Untaken]] = {}
    with app_connection().cursor() as cursor:
        cursor.execute(_statement(len(run_ids)), run_ids)
        for run_id, *values in cursor.fetchall():
            found.setdefault(run_id, []).append(Untaken(*values))
    return found


def mark_taken(input_ids: Collection[str], next_run: str = "") -> None:
    """Record that a run has taken inputs, or that they have become the next run."""
    if input_ids:
        waiting = RunInput.objects.filter(pk__in=list(input_ids), taken_at=None)
        waiting.update(taken_at=database_time(), next_run=next_run)


def add(
    run_id: str, principal: Principal, text: str, most: int, key: RunKey | None = None
) -> str:
    """Add an input to an active run; return its id. `most` as in `insert`.

    A repeated key returns the id of the first input. Raises `NotFound`, `Forbidden`,
    `RunEnded`, `RunPending`, `RateLimited` or `IdempotencyConflict`.
    """
    if store.get_run(run_id, principal).user != principal.user:
        raise Forbidden(FOREIGN)
    run = leases.lock_active([run_id]).first()
    if key and (repeated := find(key)):
        return repeated.id
    if run is None or run.cancel_requested_at:
        is_pending = run is None and pending.find([run_id])
        raise RunPending if is_pending else RunEnded
    return insert(run.id, text, most, key)


def insert(run_id: str, text: str, most: int, key: RunKey | None) -> str:
    """Insert an input of a run, which is locked; return its id.

    `most` bounds the untaken inputs of a run; 0: no limit. Raises `RateLimited`.
    """
    if most and len(untaken([run_id]).get(run_id, ())) >= most:
        raise RateLimited(
            f"The run has {most} texts that wait (RUN_MAX_PENDING); "
            "try again when it has taken them."
        )
    inputs = RunInput.objects.filter(run=run_id)
    newest = inputs.aggregate(newest=Max("number"))["newest"] or 0
    added = RunInput(
        run_id=run_id,
        number=newest + 1,
        text=text,
        created_at=database_time(),
        idempotency_key=key.key if key else "",
        request_hash=key.request_hash if key else "",
    )
    insert_all([added])
    return added.id


def find(key: RunKey) -> RunInput | None:
    """Return the input that a key names. Raises `IdempotencyConflict`."""
    named = RunInput.objects.filter(
        idempotency_key=key.key,
        run__owner=key.owner,
        run__organization__org_id=key.org_id,
        created_at__gte=OLDEST,
    )
    found = named.order_by("created_at").last()
    if found and found.request_hash != key.request_hash:
        raise IdempotencyConflict
    return found


def has_hash(run_id: str, request_hash: str) -> bool:
    """Return whether a request with a hash has steered a run."""
    return RunInput.objects.filter(run=run_id, request_hash=request_hash).exists()


def steer(
    wanted: Mapping[int, tuple[str, RunRequest]], most: int
) -> dict[int, StartResult]:
    """Add the inputs of requests to active runs; leave out those that cannot steer.

    `wanted` has the id of the active run of each request's conversation, or an empty
    one. A repeated request returns the run that its first one has steered.
    """
    steered: dict[int, StartResult] = {}
    run_ids = {run_id for run_id, _ in wanted.values() if run_id}
    active = {run.id: run for run in leases.lock_active(run_ids)} if run_ids else {}
    for at, (run_id, asked) in wanted.items():
        key = asked.run_key
        if key and (repeated := find(key)):
            steered[at] = _joined(repeated.run_id, repeated.id)
        elif (run := active.get(run_id)) and (
            (run.user, run.agent) == (asked.principal.user, asked.agent)
            and run.cancel_requested_at is None
            and not asked.names_place
        ):
            stored = key or RunKey("", "", "", asked.request_hash)
            steered[at] = _joined(run_id, insert(run_id, asked.input, most, stored))
    return steered


def _joined(run_id: str, input_id: str) -> StartResult:
    runs = Run.objects.select_related("organization", "conversation")
    newest = stored_log().newest(run_id)
    return StartResult(
        pending.with_position(runs.get(pk=run_id)),
        None,
        message_id=input_id,
        after=newest.number if newest else 0,
    )


def of_run(run_id: str) -> list[RunInput]:
    """Return the inputs of a run, in order."""
    return list(RunInput.objects.filter(run=run_id).order_by("number"))


def receiver(input_id: str) -> str:
    """Return the id of the run that an input has become; empty: none."""
    rows = RunInput.objects.filter(pk=input_id)
    return rows.values_list("next_run", flat=True).first() or ""


def follow(run_id: str, next_run: str) -> bool:
    """Make the untaken inputs of an ended run the first pending run.

    Its conversation must be locked. Return False if there are no such inputs.
    """
    left = untaken([run_id]).get(run_id, [])
    if left:
        _insert_next(Run.objects.get(pk=run_id), next_run, left)
    return bool(left)


def _insert_next(ended: Run, next_run: str, left: Iterable[Untaken]) -> None:
    """Insert the run that inputs of another have become, before all pending ones."""
    now = database_time()
    order = pending.of_conversation(ended.conversation_id)
    first = order.values_list("place", flat=True).first() or 0
    texts = list(left)
    following = Run(
        id=next_run,
        status=RunStatus.PENDING,
        place=first - 1,
        input=BLANK_LINE.join(each.text for each in texts),
        background=True,  # its client may learn of it late
        created_at=now,
        heartbeat_at=now,
        last_reader_at=now,
        **{name: getattr(ended, name) for name in _INHERITED},
    )
    insert_all([following])
    mark_taken([each.id for each in texts], next_run)


#: The values of a run that the next one has too.
_INHERITED = (
    "organization_id",
    "conversation_id",
    "owner",
    "user",
    "credential",
    "agent",
    "deps",
    "context",
    "max_iterations",
    "restarts",
    "queue",
    "priority",
    "provider",
    "model",
)
