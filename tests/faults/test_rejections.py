"""A database that rejects a value of one run: that run ends, and no other."""

import asyncio
from collections.abc import Iterator

import pytest
from django.db import connection

from streaming import runs
from streaming.models import Conversation, Message, Run
from streaming.runs.deletion import delete_conversations
from streaming.runs.timings import Timings
from streaming.testing.provider import Reply, StandInProvider
from tests import chat
from tests.api.test_runs import logged
from tests.client import API, SECONDS, Api, Response
from tests.faults.database import FaultyDatabase, install_service

pytestmark = pytest.mark.usefixtures("model")

CALL = ("c", "calculator", {"expression": "1+1"})
SQLITE = """
    CREATE TRIGGER rejects BEFORE {event} ON {table} WHEN {condition}
    BEGIN SELECT RAISE(ABORT, 'rejected'); END
"""
POSTGRESQL = """
    CREATE FUNCTION rejects() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION USING ERRCODE = '22000', MESSAGE = 'rejected'; END $$;
    CREATE TRIGGER rejects BEFORE {event} ON {table} FOR EACH ROW WHEN ({condition})
    EXECUTE FUNCTION rejects()
"""
DROP = {
    "sqlite": "DROP TRIGGER rejects",
    "postgresql": "DROP FUNCTION rejects CASCADE",
}


def _execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


#: The parts of a run that the database rejects: table, statement and condition.
PARTS = {
    "message": (
        "streaming_message",
        "INSERT",
        "NEW.role = 'assistant' AND CAST(NEW.parts AS text) LIKE '%poison%'",
    ),
    "segment": ("streaming_eventsegment", "INSERT", "NEW.events LIKE '%poison%'"),
    "result": ("streaming_run", "UPDATE", "NEW.input = 'poison' AND NEW.llm_calls > 0"),
}


@pytest.fixture(params=[*PARTS])
def kind(request: pytest.FixtureRequest, transactional_db: None) -> Iterator[str]:
    """The part of a run that the database rejects if it has the word "poison"."""
    table, event, condition = PARTS[request.param]
    sql = SQLITE if connection.vendor == "sqlite" else POSTGRESQL
    _execute(sql.format(event=event, table=table, condition=condition))
    yield request.param
    _execute(DROP[connection.vendor])


async def replayed(api: Api, run_id: str) -> list[bytes]:
    return logged(await api.get(f"{API}/runs/{run_id}/events"))


def error_of(response: Response) -> dict[str, object]:
    assert response.events[-2:] == ["error", "done"]
    metadata: dict[str, object] = response.frames[-2].data["metadata"]
    return metadata


async def test_a_rejected_value_ends_its_run_and_no_other(
    api: Api, upstream: StandInProvider, kind: str
) -> None:
    go_on = asyncio.Event()
    slow = Reply.of([*map(chat.pieces, chat.many(60)), chat.ending()], held=go_on)
    upstream.reply(slow, chat.answer("po", "ison: poison"))
    async with api.open("POST", f"{API}/stream", {"input": "Hi"}) as other:
        await other.until("content")
        bad = await api.stream("poison", conversation_id="bad")
        ready = await api.get("/ready")
        go_on.set()
        whole = await other.end()
    assert error_of(bad) == {"code": "internal_error", "retryable": False}
    assert whole.events[-2:] == ["complete", "done"]
    assert ready.json["checks"]["event_log"] == "ok"
    run = await Run.objects.aget(pk=bad.headers["x-run-id"])
    assert (run.status, run.error_code) == ("failed", "internal_error")
    assert run.ended_at
    again = await replayed(api, run.pk)
    assert again[-2:] == logged(bad)[-2:]
    assert set(again) <= set(logged(bad))
    upstream.reply(chat.answer("well"))
    assert (await api.run("Hi", conversation_id="bad")).json["output"] == "well"


@pytest.mark.parametrize("kind", ["message"], indirect=True)
async def test_a_rejected_checkpoint_ends_its_run(
    api: Api, upstream: StandInProvider, kind: str
) -> None:
    upstream.reply(chat.tool_calls(CALL, text="poison"), chat.answer("well"))
    bad = await api.stream("Hi", conversation_id="bad")
    assert error_of(bad)["code"] == "internal_error"
    assert len(upstream.requests) == 1
    assert (await Run.objects.aget()).error_code == "internal_error"
    assert (await api.run("Hi", conversation_id="bad")).json["output"] == "well"


async def test_deleting_a_running_conversation_affects_no_other_run(
    api: Api, upstream: StandInProvider
) -> None:
    access = FaultyDatabase()
    service = install_service(access=access, timings=Timings(heartbeat=0.05))
    upstream.reply(*[Reply(chat.pieces("x"), end="hang")] * 2)
    async with api.open("POST", f"{API}/stream", {"input": "Hi"}) as silent:
        await silent.until("content")
        body = {"input": "Hi", "conversation_id": "deleted"}
        async with api.open("POST", f"{API}/stream", body) as stream:
            await stream.until("content")
            deleted = await api.delete(f"{API}/conversations/deleted")
            assert deleted.status == 204
            await stream.end()
        await service.log.flush()
        access.timeout_seconds = 0.5
        await asyncio.sleep(1)  # twice the limit of an unanswered write
        access.timeout_seconds = SECONDS  # the probe may be slow
        assert (await api.get("/ready")).status == 200
        [run_id] = service.worker.executions
        assert silent.response.headers["x-run-id"] == run_id
        assert service.executor.stop(run_id)
        whole = await silent.end()
    assert whole.frames[-2].data["metadata"]["stop_reason"] == "cancelled"


async def test_a_long_conversation_is_deleted_in_short_transactions(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(*[chat.answer("x")] * 5, Reply(chat.pieces("x"), end="hang"))
    for _ in range(5):
        await api.run("Hi", conversation_id="long")
    access = FaultyDatabase()
    body = {"input": "Hi", "conversation_id": "long"}
    async with api.open("POST", f"{API}/stream", body) as stream:
        await stream.until("content")
        await runs.get_service().log.flush()
        run = await Run.objects.aget(pk=stream.response.headers["x-run-id"])
        long = Conversation.objects.filter(pk=run.conversation_id)
        active = await delete_conversations(access, long, batch=2)
        assert active == [run.pk]
        assert access.writes.count("delete_some") > 6
        runs.get_service().executor.stop(active[0])
        await stream.end()
    assert not await Message.objects.aexists()
    assert not await Run.objects.aexists()
