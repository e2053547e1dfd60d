"""The erasure: everything of one, nothing of the others, and it can be repeated."""

import asyncio
from io import StringIO

import pytest
from django.contrib.admin.models import ADDITION, LogEntry
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import transaction

from streaming import audit
from streaming.account_models import account_key
from streaming.messages import SummaryPart, TextPart, parts_to_json
from streaming.models import (
    Account,
    ApiKey,
    AuditRecord,
    Conversation,
    ConversationText,
    EventSegment,
    Limit,
    Message,
    Organization,
    Reservation,
    Run,
)
from streaming.personal_data.erasure import erase
from streaming.personal_data.export import export_lines
from streaming.personal_data.selection import Selection
from streaming.personal_data.shared import erase_shared
from streaming.principals import Principal
from streaming.runs.conversations import fork
from streaming.storage import database
from tests.admin.history import START, make_conversation, make_run, say
from tests.auth.keys.rows import make_key
from tests.client import API, Api
from tests.conftest import ChangeSettings
from tests.faults.database import FaultyDatabase
from tests.personal_data.rows import add_run, make_data, make_users

pytestmark = pytest.mark.django_db(transaction=True)

EVERYTHING = (
    *(Organization, Conversation, ConversationText, Run, Message, EventSegment, ApiKey),
)


def erase_data(*arguments: str) -> str:
    output = StringIO()
    call_command("erase_data", *arguments, "--yes", stdout=output, stderr=StringIO())
    return output.getvalue()


def counts() -> list[int]:
    return [model.objects.count() for model in EVERYTHING]


@pytest.mark.parametrize("command", ["erase_data", "export_data", "create_api_key"])
def test_an_empty_user_does_not_stand_for_all(command: str) -> None:
    make_users()
    before = counts()
    with pytest.raises(CommandError, match="--user: expected a primary key"):
        call_command(command, "--organization", "acme", "--user", "")
    assert counts() == before


def test_an_organization_is_erased_and_another_stays() -> None:
    make_data("umbrella")
    make_key("umbrella")
    before = counts()
    make_users()
    output = erase_data("--organization", "acme")
    assert output.splitlines() == [
        "Conversations: 2",
        "Runs: 2",
        "Active runs: 0",
        "Limits: 0",
        "Accounts: 0",
        "Api keys: 2",
    ]
    assert counts() == before
    record = AuditRecord.objects.get(action="data.erased")
    assert (record.actor, record.org_id) == ("command", "acme")
    assert record.details["conversations"] == 2


def test_a_user_is_erased_and_the_others_stay() -> None:
    alice, bob = make_users()
    erase_data("--organization", "acme", "--user", alice)
    assert counts() == [1, 1, 1, 1, 4, 3, 1]
    assert Run.objects.get().user == bob
    assert ApiKey.objects.get().user == bob
    # The records stay, without the user.
    kept = set(AuditRecord.objects.values_list("action", "actor", "target"))
    assert kept == {
        ("key.created", "user:erased", ""),
        ("key.created", f"user:{bob}", ""),
        ("data.erased", "command", "user:erased"),
    }


def test_the_audit_log_names_no_user_of_an_erased_organization() -> None:
    alice, bob = make_users()
    audit.record("x.y", actor="key:abc", target=f"user:{bob}", org_id="acme")
    audit.record("x.y", actor=f"user:{bob}", org_id="umbrella")
    erase_data("--organization", "acme")
    records = AuditRecord.objects.filter(org_id="acme").order_by("pk")
    assert list(records.values_list("actor", "target")) == [
        ("user:erased", ""),
        ("user:erased", ""),
        ("key:abc", "user:erased"),
        ("command", "organization:acme"),
    ]
    assert AuditRecord.objects.get(org_id="umbrella").actor == f"user:{bob}"


def test_the_log_of_the_admin_keeps_no_names_of_keys() -> None:
    alice, bob = make_users()
    staff = User.objects.create(username="root")
    for key in ApiKey.objects.all():
        assert key.name not in str(key)
        LogEntry.objects.log_actions(staff.pk, [key], ADDITION, "")
    LogEntry.objects.update(object_repr="Jane Doe laptop (3f9a0c1d2e4b)")
    erase_data("--organization", "acme", "--user", alice)
    kept = ApiKey.objects.get()
    entries = dict(LogEntry.objects.values_list("object_id", "object_repr"))
    assert entries.pop(str(kept.pk)) == "Jane Doe laptop (3f9a0c1d2e4b)"
    assert set(entries.values()) == {""}


def test_limits_of_all_organizations_that_name_the_erased_go() -> None:
    prefix = make_key(user="7").prefix
    make_data("umbrella", "7")

    def names() -> set[str]:
        return set(Limit.objects.values_list("name", flat=True))

    for kind, name in (("user", "7"), ("user", "8"), ("user", ""), ("key", prefix)):
        Limit.objects.create(kind=kind, name=name, concurrent_runs=1)
    erase_data("--organization", "acme", "--user", "7")
    assert names() == {"7", "8", ""}  # the user remains in the other organization
    erase_data("--organization", "umbrella", "--user", "7")
    assert names() == {"8", ""}
    prefix = make_key().prefix
    Limit.objects.create(kind="key", name=prefix, concurrent_runs=1)
    erase_data("--organization", "acme")
    assert names() == {"8", ""}


