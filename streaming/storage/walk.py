"""A walk over the messages of a conversation, up to a number of characters."""

from streaming.models import Message
from streaming.storage.alias import app_connection


def walk_sql(
    block: int, *, forward: bool = False, counted: str = "TRUE", branch: str = ""
) -> str:
    """Return a recursive query `walk` with the columns `id` and `chars`.

    Each row is the last of the next `block` messages of `%(conversation)s` after the
    message `%(start)s` (before it unless `forward`), with the characters up to there.
    The walk ends with the first row that has more than `%(chars)s`; sizes of further
    messages are not read, however many there are. It ends with an id of NULL if there
    are no further ones. Messages that are not `counted` have no characters. Those that
    are not in the `branch` (a condition) are passed over.
    """
    further, order, last = (">", "ASC", "MAX") if forward else ("<", "DESC", "MIN")
    next_block = f"""
        FROM {Message._meta.db_table}
        WHERE conversation_id = %(conversation)s AND id {further} walk.id
        {within(branch)}
        ORDER BY id {order} LIMIT {block}
    """
    return f"""
        WITH RECURSIVE walk (id, chars) AS (
            SELECT CAST(%(start)s AS bigint), CAST(0 AS bigint)
            UNION ALL
            SELECT
                (SELECT {last}(id) FROM (SELECT id {next_block}) block),
                chars + (
                    SELECT COALESCE(SUM(LENGTH(CAST(parts AS text))), 0)
                    FROM (SELECT id, parts, run_id {next_block}) block WHERE {counted}
                )
            FROM walk WHERE id IS NOT NULL AND chars <= %(chars)s
        )
    """


def within(branch: str) -> str:
    """Return the condition of a branch as a further one; nothing if it is empty."""
    return f"AND {branch}" if branch else ""


def _page_sql(forward: bool, branch: str = "") -> str:
    """Return the query for reading in a direction; its first row is the start."""
    walk = walk_sql(1, forward=forward, branch=branch)
    return f"{walk} SELECT id, chars FROM walk LIMIT %(rows)s"


_PAGES = {forward: _page_sql(forward) for forward in (True, False)}


def keys_within(
    conversation: int,
    start: int,
    *,
    forward: bool,
    limit: int,
    chars: int,
    branch: str = "",
) -> list[int]:
    """Return the keys of the next messages after `start`, or before it.

    They are at most `limit`, and their parts have at most `chars` characters as they
    are stored. There is at least one, unless no messages remain. `branch` is the
    condition of a branch; empty: all messages.
    """
    values = {
        "conversation": conversation,
        "start": start,
        "chars": chars,
        "rows": limit + 1,
    }
    with app_connection().cursor() as cursor:
        cursor.execute(
            _page_sql(forward, branch) if branch else _PAGES[forward], values
        )
        rows = [row for row in cursor.fetchall()[1:] if row[0] is not None]
    return [key for at, (key, total) in enumerate(rows) if not at or total <= chars]
