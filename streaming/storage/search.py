"""The search for conversations, in an indexed short text of each one.

The text is the title and the beginning of the first question, in a form in which case,
accents and widths make no difference. It is written once, with the conversation. The
index holds sequences of three characters: FTS5 on SQLite, pg_trgm on PostgreSQL.
Shorter words, and all words where the index is missing, are compared with each text,
which gives the same results. In no case are messages or runs read.
"""

import re
import unicodedata

from django.apps.registry import Apps
from django.db import Error, connections, transaction
from django.db.models import OuterRef, Q, Subquery
from django.db.models.expressions import RawSQL
from django.db.models.functions import Substr

from streaming.models import ConversationText
from streaming.storage.alias import app_alias

#: Characters of the first question that can be found.
QUESTION_CHARS = 500
#: Characters of a search that are compared.
SEARCH_CHARS = 200
#: Length of the sequences in the index: shorter terms cannot use it.
SEQUENCE = 3
#: Conversations whose texts one transaction adds.
BATCH = 500

_TEXTS = ConversationText._meta.db_table
_INDEX = "streaming_search"
#: The accents of Latin, Greek and Cyrillic letters. Those of other scripts are letters.
_ACCENTS = re.compile("[\u0300-\u036f]")

# The index has no copy of the texts. Triggers keep it complete for every writer of the
# table, and for a deletion by any path.
_SQLITE = (
    f"""
    CREATE VIRTUAL TABLE {_INDEX} USING fts5(
        text, content='{_TEXTS}', content_rowid='conversation_id',
        tokenize='trigram', columnsize=0
    )
    """,
    f"""
    CREATE TRIGGER {_INDEX}_insert AFTER INSERT ON {_TEXTS} BEGIN
        INSERT INTO {_INDEX} (rowid, text) VALUES (new.conversation_id, new.text);
    END
    """,
    f"""
    CREATE TRIGGER {_INDEX}_delete AFTER DELETE ON {_TEXTS} BEGIN
        INSERT INTO {_INDEX} ({_INDEX}, rowid, text)
        VALUES ('delete', old.conversation_id, old.text);
    END
    """,
    f"""
    CREATE TRIGGER {_INDEX}_update AFTER UPDATE ON {_TEXTS} BEGIN
        INSERT INTO {_INDEX} ({_INDEX}, rowid, text)
        VALUES ('delete', old.conversation_id, old.text);
        INSERT INTO {_INDEX} (rowid, text) VALUES (new.conversation_id, new.text);
    END
    """,
    f"INSERT INTO {_INDEX} ({_INDEX}) VALUES ('rebuild')",
)
_POSTGRESQL = (
    "CREATE EXTENSION IF NOT EXISTS pg_trgm",
    f"CREATE INDEX {_INDEX} ON {_TEXTS} USING gin (text gin_trgm_ops)",
)
_DROP = {
    "sqlite": (
        *(
            f"DROP TRIGGER IF EXISTS {_INDEX}_{on}"
            for on in ("insert", "delete", "update")
        ),
        f"DROP TABLE IF EXISTS {_INDEX}",
    ),
    "postgresql": (f"DROP INDEX IF EXISTS {_INDEX}",),
}
_EXISTS = {
    "sqlite": f"SELECT 1 FROM sqlite_master WHERE name = '{_INDEX}'",
    "postgresql": f"SELECT 1 WHERE to_regclass('{_INDEX}') IS NOT NULL",
}


def fold(text: str) -> str:
    """Return a text without differences of case, accents, widths and spaces."""
    apart = unicodedata.normalize("NFKD", text.replace("\0", " ")).casefold()
    folded = unicodedata.normalize("NFKC", _ACCENTS.sub("", apart))
    return " ".join(folded.split())


def text_of(title: str, question: str) -> str:
    """Return the text in which a conversation is found."""
    beginning = fold(question[:QUESTION_CHARS])
    name = fold(title)
    # A title is usually the beginning of the question, cut with an ellipsis.
    return (
        beginning if beginning.startswith(name.rstrip("….")) else f"{name}\n{beginning}"
    )


def matching(search: str) -> Q:
    """Return the condition for conversations whose text contains each word."""
    words = fold(search[:SEARCH_CHARS]).split()
    indexed = [word for word in words if len(word) >= SEQUENCE]
    condition = Q()
    # PostgreSQL uses its index for LIKE.
    if connections[app_alias()].vendor == "sqlite" and indexed and has_index():
        sql = f"SELECT rowid FROM {_INDEX} WHERE {_INDEX} MATCH %s"
        # As phrases: no character in them is an operator of FTS5.
        phrases = ['"{}"'.format(word.replace('"', '""')) for word in indexed]
        condition &= Q(pk__in=RawSQL(sql, [" ".join(phrases)]))
        words = [word for word in words if len(word) < SEQUENCE]
    for word in words:
        condition &= Q(search__text__contains=word)
    return condition


def has_index(alias: str | None = None) -> bool:
    """Return true if the index exists, which needs a part of the database."""
    database = connections[alias or app_alias()]
    with database.cursor() as cursor:
        cursor.execute(_EXISTS[database.vendor])
        return cursor.fetchone() is not None


def create_index(alias: str | None = None) -> Error | None:
    """Create the index; return the error if the database lacks the part for it.

    The part is FTS5 with its tokenizer `trigram` (SQLite 3.34), or the extension
    pg_trgm with the right to create it.
    """
    database = connections[alias or app_alias()]
    statements = _SQLITE if database.vendor == "sqlite" else _POSTGRESQL
    try:
        with transaction.atomic(database.alias), database.cursor() as cursor:
            for sql in statements:
                cursor.execute(sql)
    except Error as error:
        return error
    return None


def drop_index(alias: str | None = None) -> None:
    """Drop the index, which may be missing."""
    database = connections[alias or app_alias()]
    with database.cursor() as cursor:
        for sql in _DROP[database.vendor]:
            cursor.execute(sql)


def add_texts(
    apps: Apps, after: int, alias: str | None = None, limit: int = BATCH
) -> int | None:
    """Add the missing texts of the next conversations after a key.

    Must be called in a transaction. Returns the key to continue after; None at the end.
    `apps` has the models, which may be those of a migration.
    """
    conversation, run, text = (
        apps.get_model("streaming", name)
        for name in ("Conversation", "Run", "ConversationText")
    )
    first = run.objects.filter(conversation=OuterRef("pk"))
    question = first.order_by("created_at", "id").values(
        beginning=Substr("input", 1, QUESTION_CHARS)
    )
    page = (
        conversation.objects.using(alias)
        .filter(pk__gt=after)
        .order_by("pk")
        .select_for_update(no_key=True)  # none is deleted before its text is added
        .values_list("pk", "title", Subquery(question[:1]))
    )
    rows = list(page[:limit])
    texts = text.objects.using(alias)
    known = set(
        texts.filter(pk__in=[pk for pk, *_ in rows]).values_list("pk", flat=True)
    )
    texts.bulk_create(
        [
            text(conversation_id=pk, text=text_of(title, beginning or ""))
            for pk, title, beginning in rows
            if pk not in known
        ],
        ignore_conflicts=True,  # a running server may have added one
    )
    return rows[-1][0] if len(rows) == limit else None