def test_the_runs_of_a_user_leave_a_shared_conversation() -> None:
    shared = make_conversation("acme", "secret of 7", "secret of 7")
    add_run(shared, "7")
    kept = add_run(shared, "8")
    summary = say(kept, "user", SummaryPart("7 said secret of 7", exchanges=1))
    own = make_conversation("acme")
    add_run(own, "7")
    erase_data("--organization", "acme", "--user", "7")
    assert list(Conversation.objects.all()) == [shared]
    assert list(Run.objects.all()) == [kept]
    assert not Message.objects.filter(pk=summary.pk).exists()
    shared.refresh_from_db()
    question = "How many apples are left?"
    assert (shared.title, shared.search.text) == (question, question.casefold())
    stored = [*Message.objects.values(), *Conversation.objects.values()]
    assert "secret of 7" not in repr(stored)


def test_the_branches_of_others_stay_connected_without_a_user() -> None:
    shared = make_conversation("acme")
    runs = {user: make_run(shared, user=user, input=f"of {user}") for user in "78"}

    def add(user: str, parent: int | None = None) -> Message:
        message = say(runs[user], "user", TextPart(f"of {user}"))
        Message.objects.filter(pk=message.pk).update(parent=parent)
        return message

    first, gone, after = add("8"), add("7"), add("8")
    other = add("7", parent=first.pk)
    kept = add("8")
    repeated = add("8", parent=other.pk)
    elsewhere = add("8", parent=after.pk)
    again = make_run(shared, user="8", input="of 7", question=other.pk)
    Conversation.objects.filter(pk=shared.pk).update(is_branched=True, head=other.pk)
    copy = make_conversation("acme")
    for user in "78":
        Message.objects.create(
            conversation=copy,
            role="user",
            copied_from=user,
            parts=parts_to_json([TextPart(f"of {user}")]),
        )
    exported = b"".join(export_lines(Selection(shared.organization, "7")))
    assert exported.count(b'"type":"message"') == 3
    erase_data("--organization", "acme", "--user", "7")
    assert not Message.objects.filter(pk__in=[gone.pk, other.pk]).exists()
    assert list(shared.messages.values_list("pk", "parent")) == [
        (first.pk, None),
        (after.pk, first.pk),
        (kept.pk, first.pk),
        (repeated.pk, first.pk),
        (elsewhere.pk, after.pk),
    ]
    shared.refresh_from_db()
    again.refresh_from_db()
    assert (shared.head, again.input) == (first.pk, "")
    assert list(copy.messages.values_list("copied_from", flat=True)) == ["8"]


def test_a_copy_has_no_text_of_users_who_wrote_none_of_its_messages() -> None:
    shared = make_conversation("acme", "secret of 7", "secret of 7")
    add_run(shared, "7")
    edited = make_run(shared, user="8", input="Fine?", parent=0)
    question = say(edited, "user", TextPart("Fine?"))
    Message.objects.filter(pk=question.pk).update(parent=0)
    Conversation.objects.filter(pk=shared.pk).update(is_branched=True)
    with transaction.atomic():
        copy = fork(Principal("acme"), shared.conversation_id, question.pk)
    assert copy.title == "Fine?"
    erase_data("--organization", "acme", "--user", "7")
    for each in Conversation.objects.select_related("search"):
        assert (each.title, each.search.text) == ("Fine?", "fine?")


@pytest.mark.parametrize("status", ["completed", "running"])
def test_the_repeated_answers_of_others_stay_without_their_question(
    status: str,
) -> None:
    shared = make_conversation("acme", "secret", "secret")
    asked = add_run(shared, "7")
    question = Message.objects.filter(run=asked).earliest("pk")
    repeated = {"user": "8", "input": "secret", "question": question.pk}
    again = make_run(shared, status=status, **repeated)
    if status == "completed":
        answer = say(again, "assistant", TextPart("Fine."))
        Message.objects.filter(pk=answer.pk).update(parent=question.pk)
        Conversation.objects.filter(pk=shared.pk).update(is_branched=True)
    erase_data("--organization", "acme", "--user", "7")
    shared.refresh_from_db()
    assert (shared.title, shared.search.text.strip()) == ("", "")
    assert [(run, run.input) for run in shared.runs.all()] == [(again, "")]
    if status == "completed":
        assert list(shared.messages.values_list("pk", "parent")) == [(answer.pk, 0)]


def test_the_title_of_a_shared_conversation_is_that_of_the_next_question() -> None:
    shared = make_conversation("acme", "secret", "secret")
    add_run(shared, "7")
    kept = add_run(shared, "8")
    first = Message.objects.filter(run=kept).earliest("pk")
    first.parts = parts_to_json([TextPart("  Another\nquestion ")])
    first.save()
    erase_data("--organization", "acme", "--user", "7")
    shared.refresh_from_db()
    assert shared.title == "Another question"


