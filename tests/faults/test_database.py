"""A database that fails during a run: nothing is lost, nothing is written twice, and
readers receive an error if it does not recover."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading

import psycopg
import pytest

from streaming.event_log import stored_log
from streaming.models import EventSegment, Message, Run
from streaming.runs.timings import Timings
from streaming.storage import database
from streaming.testing.provider import Reply, StandInProvider
from tests import chat
from tests.api.test_runs import logged, slow_answer
from tests.available import need
from tests.client import API, SECONDS, Api, all_runs_end
from tests.conftest import ChangeSettings
from tests.faults.database import FaultyDatabase, install_service

pytestmark = pytest.mark.usefixtures("model")

#: The system's supervision of a connection: idle time, interval and count of probes,
#: and the time that sent data may remain unacknowledged.
WATCHING = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
)


def unended(rest: asyncio.Event) -> Reply:
    """Return a response without an end; its second delta waits for the event.

    The first one may be durable when the fault begins.
    """
    return Reply.of([chat.pieces("x"), chat.pieces("y")], held=rest, end="hang")


async def replayed(api: Api, run_id: str) -> list[bytes]:
    return logged(await api.get(f"{API}/runs/{run_id}/events"))


@pytest.mark.parametrize("fault", ["refuse", "lose_answers"])
@pytest.mark.parametrize("writes", [1, 2, 5])
async def test_a_database_that_fails_for_a_while_costs_nothing(
    api: Api, upstream: StandInProvider, fault: str, writes: int
) -> None:
    faulty_database = FaultyDatabase()
    install_service(access=faulty_database)
    upstream.reply(
        chat.tool_calls(("c", "calculator", {"expression": "1+1"}), text="I count. "),
        slow_answer(20, delay=0.02),
    )
    async with api.open("POST", f"{API}/stream", {"input": "Hi"}) as stream:
        await stream.until("connected")
        setattr(faulty_database, fault, writes)
        await stream.until("content", 8)
        setattr(faulty_database, fault, writes)
        whole = await stream.end()
    assert whole.events[-2:] == ["complete", "done"]
    assert [f.number for f in whole.frames[1:]] == list(range(1, len(whole.frames)))
    assert await replayed(api, whole.headers["x-run-id"]) == logged(whole)
    roles = [m.role async for m in Message.objects.order_by("id")]
    assert roles == ["user", "assistant", "tool", "assistant"]
    assert (await Run.objects.aget()).status == "completed"
    assert faulty_database.cut


async def test_an_end_whose_answer_was_lost_is_the_end(
    api: Api,
    upstream: StandInProvider,
    agent_settings: ChangeSettings,
) -> None:
    agent_settings(event_flush_ms=60_000)  # nothing but the end is written
    faulty_database = FaultyDatabase()
    service = install_service(access=faulty_database)
    upstream.reply(Reply(chat.pieces("Hal", "lo"), end="hang"))
    async with api.open("POST", f"{API}/stream", {"input": "Hi"}) as stream:
        await stream.until("content", 2)
        faulty_database.lose_answers = 3
        service.executor.stop(stream.response.headers["x-run-id"])
        whole = await stream.end()
    assert set(faulty_database.cut) == {"save_and_commit"}
    assert whole.events[-2:] == ["complete", "done"]
    assert await replayed(api, whole.headers["x-run-id"]) == logged(whole)
    assert await EventSegment.objects.acount() == 1
    assert await Message.objects.acount() == 2


async def test_readers_receive_an_error_if_the_database_stays_unavailable(
    api: Api, upstream: StandInProvider
) -> None:
    faulty_database = FaultyDatabase()
    install_service(access=faulty_database)
    rest = asyncio.Event()
    upstream.reply(unended(rest))
    body = {"input": "Hi", "conversation_id": "c"}
    async with api.open("POST", f"{API}/stream", body) as stream:
        await stream.until("content")
        faulty_database.timeout_seconds = 0.5
        faulty_database.refuse = 1_000_000
        rest.set()
        async with asyncio.timeout(SECONDS):
            await upstream.gone.wait()
        response = await stream.end()
        faulty_database.refuse = 0
    error, done = response.frames[-2:]
    assert (error.data["error"], error.data["metadata"], done.event) == (
        "The database does not answer.",
        {"code": "database_unavailable", "retryable": True},
        "done",
    )
    # Its numbers are not those that the attempts to write another end used.
    assert error.number > await database.execute_read(
        newest_number, (await Run.objects.aget()).id
    )


def newest_number(run_id: str) -> int:
    newest = stored_log().newest(run_id)
    return newest.number if newest else 0


async def test_a_new_run_is_not_affected_by_an_earlier_outage(
    api: Api, upstream: StandInProvider
) -> None:
    faulty_database = FaultyDatabase(timeout_seconds=1.5)
    install_service(
        access=faulty_database,
        timings=Timings(least_finish=0.5),
    )
    rest = asyncio.Event()
    upstream.reply(unended(rest), slow_answer(40))
    async with api.open("POST", f"{API}/stream", {"input": "Hi"}) as stream:
        await stream.until("content")
        faulty_database.refuse = 1_000_000
        rest.set()
        await stream.end()
        faulty_database.refuse = 0
    assert (await api.stream("Hi")).events[-2:] == ["complete", "done"]


async def test_a_flush_that_hangs_does_not_hold_up_the_end(
    api: Api, upstream: StandInProvider
) -> None:
    access = FaultyDatabase()
    install_service(access=access, timings=Timings(least_finish=0.5))
    rest = asyncio.Event()
    upstream.reply(unended(rest))
    async with api.open("POST", f"{API}/stream", {"input": "Hi"}) as stream:
        await stream.until("content")
        access.timeout_seconds = 1.0
        answer = threading.Event()
        hanging = asyncio.create_task(access.execute_write(answer.wait))
        await asyncio.sleep(0)  # it is pending
        rest.set()
        try:
            response = await stream.end()
        finally:
            answer.set()
        with pytest.raises(database.DatabaseTimeout):
            await hanging
    assert response.frames[-2].data["error"] == "The database does not answer."


async def test_a_run_is_cancelled_while_the_database_is_unavailable(
    api: Api, upstream: StandInProvider
) -> None:
    faulty_database = FaultyDatabase()
    install_service(access=faulty_database)
    upstream.reply(Reply(chat.pieces("x"), end="hang"))
    async with api.open("POST", f"{API}/stream", {"input": "Hi"}) as stream:
        await stream.until("content")
        run_id = stream.response.headers["x-run-id"]
        faulty_database.refuse = 3
        assert (await api.post(f"{API}/runs/{run_id}/cancel")).status == 202
        async with asyncio.timeout(SECONDS):
            await upstream.gone.wait()
        response = await stream.end()
    assert response.frames[-2].data["metadata"]["stop_reason"] == "cancelled"
    await all_runs_end()


OPTIONS = """
import json
from agentsite import settings
print(json.dumps(settings.DATABASES["default"]["OPTIONS"]))
"""


@pytest.mark.postgresql
def test_a_postgresql_that_vanishes_is_noticed() -> None:
    url = need("postgres")
    environment = {**os.environ, "DATABASE_URL": url}
    python = [sys.executable, "-c", OPTIONS]
    options = json.loads(subprocess.check_output(python, env=environment))
    del options["pool"]
    with (
        psycopg.connect(url, **options) as connection,
        socket.socket(fileno=os.dup(connection.fileno())) as wire,
    ):
        if wire.family == socket.AF_UNIX:
            pytest.skip("this PostgreSQL is on this machine")
        values = [wire.getsockopt(*option) for option in WATCHING]
        assert values == [1, 10, 5, 3, 25_000]
        assert connection.info.get_parameters()["connect_timeout"] == "5"


async def test_an_end_after_a_checkpoint_without_an_answer_saves_nothing_twice(
    api: Api, upstream: StandInProvider, agent_settings: ChangeSettings
) -> None:
    agent_settings(event_flush_ms=60_000)  # the first write is the checkpoint
    access = FaultyDatabase(retry_seconds=60.0)  # the run is stopped before
    service = install_service(access=access)
    upstream.reply(
        chat.tool_calls(("c", "calculator", {"expression": "1+1"}), text="I count. ")
    )
    async with api.open("POST", f"{API}/stream", {"input": "Hi"}) as stream:
        await stream.until("connected")
        run_id = stream.response.headers["x-run-id"]
        access.after_cut = lambda: service.executor.stop(run_id)
        access.lose_answers = 1
        whole = await stream.end()
    assert access.cut == ["save_and_commit"]
    assert whole.events[-2:] == ["complete", "done"]
    roles = [m.role async for m in Message.objects.order_by("id")]
    assert roles == ["user", "assistant"]
