"""The poll: the new rows of the logs of many runs, by one statement.

Built by the ORM, the query for 200 runs took 47 ms of CPU, ten times a second; this one
takes 1.6 ms on PostgreSQL and 0.4 ms on SQLite.
"""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from streaming.event_log.segments import row_entries
from streaming.events import Entry
from streaming.models import NOT_ENDED, EventSegment, Run
from streaming.storage.alias import app_connection


def read_new(
    positions: Mapping[str, int],
) -> tuple[dict[str, list[Entry]], set[str]]:
    """Return entries of several runs, each after a number; and the ended runs' ids.

    A run that was deleted counts as ended. One statement sees the rows of one moment:
    all entries of an ended run are among them.
    """
    found: dict[str, list[Entry]] = {}
    ended: set[str] = set()
    if not positions:
        return found, ended
    with app_connection().cursor() as cursor:
        sql, parameters = statement(positions)
        cursor.execute(sql, parameters)
        for run_id, has_ended, first, events in cursor.fetchall():
            if has_ended:
                ended.add(run_id)
            if events is not None:
                entries = row_entries(first, events, positions[run_id])
                found.setdefault(run_id, []).extend(entries)
    return found, ended


def statement(positions: Mapping[str, int]) -> tuple[str, list[Any]]:
    """Return the statement for this database, with its parameters."""
    if app_connection().vendor == "postgresql":
        return _for_postgresql(), [list(positions), list(positions.values())]
    return _for_sqlite(), [json.dumps(positions)]


@cache
def _for_postgresql() -> str:
    # OFFSET 0: each run's rows are looked up in the index, whatever their estimate is.
    return f"""
        SELECT wanted.run_id, {_ENDED}, segment.first_id, segment.events
        FROM unnest(%s::text[], %s::bigint[]) AS wanted (run_id, after)
        LEFT JOIN {Run._meta.db_table} run ON run.id = wanted.run_id
        LEFT JOIN LATERAL (
            SELECT first_id, last_id, events FROM {EventSegment._meta.db_table}
            WHERE run_id = wanted.run_id AND last_id > wanted.after
            OFFSET 0
        ) segment ON TRUE
        WHERE segment.last_id IS NOT NULL OR {_ENDED}
        ORDER BY wanted.run_id, segment.last_id
    """


@cache
def _for_sqlite() -> str:
    return f"""
        SELECT wanted.key, {_ENDED}, segment.first_id, segment.events
        FROM json_each(%s) AS wanted
        LEFT JOIN {Run._meta.db_table} run ON run.id = wanted.key
        LEFT JOIN {EventSegment._meta.db_table} segment
        ON segment.run_id = wanted.key AND segment.last_id > wanted.value
        WHERE segment.last_id IS NOT NULL OR {_ENDED}
        ORDER BY wanted.key, segment.last_id
    """


_STATUSES = ", ".join(f"'{status.value}'" for status in NOT_ENDED)
_ENDED = f"(run.id IS NULL OR run.status NOT IN ({_STATUSES}))"
