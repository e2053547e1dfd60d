"""The search for conversations: the same results with an index and without one."""

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.db.models import Model
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.api.conversations import list_conversations
from streaming.api.schemas import PageQuery
from streaming.models import (
    Conversation,
    ConversationText,
    Message,
    Organization,
    Run,
)
from streaming.principals import Principal
from streaming.storage import search
from streaming.storage.search import fold, matching, text_of
from tests import campaign

pytestmark = pytest.mark.django_db

#: Words that are operators or wildcards somewhere, and letters that have variants.
HARD = [
    *('"', '""', "'", "*", "-", "^", ":", "(", ")", "{", "+", "\\", "%", "_", "|"),
    *("NEAR", "AND", "OR", "NOT", "text:", "a*b", 'say "yes"', "100%", "a_b", "\\o/"),
    *(
        "東京",
        "東京タワー",
        "서울",
        "ไทย",
        "हिन्दी",
        "ÅNGSTRÖM",
        "straße",
        "Ελλάδα",
        "😀",
    ),
]
TEXTS = st.lists(
    st.sampled_from([*HARD, "leaf", "Leaf", "hay", "needle"]) | st.text(max_size=4),
    max_size=5,
).map(" ".join)


def make_conversation(
    question: str, org_id: str = "acme", title: str = ""
) -> Conversation:
    """Make a conversation that is found by its question."""
    organization, _ = Organization.objects.get_or_create(org_id=org_id)
    made = Conversation.objects.create(organization=organization, title=title)
    text = text_of(title, question)
    ConversationText.objects.create(conversation=made, text=text)
    return made


def found(text: str) -> set[int]:
    """Return the keys of the conversations that a search finds."""
    chosen = Conversation.objects.filter(matching(text))
    return set(chosen.values_list("pk", flat=True))


@pytest.fixture
def _without_index(db: None) -> None:
    """Drop the index, until the test's transaction is rolled back."""
    search.drop_index()


def test_this_database_has_an_index() -> None:
    assert search.has_index()


@pytest.mark.parametrize("word", HARD)
def test_each_character_stands_for_itself(word: str) -> None:
    mine = make_conversation(f"before {word} after")
    make_conversation("something else, xx")
    assert found(word) == {mine.pk}
    assert found(f"{word} missing") == set()


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("Crème brûlée", "creme BRULEE"),
        ("creme brulee", "crème brûlée"),
        ("Cre\u0300me", "crème"),
        ("Straße", "STRASSE"),
        ("ΟΔΟΣ", "οδος"),
        ("ＡＢＣ１２３", "abc123"),
        ("東京タワー", "タワー"),
        ("東京タワー", "ﾀﾜｰ"),
        ("서울의 봄", "서울"),
        ("two\n\twords", "words two"),
        ("İstanbul", "istanbul"),
        ("naïve ﬁlter", "filter"),
        ("Ёлка", "елка"),
    ],
)
def test_case_accents_and_widths_make_no_difference(text: str, query: str) -> None:
    mine = make_conversation(text)
    assert found(query) == {mine.pk}


def test_other_letters_are_not_mistaken_for_accents() -> None:
    make_conversation("が 하나 किताब")
    assert found("か") == found("ᄒ") == found("कताब") == set()


@settings(max_examples=campaign.examples(40))
@given(texts=st.lists(TEXTS, max_size=5), query=TEXTS)
def test_the_index_finds_the_texts_that_contain_each_word(
    texts: list[str], query: str
) -> None:
    Conversation.objects.all().delete()
    made = [make_conversation(text) for text in texts]
    words = fold(query[: search.SEARCH_CHARS]).split()
    expected = {
        each.pk
        for each, text in zip(made, texts, strict=True)
        if all(word in text_of("", text) for word in words)
    }
    assert found(query) == expected
    assert fold(fold(query)) == fold(query)


@pytest.mark.parametrize(
    "query", ["x" * 100_000, "\0", "a\0b", "ab " * 5000, "﷽" * 200]
)
def test_no_query_is_an_error(query: str) -> None:
    make_conversation("Leaf")
    found(query)


@pytest.mark.usefixtures("_without_index")
@pytest.mark.parametrize("query", ["needle", "東京", "%", "no such word"])
def test_without_an_index_the_results_are_the_same(query: str) -> None:
    assert not search.has_index()
    mine = {word: make_conversation(word).pk for word in ("needle 1", "東京 2", "3%")}
    expected = {pk for text, pk in mine.items() if query in text}
    assert found(query) == expected


