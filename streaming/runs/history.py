"""The messages of a conversation, read from the database for a model."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from operator import lt

import msgspec
from django.db import connection

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

#: The messages of a conversation, decoded only by the call: the transaction that reads
#: them keeps other writes waiting, and does not need them decoded.
History = Callable[[], list[Message]]

#: Number of messages in the first chunk, and factor from each chunk to the next.
CHUNK = 200
GROWTH = 4

_LAST = 2**63 - 1

# An exchange that a model refused would be refused again, with all that follows. It
# remains visible to people. A run has a stop reason or an error only after its end.
_REFUSED = f"""
    SELECT id FROM {Run._meta.db_table}
    WHERE conversation_id = %(conversation)s
    AND (stop_reason = 'refusal' OR error_code = '{ContextTooLong.code}')
"""
_BEFORE = f"""
    FROM {MessageRow._meta.db_table}
    WHERE conversation_id = %(conversation)s AND id < %(before)s
    AND (run_id IS NULL OR run_id NOT IN ({_REFUSED}))
"""
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
_CHUNK = {
    vendor: f"""
        SELECT {aggregates} {_BEFORE} AND id >= COALESCE(
            (SELECT id {_BEFORE} ORDER BY id DESC LIMIT 1 OFFSET %(others)s), 0
        )
    """
    for vendor, aggregates in _AGGREGATES.items()
}

_ids = msgspec.json.Decoder(int).decode_lines
_roles = msgspec.json.Decoder(list[Role]).decode


@dataclass
class _Chunk:
    """Messages as columns: all ids, all roles, all parts."""

    ids: list[int]
    roles: str
    parts: str

    @cached_property
    def messages(self) -> list[Message]:
        """Return the messages, the oldest first."""
        parts = parts_from_lines(self.parts)
        rows = list(map(Message, _roles(f'["{self.roles}"]'), parts))
        if all(map(lt, self.ids, self.ids[1:])):  # nearly always
            return rows
        return [message for _, message in sorted(zip(self.ids, rows, strict=True))]


def read_history(conversation: Conversation, max_chars: int) -> History:
    """Return the newest whole exchanges of a conversation that fit."""
    chunks: list[_Chunk] = []
    size = 0
    for older in _newest_first(conversation):
        chunks.insert(0, older)
        size += len(older.parts)
        if size > max_chars:  # perhaps only because of spaces and of SQLite's escapes
            messages = _joined(chunks)
            size = json_size(messages)
            if size > max_chars and any(message.role == "user" for message in messages):
                break
    return lambda: newest_exchanges(_joined(chunks), size - max_chars)


def _joined(chunks: Iterable[_Chunk]) -> list[Message]:
    return [message for chunk in chunks for message in chunk.messages]


def _newest_first(conversation: Conversation) -> Iterator[_Chunk]:
    before, limit = _LAST, CHUNK
    while True:
        where = {"conversation": conversation.pk, "before": before}
        with connection.cursor() as cursor:
            cursor.execute(_CHUNK[connection.vendor], where | {"others": limit - 1})
            ids, roles, parts = cursor.fetchone()
        if not ids:
            return
        chunk = _Chunk(_ids(ids), roles, parts)
        yield chunk
        if len(chunk.ids) < limit:
            return
        before, limit = min(chunk.ids), limit * GROWTH
