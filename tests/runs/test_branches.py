"""Runs in branches: their further attempts, and their cost."""

import asyncio
import sys
import threading

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from streaming.agents.loops import make_loops
from streaming.models import Conversation, Message, Organization, Run, RunStatus
from streaming.principals import Principal
from streaming.runs.conversations import show_branch
from streaming.runs.history import branch_sql, read_history
from streaming.runs.start import RunDefaults, RunRequest, start_runs
from streaming.storage.branches import LAST, Tree, read_tree
from streaming.testing.provider import Reply, StandInProvider
from tests import chat
from tests.client import API, SECONDS, Api, Stream
from tests.faults.database import changed_loops, install_service
from tests.runs.test_further_attempts import (
    BOTH,
    QUICK,
    Tools,
    lose_lease,
    run_of,
    tools,
)

__all__ = ["tools"]

pytestmark = pytest.mark.usefixtures("model")

ASKED = {"conversation_id": "c", "restarts": True}


async def answered(api: Api, upstream: StandInProvider, *questions: str) -> list[str]:
    """Ask questions; return the ids of the runs."""
    found = []
    for question in questions:
        upstream.reply(chat.answer(f"answer of {question}"))
        ended = await api.run(question, conversation_id="c")
        found.append(ended.json["run_id"])
    return found


async def shown(api: Api) -> list[str | None]:
    read = (await api.get(f"{API}/conversations/c")).json
    return [m["parts"][0].get("text") for m in read["messages"]]


def texts_sent(upstream: StandInProvider) -> list[str]:
    messages = upstream.requests[-1].json["messages"]
    return [m["content"] for m in messages if m["role"] in ("user", "assistant")]


@pytest.mark.parametrize("place", ["regenerate", "parent_message_id"])
async def test_a_further_attempt_continues_in_the_branch_of_its_run(
    api: Api, upstream: StandInProvider, place: str
) -> None:
    install_service(timings=QUICK)
    first, second = await answered(api, upstream, "q1", "q2")
    end = await Message.objects.filter(run=first).alast()
    assert end
    body = (
        {"regenerate": second}
        if place == "regenerate"
        else {"input": "q2", "parent_message_id": end.pk}
    )
    upstream.reply(Reply(chat.pieces("Hal"), end="hang"), chat.answer("Hallo"))
    async with api.open("POST", f"{API}/stream", {**ASKED, **body}) as stream:
        await stream.until("content")
        assert await lose_lease(run_of(stream)) == RunStatus.QUEUED
        await stream.end()
    assert texts_sent(upstream) == ["q1", "answer of q1", "q2"]
    assert await shown(api) == ["q1", "answer of q1", "q2", "Hallo"]


async def test_a_repeated_answer_continues_after_its_tool_calls(
    api: Api, upstream: StandInProvider, tools: Tools
) -> None:
    install_service(agents=changed_loops(toolbox=tools.loops()))
    [first] = await answered(api, upstream, "q1")
    upstream.reply(BOTH, chat.answer("Done."))
    tools.may_end.set()
    body = {**ASKED, "regenerate": first}
    async with api.open("POST", f"{API}/stream", body) as stream:
        whole = await stream.end()
    run_id = run_of(stream)
    assert whole.events[-2:] == ["complete", "done"]
    roles = [m.role async for m in Message.objects.filter(run=run_id).order_by("id")]
    assert roles[0] == roles[-1] == "assistant"
    assert "tool" in roles
    question = await Message.objects.order_by("id").afirst()
    assert question
    stored = Message.objects.filter(run=run_id).exclude(parent=None)
    assert [m.parent async for m in stored] == [question.pk]
    assert (await shown(api))[0] == "q1"


async def test_an_attempt_finds_the_messages_of_a_repeated_answer(
    api: Api, upstream: StandInProvider, tools: Tools
) -> None:
    loops = changed_loops(toolbox=tools.loops(repeatable=True))
    install_service(timings=QUICK, agents=loops)
    [first, _] = await answered(api, upstream, "q1", "q2")
    upstream.reply(BOTH, chat.answer("Done."))
    body = {**ASKED, "regenerate": first}
    async with api.open("POST", f"{API}/stream", body) as stream:
        await tool_ended(stream)
        run_id = run_of(stream)
        assert await lose_lease(run_id) == RunStatus.QUEUED
        tools.may_end.set()
        whole = await stream.end()
    assert whole.events[-2:] == ["complete", "done"]
    sent = upstream.requests[-1].json["messages"]
    assert [m["role"] for m in sent if m["role"] != "system"] == [
        *("user", "assistant", "tool", "tool")
    ]
    assert tools.calls.count("quick") == 1
    roles = [m.role async for m in Message.objects.filter(run=run_id).order_by("id")]
    assert roles == ["assistant", "tool", "tool", "assistant"]
    assert (await Run.objects.aget(pk=run_id)).tool_calls == 2