def test_title_and_beginning_are_found_and_the_rest_is_not() -> None:
    question = f"{'hay ' * 124}end {'hay ' * 100} needle"
    mine = make_conversation(question, title="A title of its own")
    assert found("title own") == found("end") == {mine.pk}
    assert found("needle") == set()
    assert text_of("Why is the sk…", "Why is the sky blue?") == "why is the sky blue?"


@pytest.mark.parametrize("deleted", [ConversationText, Conversation, Organization])
def test_what_is_deleted_or_changed_leaves_the_index(deleted: type[Model]) -> None:
    make_conversation("needle")
    make_conversation("needle").search.delete()
    ConversationText.objects.update(text="changed")
    assert found("needle") == set()
    assert len(found("changed")) == 1
    deleted._default_manager.all().delete()
    assert found("changed") == set()
    if connection.vendor == "sqlite":
        with (
            connection.cursor() as cursor
        ):  # raises if the index differs from the table
            cursor.execute(
                "INSERT INTO streaming_search (streaming_search, rank)"
                " VALUES ('integrity-check', 1)"
            )


def plan(sql: str) -> str:
    """Return the database's plan of a statement, with its scanned tables."""
    explain = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":  # as autovacuum does
            cursor.execute("SELECT gin_clean_pending_list('streaming_search')")
        cursor.execute("ANALYZE")
        cursor.execute(f"{explain} {sql}")
        return "\n".join(str(row[-1]) for row in cursor.fetchall())


def test_a_search_uses_the_index_and_reads_no_message() -> None:
    organization = make_conversation("needle").organization
    others = Conversation.objects.bulk_create(
        Conversation(organization=organization) for _ in range(3000)
    )
    ConversationText.objects.bulk_create(
        ConversationText(conversation=each, text=f"{'hay ' * 100}{each.pk}")
        for each in others
    )
    with CaptureQueriesContext(connection) as queries:
        page = list_conversations(Principal("acme"), PageQuery(search="needle"))
    assert len(page["conversations"]) == 1
    sql = "\n".join(query["sql"] for query in queries)
    assert Message._meta.db_table not in sql
    assert '"input"' not in sql
    [searching] = [q["sql"] for q in queries if "needle" in q["sql"]]
    used = plan(searching)
    if connection.vendor == "sqlite":
        assert "streaming_search VIRTUAL TABLE" in used
    else:
        assert "Bitmap Index Scan on streaming_search" in used


@pytest.mark.parametrize("limit", [1, 3, 7, 8, 500])
def test_missing_texts_are_added_in_batches(limit: int) -> None:
    organization = Organization.objects.create(org_id="acme")
    for number in range(7):
        old = Conversation.objects.create(organization=organization, title="Old…")
        for question in ("Old apples", "Something else"):
            Run.objects.create(
                organization=organization,
                conversation=old,
                status="completed",
                input=f"{question} {number}",
            )
    known = make_conversation("known")
    after: int | None = 0
    while after is not None:
        added = ConversationText.objects.count()
        after = search.add_texts(apps, after, limit=limit)
        assert ConversationText.objects.count() - added <= limit
    assert len(found("old apples")) == 7
    assert len(found("apples 5")) == 1
    assert found("else") == set()
    assert found("known") == {known.pk}


@pytest.mark.django_db(transaction=True)
def test_the_command_creates_a_missing_index(
    capsys: pytest.CaptureFixture[str],
) -> None:
    search.drop_index()
    make_conversation("needle")
    call_command("index_conversations")
    assert "The index is created." in capsys.readouterr().out
    assert search.has_index()
    assert len(found("needle")) == 1
    call_command("index_conversations")
    assert "The index exists." in capsys.readouterr().out


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_a_user_without_the_right_to_the_extension_can_search() -> None:
    search.drop_index()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DROP EXTENSION pg_trgm")
        cursor.execute("CREATE ROLE tenant")
        cursor.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO tenant")
        cursor.execute("SET LOCAL ROLE tenant")
        with pytest.raises(CommandError, match="permission denied"):
            call_command("index_conversations")
        assert found("needle") == set()
        transaction.set_rollback(True)
    assert search.create_index() is None
