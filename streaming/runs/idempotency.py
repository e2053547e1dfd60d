"""Idempotency keys: a repeated request joins the run that the first one started.

A key names its run for a day. A run that failed with a retryable error releases it, so
that the client may repeat the request as its error said.
"""

from datetime import timedelta

import msgspec
from django.db.models import QuerySet
from django.db.models.functions import Now

from streaming.event_log import stored_log
from streaming.events import ErrorInfo
from streaming.exceptions import IdempotencyConflict, from_code
from streaming.models import Run, RunStatus

IDEMPOTENCY_HOURS = 24
#: Time before which a run was started whose key has expired.
OLDEST = Now() - timedelta(hours=IDEMPOTENCY_HOURS)
#: The last events of a failed run: `error` and `done`.
LAST_EVENTS = 2


class _Failure(msgspec.Struct):
    """The only field of an `error` event that is decoded."""

    metadata: ErrorInfo


class RunKey(msgspec.Struct, frozen=True):
    """An idempotency key of an owner, with the hash of the request that has it."""

    org_id: str
    owner: str
    key: str
    request_hash: str


def find_run(key: RunKey) -> Run | None:
    """Return the run that a key names. Raises `IdempotencyConflict`."""
    unexpired = _holders(key).filter(created_at__gte=OLDEST)
    run = unexpired.select_related("organization", "conversation").first()
    if run is None or _is_released(run):
        return None
    if run.request_hash != key.request_hash:
        raise IdempotencyConflict
    return run


def take_key(key: RunKey) -> Run | None:
    """Return the run that a key names, or free the key for a new run.

    Raises `IdempotencyConflict`.
    """
    if not _holders(key).exists():
        return None
    run = find_run(key)
    if run is None:
        _holders(key).update(idempotency_key=None)
    return run


def expired_keys() -> QuerySet[Run]:
    """Return runs whose idempotency key has expired."""
    return Run.objects.filter(idempotency_key__isnull=False, created_at__lt=OLDEST)


def _holders(key: RunKey) -> QuerySet[Run]:
    """Return the run with a key, whether or not the key still names it."""
    return Run.objects.filter(
        organization__org_id=key.org_id, owner=key.owner, idempotency_key=key.key
    )


def _is_released(run: Run) -> bool:
    """Return true if a run failed, and its `error` event said `retryable`."""
    if run.status != RunStatus.FAILED:
        return False
    log = stored_log()
    newest = log.newest(run.id)
    for entry in log.read(run.id, newest.number - LAST_EVENTS) if newest else ():
        if entry.type == "error":
            return msgspec.json.decode(entry.data, type=_Failure).metadata.retryable
    return from_code(run.error_code, "").retryable  # the log was removed
