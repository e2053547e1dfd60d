"""The rows that exist already for requests of runs, found by one statement."""

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache

import msgspec
from django.utils import timezone

from streaming.models import ACTIVE, Conversation, Organization, Run, RunStatus
from streaming.runs.requests import RunRequest
from streaming.storage.alias import app_connection
from streaming.storage.sql import clock_sql


class ExistingRows(msgspec.Struct, frozen=True):
    """The rows that exist for a request.

    `unended_run` is the active run of its conversation, else the first pending one.
    """

    organization: int | None
    conversation: int | None
    head: int | None
    is_branched: bool | None
    unended_run: str | None


#: A conversation may lack an active run until its first pending one is promoted.
_FIRST_PENDING = f"""
    SELECT pending.id FROM {Run._meta.db_table} pending
    WHERE pending.conversation_id = conversation.id
    AND pending.status = '{RunStatus.PENDING.value}'
    ORDER BY pending.place, pending.id LIMIT 1
"""


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
            COALESCE(run.id, ({_FIRST_PENDING})), {clock_sql()}
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


def find_existing(
    requests: Sequence[RunRequest],
) -> tuple[list[ExistingRows], datetime]:
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
    return [ExistingRows(*keys) for _, *keys, _ in rows], now or timezone.now()
