"""The erasure of an organization's or a user's data, in transactions that are short.

Each step can be repeated: an interrupted erasure continues with the rows that remain.
The record in the audit log is written in the last transaction.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from django.apps import apps
from django.db.models import QuerySet
from django.db.models.functions import Now

from streaming import audit
from streaming.models import (
    HAS_NOT_ENDED,
    IS_ACTIVE,
    Account,
    AuditRecord,
    Organization,
)
from streaming.personal_data.selection import Selection, own_models
from streaming.personal_data.shared import erase_shared
from streaming.runs.cancelling import cancel_runs
from streaming.runs.deletion import delete_conversations
from streaming.runs.executors.base import executor_class
from streaming.storage.database import Database

#: Time for active runs to end after they were cancelled. A run that has not ended by
#: then, as after a crash of its process, is deleted like the others.
STOP_SECONDS = 15.0
POLL_SECONDS = 0.25
#: Attempts to erase the last rows while other requests start runs.
MAX_ATTEMPTS = 5

Counts = dict[str, int]


class StillInUse(Exception):
    """New conversations were started during the erasure."""


def count_rows(chosen: Selection) -> Counts:
    """Return the numbers of rows that an erasure deletes."""
    counts = {
        "conversations": chosen.conversations.count(),
        "runs": chosen.runs.count(),
        "active_runs": chosen.runs.filter(IS_ACTIVE).count(),
    }
    for model in own_models():
        name = str(model._meta.verbose_name_plural).lower().replace(" ", "_")
        counts[name] = chosen.rows(model).count()
    return counts


async def erase(
    database: Database,
    chosen: Selection,
    actor: str,
    *,
    stop_seconds: float = STOP_SECONDS,
    report: Callable[[str], object] = bool,
) -> Counts:
    """Erase all rows of a selection; return the numbers of rows.

    `report` is called with a sentence before each step. Raises `StillInUse`.
    """
    counts = await database.execute_read(count_rows, chosen)
    report("Keys are revoked.")
    await database.execute_write(_revoke_keys, chosen)
    report("Active runs are cancelled.")
    await _stop_runs(database, chosen, stop_seconds)
    report("Conversations are deleted.")
    for _ in range(MAX_ATTEMPTS):
        await delete_conversations(database, chosen.conversations)
        await erase_shared(database, chosen)
        if await database.execute_write(_finish, chosen, actor, counts):
            return counts
    raise StillInUse


def _revoke_keys(chosen: Selection) -> None:
    """Revoke the keys before they are deleted: none of them starts another run."""
    chosen.keys.filter(revoked_at=None).update(revoked_at=Now())


async def _stop_runs(database: Database, chosen: Selection, seconds: float) -> None:
    def active() -> list[str]:
        return list(chosen.runs.filter(HAS_NOT_ENDED).values_list("pk", flat=True))

    run_ids = await database.execute_read(active)
    if not run_ids:
        return
    executor = executor_class()
    await database.execute_write(
        cancel_runs, run_ids, executor.cancel, executor.enqueue
    )
    deadline = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < deadline:
        if not await database.execute_read(active):
            return
        await asyncio.sleep(POLL_SECONDS)


def _finish(chosen: Selection, actor: str, counts: Counts) -> bool:
    """Erase the last rows and record the erasure; return false if runs have started."""
    if chosen.conversations.exists() or chosen.runs.exists():
        return False
    for model in own_models():
        if model is not Account:
            _blank_admin_log(chosen.rows(model))
        chosen.rows(model).delete()
    _erase_names(chosen)
    org_id = chosen.organization.org_id
    if not chosen.user:
        Organization.objects.filter(pk=chosen.organization.pk).delete()
    audit.record(
        "data.erased",
        actor=actor,
        target=audit.ERASED if chosen.user else f"organization:{org_id}",
        org_id=org_id,
        details=dict(counts),
    )
    return True


def _blank_admin_log(rows: QuerySet[Any]) -> None:
    """Remove the texts of rows from the log of Django's admin, which outlives them."""
    if not apps.is_installed("django.contrib.admin"):
        return
    logged = apps.get_model("admin", "LogEntry")._default_manager.filter(
        content_type__app_label=rows.model._meta.app_label,
        content_type__model=rows.model._meta.model_name,
        object_id__in=[str(key) for key in rows.values_list("pk", flat=True)],
    )
    logged.update(object_repr="")


def _erase_names(chosen: Selection) -> None:
    """Erase the user, or all users of the organization, from the audit log."""
    records = AuditRecord.objects.filter(org_id=chosen.organization.org_id)
    name = audit.user_name(chosen.user)
    lookup = "exact" if chosen.user else "startswith"
    for field in ("actor", "target"):
        records.filter(**{f"{field}__{lookup}": name}).update(**{field: audit.ERASED})
