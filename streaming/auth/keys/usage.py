"""The last use of keys, written at most once a minute for each key.

The uses of all keys are collected and written in one statement a few seconds later. A
process that is killed loses these seconds.
"""

import asyncio
import logging
from contextvars import Context
from datetime import datetime, timedelta

from django.db import Error
from django.db.models import Q
from django.db.models.functions import Now

from streaming import audit
from streaming.auth.keys.records import KeyRecord
from streaming.models import ApiKey, AuditRecord
from streaming.storage.database import Database
from streaming.storage.errors import describe

logger = logging.getLogger(__name__)

#: Age of a written use after which the next one is written.
INTERVAL = timedelta(minutes=1)
#: Seconds for which uses are collected.
DELAY_SECONDS = 5.0
#: The audit log has one record of a refused key in this time.
REFUSAL_INTERVAL = timedelta(hours=1)
REFUSED = "key.refused"


class KeyUsage:
    """The uses of keys in one event loop that are not written yet."""

    def __init__(self, access: Database, delay: float = DELAY_SECONDS) -> None:
        self._database = access
        self._delay = delay
        self._used: set[str] = set()
        #: The reasons for refusals, by the prefix and organization of the key.
        self._refused: dict[tuple[str, str], str] = {}
        self._task: asyncio.Task[None] | None = None

    def used(self, record: KeyRecord, now: datetime) -> None:
        """Note the use of a key."""
        if record.last_used_at is None or now - record.last_used_at > INTERVAL:
            self._used.add(record.prefix)
            self._schedule()

    def refused(self, record: KeyRecord, reason: str) -> None:
        """Note that a key with the right secret was refused."""
        self._refused[record.prefix, record.principal.org_id] = reason
        self._schedule()

    def _schedule(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write(), context=Context())

    async def _write(self) -> None:
        while self._used or self._refused:
            await asyncio.sleep(self._delay)
            used, self._used = self._used, set()
            refused, self._refused = self._refused, {}
            try:
                if used:
                    await self._database.execute_write(save_uses, used)
                if refused:
                    await self._database.execute_write(save_refusals, refused)
            except Error as error:  # the next use is written
                logger.warning("use of keys not written: %s", describe(error))


def save_uses(prefixes: set[str]) -> None:
    """Write the last use of keys, unless another process has done so."""
    due = Q(last_used_at=None) | Q(last_used_at__lt=Now() - INTERVAL)
    ApiKey.objects.filter(due, prefix__in=prefixes).update(last_used_at=Now())


def save_refusals(reasons: dict[tuple[str, str], str]) -> None:
    """Record the refusals of keys, unless there is a recent record."""
    recent = AuditRecord.objects.filter(
        action=REFUSED, at__gt=Now() - REFUSAL_INTERVAL
    ).values_list("target", flat=True)
    known = set(recent.filter(target__in=[f"key:{prefix}" for prefix, _ in reasons]))
    for (prefix, org_id), reason in reasons.items():
        name = f"key:{prefix}"
        if name not in known:
            audit.record(
                REFUSED,
                actor=name,
                target=name,
                org_id=org_id,
                details={"reason": reason},
            )
