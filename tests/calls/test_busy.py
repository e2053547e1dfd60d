"""Python code that calls an agent in a conversation with an active run."""

import asyncio
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from streaming import Agent, AgentRun, runs
from streaming.agents import registry
from streaming.exceptions import ConversationBusy, InvalidRequest
from streaming.models import Run
from streaming.testing import scripted
from streaming.testing.provider import Reply, StandInProvider
from tests import chat
from tests.client import API, SECONDS, Api


async def answering(support: Agent, upstream: StandInProvider, end: Any) -> AgentRun:  # noqa: ANN401
    """Return a run that is answering."""
    reply = Reply.of([chat.pieces("one"), chat.ending()], held=end)
    upstream.reply(reply, chat.answer("two"), chat.answer("three"))
    active = await support.start("first", conversation="c")
    async for event in active.events():
        if event.__class__.__name__ == "Content":
            break
    return active


async def test_a_call_waits_for_its_turn_in_a_process_that_serves_nothing(
    api: Api, support: Agent, upstream: StandInProvider
) -> None:
    end = asyncio.Event()
    await answering(support, upstream, end)
    with pytest.raises(ConversationBusy):
        await support.start("second", conversation="c")
    second = await support.start("second", conversation="c", on_busy="queue")
    assert second.status == "pending"
    third = asyncio.create_task(support.run("third", conversation="c", on_busy="queue"))
    end.set()
    assert (await second.wait()).output == "two"
    assert (await third).output == "three"
    assert not runs.get_own_service().is_serving


async def test_synchronous_code_interrupts_at_its_commit(
    api: Api, support: Agent, upstream: StandInProvider
) -> None:
    runs.get_service()
    active = await answering(support, upstream, asyncio.Event())
    urgent = await sync_to_async(support.enqueue)(
        "urgent", conversation="c", on_busy="interrupt"
    )
    async with asyncio.timeout(SECONDS):
        assert (await active.wait()).stop_reason == "cancelled"
        assert (await urgent.wait()).output == "two"


async def test_another_value_is_refused(support: Agent) -> None:
    with pytest.raises(InvalidRequest, match="on_busy"):
        await support.start("Hi", on_busy="wait")


async def test_an_agent_has_a_default_that_a_request_may_change(
    api: Api, support: Agent, upstream: StandInProvider
) -> None:
    runs.get_service()
    support.on_busy = "queue"
    end = asyncio.Event()
    active = await answering(support, upstream, end)
    body = {"input": "second", "conversation_id": "c", "agent": "support"}
    busy = await api.post(f"{API}/run", {**body, "on_busy": "reject"})
    assert (busy.status, busy.json["run_id"]) == (409, active.id)
    async with api.open("POST", f"{API}/stream", body) as stream:
        greeting = await stream.until("connected")
        assert greeting.data["metadata"]["status"] == "pending"
        end.set()
        assert (await stream.end()).text == "two"


@pytest.mark.django_db(transaction=True)
async def test_an_override_takes_turns(support: Agent) -> None:
    assert registry.get().by_key("support") is support
    with support.override(model=scripted("one", "two")):
        first = await support.start("first", conversation="c")
        second = await support.start("second", conversation="c", on_busy="queue")
        assert (await second.wait()).output == "two"
        await first.refresh()
        assert first.output == "one"
    assert [run.status async for run in Run.objects.all()] == ["completed"] * 2