async def tool_ended(stream: Stream) -> None:
    await stream.until("tool_result")
    async with asyncio.timeout(SECONDS):
        while await Message.objects.filter(role="tool").acount() < 1:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.mark.django_db
def test_the_statements_of_a_branch_are_short_and_not_kept() -> None:
    organization = Organization.objects.create(org_id="acme")
    talk = Conversation.objects.create(organization=organization, is_branched=True)
    terms = {"organization": organization, "conversation": talk}
    for number in range(30):
        asked = Run.objects.create(status="completed", **terms)
        question = Message.objects.create(conversation=talk, run=asked, role="user")
        reason = "refusal" if number % 3 == 0 else ""
        again = Run.objects.create(
            status="completed", question=question.pk, stop_reason=reason, **terms
        )
        Message.objects.create(
            conversation=talk, run=again, role="assistant", parent=question.pk
        )
    sql = branch_sql(read_tree(talk.pk).branch())
    assert sql.accepted.count("WHEN") == 2
    references = sys.getrefcount(sql)
    assert len(read_history(talk, 10**6, sql)()) == 2 * 20
    assert sys.getrefcount(sql) == references


@pytest.mark.django_db
def test_a_walk_through_a_branch_is_bounded_by_its_first_and_last_message() -> None:
    branch = Tree({5: 0, 9: 6}).branch()
    assert branch.ranges == [(5, 6), (9, LAST)]
    rows = branch.of(Message.objects.filter(conversation=1)).order_by("-pk")
    if connection.vendor == "sqlite":
        assert "(conversation_id=? AND id>? AND id<?)" in rows.explain()


@pytest.mark.django_db
def test_a_run_that_continues_a_conversation_reads_no_tree() -> None:
    terms = RunDefaults(worker="here", agents=make_loops(), history_chars=1000)
    asked = RunRequest(input="q", principal=Principal("acme"), conversation_id="c")
    counts = []
    for _ in range(3):
        with CaptureQueriesContext(connection) as queries:
            [started] = start_runs([asked], terms, lambda runs: None)
        Run.objects.filter(pk=started.run.pk).update(status="completed")
        counts.append(len([q for q in queries if "SAVEPOINT" not in q["sql"]]))
    assert counts[1:] == [5, 5]


@pytest.mark.postgresql
async def test_a_start_waits_for_a_client_that_goes_to_another_branch(
    api: Api, upstream: StandInProvider
) -> None:
    await answered(api, upstream, "q1")
    first = await Message.objects.afirst()
    assert first
    upstream.reply(chat.answer("other"))
    await api.run("q1, better", conversation_id="c", parent_message_id=None)
    gone, may_end = threading.Event(), threading.Event()

    def go_to_first() -> None:
        try:
            with transaction.atomic():
                show_branch(Principal("default"), "c", first.pk)
                gone.set()
                assert may_end.wait(SECONDS)
        finally:
            connection.close()

    going = asyncio.create_task(asyncio.to_thread(go_to_first))
    assert await asyncio.to_thread(gone.wait, SECONDS)
    upstream.reply(chat.answer("a2"))
    starting = asyncio.create_task(api.run("q2", conversation_id="c"))
    async with asyncio.timeout(SECONDS):
        while not await asyncio.to_thread(waiting_for_locks):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert not starting.done()
    may_end.set()
    await going
    assert (await starting).status == 200
    conversation = await Conversation.objects.aget()
    assert conversation.head is None
    assert await shown(api) == ["q1, better", "other", "q2", "a2"]


def waiting_for_locks() -> int:
    """Return how many sessions of this database wait for a lock."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                " AND datname = current_database()"
            )
            return int(cursor.fetchone()[0])
    finally:
        connection.close()
