"""The messages of a conversation, read from the database for a model."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from operator import lt

import msgspec

from streaming.exceptions import ContextTooLong
from streaming.messages import (
    Message,
    Role,
    json_size,
    newest_exchanges,
    parts_from_lines,
)
from streaming.models import Conversation, Run
from streaming.models import Message as MessageRow
from streaming.storage.alias import app_connection
from streaming.storage.branches import LAST, Branch
from streaming.storage.walk import walk_sql, within

#: The messages of a conversation, decoded only by the call: the transaction that reads
#: them keeps other writes waiting, and does not need them decoded.
History = Callable[[], list[Message]]

#: Messages that the first query reads, whatever their sizes: most conversations have
#: no more, and a walk to the oldest one that fits takes as long as reading them.
FIRST = 32
#: Messages of one step of a walk: a step costs as much as some messages.
BLOCK = 32
#: Stored characters that are read for each one that may be sent, beyond what is known
#: about the newer messages. With fewer, another query would be needed too often.
SLACK = 1.06

# An exchange that a model refused would be refused again, with all that follows. It
# remains visible to people. A run has a stop reason or an error only after its end.
_IS_REFUSED = f"(stop_reason = 'refusal' OR error_code = '{ContextTooLong.code}')"
_REFUSED = f"""
    SELECT id FROM {Run._meta.db_table}
    WHERE conversation_id = %(conversation)s AND {_IS_REFUSED}
"""
# The questions that the runs of branch points have answered again.
_ANSWERED_AGAIN = f"""
    SELECT question, {_IS_REFUSED} FROM {Run._meta.db_table}
    WHERE question IS NOT NULL AND id IN (
        SELECT run_id FROM {MessageRow._meta.db_table} WHERE id IN ({{points}})
    )
