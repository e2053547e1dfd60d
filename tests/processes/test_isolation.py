"""Faults of one tool, one run or one row do not reach the other runs of a server."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import pytest_asyncio

from bench.faults.waiting import until
from streaming.testing.provider import Reply, Request, StandInProvider
from streaming.testing.server import Server
from tests import chat
from tests.client import API
from tests.processes.conftest import Make
from tests.servers import (
    READY,
    ROOT,
    SECONDS,
    UVICORN,
    model_variables,
    site_environment,
)

#: Tools that fail, and the name of the exception in their results.
FAILURES = {
    "leave": "SystemExit",
    "leave_in_a_task": "TaskCrash",
    "leave_in_a_thread": "SystemExit",
    "interrupt": "KeyboardInterrupt",
    "interrupt_in_a_thread": "KeyboardInterrupt",
    "panic": "PanicException",
    "panic_in_a_thread": "PanicException",
    "close": "GeneratorExit",
    "cancel_itself": "CancelledError",
    "cancel_in_a_thread": "CancelledError",
}


def reply_to(request: Request) -> Reply:
    """Call the tool that the prompt names as `NAME JSON`; then answer."""
    last = request.json["messages"][-1]
    if last["role"] == "tool":
        return chat.answer(f"answer: {last['content']}")
    if last["content"] == "slow":
        pieces = [chat.pieces(text) for text in chat.many(100)]
        return Reply.of([*pieces, chat.ending()], delay=0.05)
    if last["content"] == "silent":
        return Reply(chat.pieces("x"), end="hang")
    name, _, arguments = last["content"].partition(" ")
    return chat.tool_calls(("call", name, arguments or "{}"))


@pytest_asyncio.fixture
async def upstream() -> AsyncIterator[StandInProvider]:
    """A model that calls the tool of the prompt."""
    async with StandInProvider(reply_to) as server:
        yield server


@pytest.fixture
def serve(make: Make, upstream: StandInProvider) -> Callable[..., Server]:
    """Make a server with hostile tools."""

    def serve(**variables: str) -> Server:
        own = {
            "DJANGO_SETTINGS_MODULE": "bench.more_apps",
            "MORE_APPS": "tests.tools.hostileapp",
            "AGENT_TOOL_TIMEOUT_SECONDS": "3",
        }
        return make(*UVICORN, **{**model_variables(upstream), **own, **variables})

    return serve


def body_of(prompt: str, conversation_id: str = "") -> dict[str, str]:
    named = {"conversation_id": conversation_id} if conversation_id else {}
    return {"input": prompt, **named}


async def run(client: httpx.AsyncClient, prompt: str) -> dict[str, Any]:
    response = await client.post(f"{API}/run", json=body_of(prompt))
    found: dict[str, Any] = response.json()
    return found


def client_of(server: Server) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=server.url, timeout=SECONDS)


@pytest.mark.sqlite
async def test_a_tool_cannot_end_its_server_or_be_taken_for_a_success(
    serve: Callable[..., Server],
) -> None:
    server = serve()
    await server.astart()
    async with client_of(server) as client:
        for name, error in FAILURES.items():
            outcome = await run(client, name)
            assert outcome["output"] == f"answer: The tool failed: {error}.", name
        for name in ("swallow", "hang"):
            outcome = await run(client, name)
            assert outcome["output"] == "answer: The tool did not answer in 3 s.", name
        ready = (await client.get(READY)).json()
    assert ready["details"]["abandoned_tool_calls"] == 2
    assert server.is_running
    log = server.log.read_text()
    assert "tool abandoned, cancellation ignored: swallow in run" in log
    assert "tool timed out: hang in run" in log


@pytest.mark.sqlite
@pytest.mark.parametrize("coroutine", ["_run_agent", "Worker._execute", "Toolbox.call"])
async def test_a_run_whose_task_is_cancelled_has_failed(
    serve: Callable[..., Server], coroutine: str
) -> None:
    server = serve()
    await server.astart()
    prompt = "cancel_tasks " + json.dumps({"of": coroutine})
    async with client_of(server) as client:
        body = body_of(prompt, "c")
        outcome = (await client.post(f"{API}/run", json=body)).json()
        assert outcome["code"] == "internal_error"
        [ended] = await runs_of(client, "c")
        assert (ended["status"], ended["error"]["code"]) == ("failed", "internal_error")
        assert "answer" in (await run(client, "leave"))["output"]


async def runs_of(client: httpx.AsyncClient, conversation: str) -> list[dict[str, Any]]:
    """Return the ended runs of a conversation, which may not have begun."""
    found = (await client.get(f"{API}/conversations/{conversation}")).json()
    active = ("queued", "running")
    return [each for each in found.get("runs", ()) if each["status"] not in active]


@pytest.mark.sqlite
async def test_a_blocked_event_loop_is_reported_and_keeps_its_runs(
    serve: Callable[..., Server],
) -> None:
    one, other = (serve(RUN_LEASE_SECONDS="4") for _ in range(2))
    await asyncio.gather(one.astart(), other.astart())
    async with client_of(one) as client:
        silent = asyncio.create_task(run(client, "silent"))
        await asyncio.sleep(0.5)
        outcome = await run(client, 'block {"seconds": 9}')
        assert outcome["output"] == "answer: blocked"
        assert not silent.done()
        silent.cancel()
        await until(lambda: "event loop resumed" in one.log.read_text())
    log = one.log.read_text()
    assert "event loop blocked for" in log
    assert "by tool block in run" in log
    assert "agent_tools.py" in log
    assert "run interrupted" not in one.log.read_text() + other.log.read_text()


async def test_the_leases_of_a_loop_that_stays_blocked_lapse(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    released = tmp_path / "released"
    one, other = (
        serve(RUN_LEASE_SECONDS="2", RUN_BLOCKED_LEASE_SECONDS="1") for _ in range(2)
    )
    await asyncio.gather(one.astart(), other.astart())
    async with client_of(one) as client, client_of(other) as observer:
        prompt = f"block_until {json.dumps({'path': str(released)})}"
        body = body_of(prompt, "c")
        blocked = asyncio.create_task(client.post(f"{API}/run", json=body))
        async with asyncio.timeout(SECONDS):
            while not (ended := await runs_of(observer, "c")):  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        assert ended[0]["status"] == "completed"
        assert not blocked.done()
        released.touch()
        answer = (await blocked).json()["output"]
        assert answer.startswith("answer: It is unknown whether this call finished")
    assert "leases not renewed" in one.log.read_text()


async def test_missing_migrations_are_reported_and_are_no_outage(
    tmp_path: Path,
) -> None:
    environment = site_environment(tmp_path)
    with Server(UVICORN, tmp_path, environment=environment, cwd=ROOT) as server:
        async with client_of(server) as client, asyncio.timeout(SECONDS):
            while "migrations missing" not in server.log.read_text():
                await client.get("/health")
                await asyncio.sleep(0.1)
            response = await client.post(f"{API}/run", json=body_of("Hi"))
    assert (response.status_code, response.json()["code"]) == (500, "internal_error")
    assert "streaming.0001_initial" in server.log.read_text()


async def streamed(client: httpx.AsyncClient, prompt: str, conversation: str) -> str:
    """Return the body of a stream."""
    body = body_of(prompt, conversation)
    return (await client.post(f"{API}/stream", json=body)).text


QUERYING = (
    "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database"
    " WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()"
)
RUNNING = "SELECT count(*) FROM streaming_run WHERE status = 'running'"


@pytest.mark.postgresql
async def test_a_locked_run_delays_no_other(
    serve: Callable[..., Server],
) -> None:
    server = serve(RUN_LEASE_SECONDS="2")
    await server.astart()
    async with client_of(server) as client:
        locked = asyncio.create_task(streamed(client, "slow", "locked"))
        free = asyncio.create_task(streamed(client, "slow", "free"))
        with psycopg.connect(server.environment["DATABASE_URL"]) as elsewhere:
            await until(lambda: elsewhere.execute(RUNNING).fetchone() == (2,))
            elsewhere.execute(
                "SELECT FROM streaming_run JOIN streaming_conversation c"
                " ON c.id = streaming_run.conversation_id"
                " WHERE c.conversation_id = 'locked'"
                " FOR UPDATE"
            )
            assert "event: complete" in await free
            for at in range(5):
                assert "event: complete" in await streamed(client, "quick", f"c{at}")
            ready = await client.get(READY)
            assert ready.status_code == 200, ready.text
            await asyncio.sleep(1)
            assert not locked.done()
            elsewhere.rollback()
        assert "event: complete" in await locked
    assert "interrupted" not in server.log.read_text()


@pytest.mark.postgresql
async def test_tools_cannot_take_the_connections_of_the_event_log(
    serve: Callable[..., Server],
) -> None:
    server = serve(DATABASE_POOL_SIZE="2", AGENT_TOOL_TIMEOUT_SECONDS=str(SECONDS))
    await server.astart()
    url = server.environment["DATABASE_URL"]
    async with client_of(server) as client:
        with psycopg.connect(url, autocommit=True) as elsewhere:
            elsewhere.execute("SELECT pg_advisory_lock(1)")
            prompt = 'query {"lock": 1}'
            querying = [asyncio.create_task(run(client, prompt)) for _ in range(12)]
            await until(lambda: elsewhere.execute(QUERYING).fetchone() == (2,))
            assert "event: complete" in await streamed(client, "quick", "other")
            assert (await client.get(READY)).status_code == 200
            assert elsewhere.execute(QUERYING).fetchone() == (2,)
        outcomes = [(await each)["execution_summary"] for each in querying]
    assert {each["stop_reason"] for each in outcomes} == {"end_turn"}
    assert "run failed" not in server.log.read_text()


@pytest.mark.sqlite
async def test_a_signal_shows_the_stack_that_holds_the_interpreter(
    serve: Callable[..., Server],
) -> None:
    """As docs/operations.md says: the watchdog is a thread of the interpreter too."""
    server = serve(PYTHONFAULTHANDLER="1")
    await server.astart()
    async with client_of(server) as client:
        held = asyncio.create_task(run(client, "hold_the_interpreter"))
        async with asyncio.timeout(SECONDS):
            while await asyncio.to_thread(server.is_ready):  # noqa: ASYNC110  (no event)
                await asyncio.sleep(0.05)
        server.send_signal(signal.SIGABRT)
        assert await asyncio.to_thread(server.ends_within, SECONDS)
        with pytest.raises(httpx.TransportError):
            await held
    log = server.log.read_text()
    assert "Fatal Python error: Aborted" in log
    assert "in hold_the_interpreter" in log
