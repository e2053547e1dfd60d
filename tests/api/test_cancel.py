"""Cancels that arrive at inconvenient times."""

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import pytest
from django.db.models import F
from django.utils import timezone

from streaming.models import Message as MessageRow
from streaming.models import Run
from streaming.runs import RunService
from streaming.runs.timings import Timings
from streaming.testing.provider import Reply, StandInProvider
from streaming.tools import Toolbox, tool
from tests import chat
from tests.client import API, SECONDS, Api
from tests.conftest import ChangeSettings
from tests.faults.database import FaultyDatabase, changed_loops, install_service

pytestmark = pytest.mark.usefixtures("model")

BODY = {"input": "Hi", "conversation_id": "c"}
CALL = ("call", "calculator", {"expression": "1+1"})


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110  (a thread or a task changes it)
            await asyncio.sleep(0.01)


async def ask_again(api: Api, upstream: StandInProvider) -> list[tuple[str, object]]:
    """Ask in the same conversation; the roles, and whom each tool result answers."""
    upstream.reply(chat.answer("next"))
    assert (await api.post(f"{API}/run", BODY)).json["output"] == "next"
    messages = upstream.requests[-1].json["messages"]
    return [
        (m["role"], m.get("tool_call_id")) for m in messages if m["role"] != "system"
    ]


async def test_a_tool_that_ignores_its_cancellation_does_not_delay_the_end(
    api: Api, upstream: StandInProvider
) -> None:
    go_on, ended = asyncio.Event(), asyncio.Event()

    @tool
    async def stubborn() -> str:
        """Ignore every cancellation."""
        while not go_on.is_set():
            with suppress(asyncio.CancelledError):
                await go_on.wait()
        ended.set()
        return "too late"

    install_service(
        agents=changed_loops(toolbox=Toolbox([stubborn])),
        timings=Timings(agent_stop=0.1),
    )
    upstream.reply(chat.tool_calls(("call", "stubborn", {})))
    async with api.open("POST", f"{API}/stream", BODY) as stream:
        await stream.until("tool_call")
        run_id = stream.response.headers["x-run-id"]
        assert (await api.post(f"{API}/runs/{run_id}/cancel")).status == 202
        whole = await stream.end()
    assert whole.events[-3:] == ["tool_call", "complete", "done"]
    assert whole.frames[-2].data["metadata"]["stop_reason"] == "cancelled"
    go_on.set()
    await ended.wait()
    sent = await ask_again(api, upstream)
    assert sent == [
        ("user", None),
        ("assistant", None),
        ("tool", "call00001"),
        ("assistant", None),
        ("user", None),
    ]
    assert "too late" not in upstream.requests[-1].body.decode()


@pytest.mark.parametrize("has_begun", [True, False])
async def test_a_cancel_during_a_checkpoint_saves_each_message_once(
    api: Api,
    upstream: StandInProvider,
    agent_settings: ChangeSettings,
    has_begun: bool,
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slowly(write: Callable[[], object]) -> object:
        written = write() if has_begun else None
        begun.set()
        assert go_on.wait(SECONDS)
        return written if has_begun else write()

    agent_settings(event_flush_ms=60_000)  # the first write is the checkpoint
    access = FaultyDatabase()
    access.around["save_and_commit"] = slowly
    service = install_service(access=access)
    upstream.reply(chat.tool_calls(CALL, text="I count."))
    async with api.open("POST", f"{API}/stream", BODY) as stream:
        await until(begun.is_set)
        service.executor.stop(stream.response.headers["x-run-id"])
        go_on.set()
        whole = await stream.end()
    assert whole.frames[-2].data["metadata"]["stop_reason"] == "cancelled"
    roles = [row.role async for row in MessageRow.objects.order_by("id")]
    assert roles == ["user", "assistant"]
    sent = await ask_again(api, upstream)
    roles = [role for role, _ in sent]
    assert roles == ["user", "assistant", "tool", "assistant", "user"]


async def test_a_reader_that_reconnects_to_another_process_keeps_the_run(
    api: Api, upstream: StandInProvider, other_process: RunService
) -> None:
    access = FaultyDatabase()
    service = install_service(access=access)
    upstream.reply(Reply(chat.pieces("x"), end="hang"))
    async with api.open("POST", f"{API}/stream", BODY) as stream:
        await stream.until("content")
        run_id = stream.response.headers["x-run-id"]
        await stream.hang_up()
    async with other_process.following(run_id, 0, is_active=True) as batches:
        await anext(batches)
    unread = Run.objects.filter(last_reader_at=F("created_at"))
    async with asyncio.timeout(SECONDS):
        while await unread.aexists():  # noqa: ASYNC110  (the other process writes it)
            await asyncio.sleep(0.02)
    # The heartbeat may still apply what it read before the other process wrote.
    access.reads.clear()
    await until(lambda: access.reads.count("read_signals") > 0)
    # As this process knows, the last reader disconnected an hour ago.
    service.worker.executions[run_id].last_reader_at = time.monotonic() - 3600
    access.reads.clear()
    await until(lambda: access.reads.count("read_signals") > 2)
    assert not upstream.gone.is_set()
    # And as the other process knows.
    await Run.objects.aupdate(last_reader_at=timezone.now() - timedelta(hours=1))
    async with asyncio.timeout(SECONDS):
        await upstream.gone.wait()