"""
_ACCEPTED = f"(run_id IS NULL OR run_id NOT IN ({_REFUSED}))"
# A chunk is one row: with SQLite, each row releases the interpreter to other threads
# and has to acquire it again. The aggregates have the messages in the same order, which
# may be any. SQLite needs no casts, and would pay for them.
_AGGREGATES = {
    "sqlite": """
        group_concat(id, '\n'), group_concat(role, '","'), group_concat(parts, '\n')
    """,
    "postgresql": """
        string_agg(id::text, '\n'), string_agg(role, '","'),
        string_agg(parts::text, '\n')
    """,
}

_ids = msgspec.json.Decoder(int).decode_lines
_roles = msgspec.json.Decoder(list[Role]).decode


@dataclass
class Chunk:
    """Messages as columns: all ids, all roles, all parts."""

    ids: list[int]
    roles: str
    parts: str
    #: Whether the conversation has refused exchanges.
    refused: bool

    @property
    def chars(self) -> int:
        """Return the characters of the parts, without the line ends between them."""
        return len(self.parts) - len(self.ids) + 1

    @cached_property
    def messages(self) -> list[Message]:
        """Return the messages, the oldest first."""
        parts = parts_from_lines(self.parts)
        rows = list(map(Message, _roles(f'["{self.roles}"]'), parts))
        if all(map(lt, self.ids, self.ids[1:])):  # nearly always
            return rows
        return [message for _, message in sorted(zip(self.ids, rows, strict=True))]


class BranchSql(msgspec.Struct, frozen=True):
    """The conditions for messages of one branch; empty: for all of a conversation."""

    #: The condition of the branch.
    branch: str = ""
    #: The condition for messages of accepted exchanges.
    accepted: str = _ACCEPTED


WHOLE = BranchSql()


def branch_sql(branch: Branch, answered: int | None = None) -> BranchSql:
    """Return the conditions for a branch.

    A question that a later run has answered again is accepted if that run in this
    branch was. `answered` is a question at its end that a run is about to answer.
    """
    refused: dict[int, bool] = {answered: False} if answered else {}
    if points := ", ".join(map(str, branch.points)):
        with app_connection().cursor() as cursor:
            cursor.execute(_ANSWERED_AGAIN.format(points=points))
            refused |= dict(cursor.fetchall())
    cases = ""
    # Two lists, in which databases search; a case for each question would be compared
    # with each message.
    for value in (False, True):
        questions = [str(q) for q, is_refused in refused.items() if is_refused == value]
        if questions:
            cases += f" WHEN id IN ({', '.join(questions)}) THEN {not value}"
    accepted = f"(CASE{cases} ELSE {_ACCEPTED} END)" if cases else _ACCEPTED
    return BranchSql(branch.condition, accepted)


def read_history(
    conversation: Conversation, max_chars: int, sql: BranchSql = WHOLE
) -> History:
    """Return the newest whole exchanges of a conversation, or of a branch, that fit.

    The first query reads a few messages, the second one the others that fit. A third
    one follows if older messages have other characters than the first ones, which takes
    more or less room as they are stored, or if the newest exchange is too long.
    """
    chunks: list[Chunk] = []
    stored = size = limit = 0
    while chunk := read_chunk(conversation, chunks, limit, sql):
        chunks.insert(0, chunk)
        stored += len(chunk.parts) + 1  # each message is sent as a line
        size = stored
        is_last = chunk.chars <= limit if limit else len(chunk.ids) < FIRST
        if is_last and stored <= max_chars:
            break
        messages = _joined(chunks)
        size = json_size(messages)  # less: stored JSON has spaces, SQLite's has escapes
        fits = size <= max_chars
        if is_last or not fits and any(message.begins_exchange for message in messages):
            break
        # An exchange that is too long is read to its question, in doubled steps.
        room = (max_chars - size) * stored / size if fits else stored
        limit = int(room * SLACK) + 1
    return lambda: newest_exchanges(_joined(chunks), size - max_chars)


def _joined(chunks: Iterable[Chunk]) -> list[Message]:
    return [message for chunk in chunks for message in chunk.messages]


def read_chunk(
    conversation: Conversation,
    newer: Sequence[Chunk],
    limit: int,
    sql: BranchSql = WHOLE,
) -> Chunk | None:
    """Return messages before the newer ones, up to the first beyond `limit` characters.

    With the limit 0 they are the newest `FIRST`.
    """
    where = {
        "conversation": conversation.pk,
        "start": min(newer[0].ids) if newer else LAST,
        "chars": limit,
    }
    by_size, refused = limit > 0, newer[0].refused if newer else True
    connection = app_connection()
    with connection.cursor() as cursor:
        make = _kept_statement if sql == WHOLE else _statement
        cursor.execute(make(connection.vendor, by_size, refused, sql), where)
        ids, roles, parts, refused = cursor.fetchone()
    return Chunk(_ids(ids), roles, parts, bool(refused)) if ids else None


def _statement(vendor: str, by_size: bool, refused: bool, sql: BranchSql) -> str:
    """Return the query for a chunk: the newest messages, or those up to a size.

    Leaving out refused exchanges takes as long as reading some messages. The first
    query reports if there are none.
    """
    accepted = sql.accepted if refused else "TRUE"
    has_refused = f"EXISTS ({_REFUSED})" if refused else "FALSE"
    if by_size and vendor == "postgresql":
        walk = _joining_walk(accepted, sql.branch)
        return f"{walk}, {has_refused} FROM walk"
    older = f"""
        FROM {MessageRow._meta.db_table}
        WHERE conversation_id = %(conversation)s AND id < %(start)s
        {within(sql.branch)} AND {accepted}
    """
    columns = f"SELECT {_AGGREGATES[vendor]}, {has_refused}"
    if by_size:
        walk = walk_sql(BLOCK, counted=accepted, branch=sql.branch)
        return f"{walk} {columns} {older} AND id >= (SELECT MIN(id) FROM walk)"
    oldest = f"SELECT id {older} ORDER BY id DESC LIMIT 1 OFFSET {FIRST - 1}"
    return f"{columns} {older} AND id >= COALESCE(({oldest}), 0)"


#: The statements for whole conversations; each branch has statements of its own.
_kept_statement = lru_cache(_statement)


def _joining_walk(accepted: str, branch: str) -> str:
    """Return a walk whose rows have the messages of their block, and their columns.

    PostgreSQL takes as long to make text of a message's JSON as for the rest, so that
    each is read once. SQLite has no LATERAL.
    """
    return f"""
        WITH RECURSIVE walk (id, chars, ids, roles, parts) AS (
            SELECT %(start)s::bigint, 0::bigint, NULL::text, NULL::text, NULL::text
            UNION ALL
            SELECT block.id, walk.chars + block.chars, ids_, roles_, parts_
            FROM walk CROSS JOIN LATERAL (
                SELECT
                    MIN(id) AS id,
                    COALESCE(SUM(LENGTH(parts)) FILTER (WHERE {accepted}), 0) AS chars,
                    string_agg(id::text, '\n') FILTER (WHERE {accepted}) AS ids_,
                    string_agg(role, '","') FILTER (WHERE {accepted}) AS roles_,
                    string_agg(parts, '\n') FILTER (WHERE {accepted}) AS parts_
                FROM (
                    SELECT id, role, run_id, parts::text AS parts
                    FROM {MessageRow._meta.db_table}
                    WHERE conversation_id = %(conversation)s AND id < walk.id
                    {within(branch)}
                    ORDER BY id DESC LIMIT {BLOCK}
                ) message
            ) block
            WHERE walk.id IS NOT NULL AND walk.chars <= %(chars)s
        )
        SELECT string_agg(ids, '\n'), string_agg(roles, '","'), string_agg(parts, '\n')
    """