def test_a_pending_run_of_another_user_keeps_the_conversation() -> None:
    shared = make_conversation("acme", "secret", "secret")
    add_run(shared, "7")
    mine, other = (
        make_run(shared, status="pending", input=f"question of {user}", user=user)
        for user in ("7", "8")
    )
    erase_data("--organization", "acme", "--user", "7")
    shared.refresh_from_db()
    assert shared.title == "question of 8"
    assert list(shared.runs.all()) == [other]
    assert not Run.objects.filter(pk=mine.pk).exists()


async def test_an_interrupted_erasure_is_finished_by_the_next() -> None:
    def make() -> Selection:
        shared = make_conversation("acme")
        for _ in range(5):
            make_data("acme", "7", owner="7")
            add_run(shared, "7")
            add_run(shared, "8")
        make_key(user="7")
        return Selection(Organization.objects.get(), "7")

    chosen = await database.execute_write(make)
    for step in range(1, 8):
        access = FaultyDatabase()
        erasing = asyncio.create_task(erase(access, chosen, "command"))
        while len(access.writes) < step and not erasing.done():  # noqa: ASYNC110  (the access has no event)
            await asyncio.sleep(0)
        erasing.cancel()
        await asyncio.wait([erasing])
    await erase(database.default, chosen, "command")
    assert not await Run.objects.exclude(user="8").aexists()
    assert await Run.objects.filter(user="8").acount() == 5
    assert not await ApiKey.objects.aexists()
    assert await AuditRecord.objects.filter(action="data.erased").aexists()


async def test_active_runs_are_cancelled_first(
    api: Api, agent_settings: ChangeSettings
) -> None:
    agent_settings(demo_delay_ms=50)
    body = {"input": "count to 1000", "background": True}
    async with api.open("POST", f"{API}/stream", body) as stream:
        await stream.until("content")
        organization = await Organization.objects.aget()
        chosen = Selection(organization)
        erased = await erase(database.default, chosen, "command")
        assert erased["active_runs"] == 1
        ended = await stream.end()
    assert ended.events[-2:] == ["complete", "done"]
    assert await database.execute_read(counts) == [0] * 7


async def test_an_active_run_without_a_process_is_erased() -> None:
    def make() -> Selection:
        run = make_data("acme", "7", status="running", worker="dead")
        return Selection(run.organization, "7")

    chosen = await database.execute_write(make)
    await erase(database.default, chosen, "command", stop_seconds=0.1)
    assert not await Run.objects.aexists()
    await erase_shared(database.default, chosen)  # nothing is left to do


def test_the_command_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    make_data("acme")
    arguments = ("--organization", "acme")
    asked: list[str] = []

    def answer(given: str) -> None:
        def reply(question: str) -> str:
            asked.append(question)
            return given

        monkeypatch.setattr("builtins.input", reply)

    for refusal in ("", "y", "no"):
        answer(refusal)
        with pytest.raises(CommandError, match="Nothing was erased"):
            call_command("erase_data", *arguments, stdout=StringIO())
    assert "all of acme" in asked[0]
    assert Run.objects.exists()
    answer("yes")
    call_command("erase_data", *arguments, stdout=StringIO(), stderr=StringIO())
    assert not Run.objects.exists()
    with pytest.raises(CommandError, match="no organization 'acme'"):
        call_command("erase_data", *arguments)


def test_without_a_terminal_the_command_needs_a_yes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_data("acme")
    monkeypatch.setattr("sys.stdin", StringIO())
    with pytest.raises(CommandError, match="--yes is needed"):
        call_command("erase_data", "--organization", "acme", stdout=StringIO())
    assert Run.objects.exists()


def test_limits_and_accounts_of_the_erased_go() -> None:
    keep = [
        "user:acme:8",
        "user:acme2:7",
        "agent:support:acme:8",
        "agent:support:umbrella:7",
        "organization:acme",
        "key:other",
        account_key("user", "acme", "x:7"),
    ]
    key = make_key(user="7")
    gone = ["user:acme:7", "agent:support:acme:7", f"key:{key.prefix}"]
    organization = Organization.objects.get()
    for name in (*keep, *gone):
        account = Account.objects.create(key=name, period="day", ends_at=START)
        Reservation.objects.create(
            run_id="r", call=1, account=account, tokens=1, cost=1
        )
    for kind, name in (("user", "7"), ("user", "8"), ("key", key.prefix), ("key", "")):
        Limit.objects.create(
            organization=organization, kind=kind, name=name, concurrent_runs=1
        )
    erase_data("--organization", "acme", "--user", "7")
    assert set(Account.objects.values_list("key", flat=True)) == {*keep}
    assert set(Limit.objects.values_list("name", flat=True)) == {"8", ""}
    erase_data("--organization", "acme")
    assert set(Account.objects.values_list("key", flat=True)) == {
        "user:acme2:7",
        "agent:support:umbrella:7",
        "key:other",
    }
    assert not Limit.objects.exists()
    assert Reservation.objects.count() == 3
