"""Conversations: listed, read, deleted."""

import asyncio
import threading
from urllib.parse import urlencode

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from streaming import runs
from streaming.aio.turns import Turns
from streaming.api import conversations
from streaming.api.schemas import PageQuery
from streaming.event_log import segments
from streaming.models import Conversation, EventSegment, Message, Run
from streaming.principals import Principal
from streaming.storage import database
from streaming.testing.provider import Reply, StandInProvider
from tests import chat
from tests.client import API, SECONDS, Api
from tests.conftest import ChangeSettings

pytestmark = pytest.mark.usefixtures("model")


async def test_a_conversation_has_its_messages_in_order(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(
        Reply(
            chat.thoughts("hm")
            + chat.tool_calls(("c", "calculator", {"expression": "2+2"})).body
        ),
        chat.answer("4"),
    )
    run_id = (await api.run("2+2?", conversation_id="c/1 ä")).json["run_id"]
    conversation = (await api.get(f"{API}/conversations/c%2F1%20%C3%A4")).json
    assert conversation["conversation_id"] == "c/1 ä"
    assert conversation["title"] == "2+2?"
    assert conversation["active_run_id"] is None
    said = [(m["role"], m["parts"], m["run_id"]) for m in conversation["messages"]]
    call = {"id": "c", "name": "calculator"}
    assert said == [
        ("user", [{"type": "text", "text": "2+2?"}], run_id),
        (
            "assistant",
            [
                {"type": "thinking", "text": "hm"},
                {"type": "tool_call", **call, "arguments": '{"expression": "2+2"}'},
            ],
            run_id,
        ),
        ("tool", [{"type": "tool_result", **call, "result": "4"}], run_id),
        ("assistant", [{"type": "text", "text": "4"}], run_id),
    ]


async def test_a_conversation_has_the_outcome_of_its_runs(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(chat.answer("4"), Reply(status=400))
    first = (await api.run("2+2?", conversation_id="c")).json
    await api.run("And 3+3?", conversation_id="c")
    well, badly = (await api.get(f"{API}/conversations/c")).json["runs"]
    assert well == {
        "run_id": first["run_id"],
        "agent": "Agent",
        "status": "completed",
        "error": None,
        "execution_summary": first["execution_summary"],
        "usage": first["usage"],
    }
    assert badly["status"] == "failed"
    assert badly["error"]["code"] == "provider_error"


async def test_pages_hold_each_conversation_once(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(*[chat.answer("x") for _ in range(5)])
    for number in range(5):
        await api.run("Hi", org_id="acme", conversation_id=f"c{number}")
    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        path = f"{API}/conversations?org_id=acme&limit=2&cursor={cursor}"
        page = (await api.get(path)).json
        found += [c["conversation_id"] for c in page["conversations"]]
        cursor = page["next_cursor"]
    assert found == ["c4", "c3", "c2", "c1", "c0"]
    bad = await api.get(f"{API}/conversations?cursor=nonsense")
    assert bad.json["details"][0]["field"] == "cursor"


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("leaf", ["green"]),
        ("GRÜN", ["green"]),
        (" grün ", ["green"]),
        ("needle", ["long"]),
        ("50% (net", ["sum"]),
        ("_", []),
        ("%", ["sum"]),
        ("nothing like it", []),
        ("", ["sum", "long", "green"]),
    ],
)
async def test_search_finds_the_first_input_in_any_case(
    api: Api, upstream: StandInProvider, search: str, found: list[str]
) -> None:
    prompts = {
        "green": "Why is a Leaf grün?",
        "long": f"{'hay ' * 100}Needle",
        "sum": "Add 50% (net).",
    }
    upstream.reply(*[chat.answer("leaf needle") for _ in range(4)])
    for conversation_id, prompt in prompts.items():
        await api.run(prompt, org_id="acme", conversation_id=conversation_id)
    await api.run(" ".join(prompts.values()), org_id="umbrella")
    query = urlencode({"org_id": "acme", "search": search})
    page = (await api.get(f"{API}/conversations?{query}")).json
    assert [c["conversation_id"] for c in page["conversations"]] == found


@pytest.mark.parametrize("search", ["x" * 201, "\0"])
async def test_an_impossible_search_is_explained(api: Api, search: str) -> None:
    query = urlencode({"search": search})
    refused = await api.get(f"{API}/conversations?{query}")
    assert refused.status == 400
    assert refused.json["details"][0]["field"] == "search"


async def test_the_active_run_is_named_until_it_ends(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(chat.answer("x"), Reply(chat.pieces("x"), end="hang"))
    await api.run("Hi", conversation_id="idle")
    body = {"input": "Hi", "conversation_id": "busy"}

    async def told() -> list[str | None]:
        listed = (await api.get(f"{API}/conversations")).json["conversations"]
        read = (await api.get(f"{API}/conversations/busy")).json
        active = {c["conversation_id"]: c["active_run_id"] for c in listed}
        assert active["busy"] == read["active_run_id"]
        return [active["idle"], active["busy"]]

    async with api.open("POST", f"{API}/stream", body) as stream:
        connected = await stream.until("connected")
        run_id = connected.data["metadata"]["run_id"]
        assert await told() == [None, run_id]
        await api.post(f"{API}/runs/{run_id}/cancel")
        await stream.end()
        assert await told() == [None, None]


@pytest.mark.parametrize("search", ["", "hi"])
async def test_a_longer_list_takes_no_more_queries(
    api: Api, upstream: StandInProvider, search: str
) -> None:
    upstream.reply(*[chat.answer("x") for _ in range(6)])

    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            conversations.list_conversations(
                Principal("acme"), PageQuery(search=search)
            )
        return len(captured)

    await api.run("Hi", org_id="acme")
    few = await database.execute_read(queries)
    for _ in range(5):
        await api.run("Hi", org_id="acme")
    assert await database.execute_read(queries) == few


async def test_deleting_stops_the_run_and_leaves_nothing(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(Reply(chat.pieces("x"), end="hang"))
    body = {"input": "Hi", "conversation_id": "c"}
    async with api.open("POST", f"{API}/stream", body) as stream:
        await stream.until("content")
        deleted = await api.delete(f"{API}/conversations/c")
        assert (deleted.status, deleted.body) == (204, b"")
        async with asyncio.timeout(SECONDS):
            await upstream.gone.wait()
        await stream.end()
    for kept in (Conversation, Run, Message, EventSegment):
        assert not await kept.objects.aexists()
    assert (await api.delete(f"{API}/conversations/c")).status == 404


async def test_deleting_waits_for_a_process_that_writes(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(Reply(chat.pieces("x"), end="hang"))
    body = {"input": "Hi", "conversation_id": "c"}
    written, go_on = threading.Event(), threading.Event()

    def write_elsewhere(run: Run) -> None:
        segment = segments.Segment(run.id, 1000, [b'{"type":"content"}'])
        try:
            with transaction.atomic():
                segments.save([segment], run.worker)
                written.set()
                assert go_on.wait(SECONDS)
        finally:
            connection.close()

    async with api.open("POST", f"{API}/stream", body) as stream:
        await stream.until("content")
        await runs.get_service().log.flush()
        run = await Run.objects.aget()
        elsewhere = asyncio.create_task(asyncio.to_thread(write_elsewhere, run))
        assert await asyncio.to_thread(written.wait, SECONDS)
        deleting = asyncio.create_task(api.delete(f"{API}/conversations/c"))
        await asyncio.sleep(0.2)  # it would fail if it did not wait now
        assert not deleting.done()
        go_on.set()
        await elsewhere
        assert (await deleting).status == 204
        await stream.end()
    assert not await EventSegment.objects.aexists()


async def test_charlie_sees_nothing_of_alice(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(chat.answer("secret"))
    answer = (await api.run("Hi", org_id="acme", conversation_id="c")).json
    run = f"{API}/runs/{answer['run_id']}"
    charlie = "org_id=umbrella"
    listed = (await api.get(f"{API}/conversations?{charlie}")).json
    assert listed == {"conversations": [], "next_cursor": None}
    for refused, unknown in (
        (
            await api.get(f"{API}/conversations/c?{charlie}"),
            await api.get(f"{API}/conversations/d?{charlie}"),
        ),
        (await api.get(f"{run}?{charlie}"), await api.get(f"{API}/runs/x?{charlie}")),
        (
            await api.get(f"{run}/events?{charlie}"),
            await api.get(f"{API}/runs/x/events?{charlie}"),
        ),
        (
            await api.post(f"{run}/cancel?{charlie}"),
            await api.post(f"{API}/runs/x/cancel?{charlie}"),
        ),
        (
            await api.delete(f"{API}/conversations/c?{charlie}"),
            await api.delete(f"{API}/conversations/d?{charlie}"),
        ),
        (
            await api.post(
                f"{API}/stream",
                {"input": "Hi", "org_id": "umbrella"},
                last_event_id=f"{answer['run_id']}:1",
            ),
            await api.post(
                f"{API}/stream",
                {"input": "Hi", "org_id": "umbrella"},
                last_event_id="x:1",
            ),
        ),
    ):
        assert refused.status == unknown.status == 404
        assert refused.body == unknown.body
    bob = await api.get(f"{API}/conversations/c?org_id=acme")
    assert bob.json["messages"][-1]["parts"][0]["text"] == "secret"


READS = pytest.mark.parametrize(
    ("lane", "path"),
    [
        (database.SEARCH, f"{API}/conversations?search=a&"),
        (database.CONVERSATIONS, f"{API}/conversations/c?"),
    ],
)


@READS
async def test_an_organization_delays_another_by_one_read(
    api: Api, lane: str, path: str
) -> None:
    async with conversations._turns.of((lane, "busy"), "", SECONDS):
        waiting = asyncio.create_task(api.get(f"{path}org_id=busy"))
        assert (await api.get(f"{path}org_id=other")).status in (200, 404)
        assert not waiting.done()
    assert (await waiting).status in (200, 404)


@READS
async def test_few_reads_of_a_caller_wait_and_its_colleagues_are_served(
    api: Api,
    agent_settings: ChangeSettings,
    monkeypatch: pytest.MonkeyPatch,
    lane: str,
    path: str,
) -> None:
    agent_settings(authentication=["streaming.auth.header('X-Org', user='X-User')"])
    turns = Turns(2)
    monkeypatch.setattr(conversations, "_turns", turns)
    alice = {"x_org": "acme", "x_user": "alice"}
    async with turns.of((lane, "acme"), "alice", SECONDS):
        asked = [asyncio.create_task(api.get(path, **alice)) for _ in range(3)]
        [first], waiting = await asyncio.wait(
            asked, timeout=SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
        refused = first.result()
        assert (refused.status, refused.json["code"]) == (429, "rate_limited")
        assert "retry-after" in refused.headers
        bob = asyncio.create_task(api.get(path, **alice | {"x_user": "bob"}))
    for each in (bob, *waiting):
        assert (await each).status in (200, 404)
