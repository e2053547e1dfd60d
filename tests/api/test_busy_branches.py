"""Pending runs at places of their own in the tree of their conversation."""

import asyncio

import pytest

from streaming.models import Run
from streaming.testing.provider import StandInProvider
from tests import chat
from tests.api.test_branches import Talk
from tests.api.test_busy import held, ids, patch
from tests.client import API, SECONDS, Api, all_runs_end

pytestmark = pytest.mark.usefixtures("model")


@pytest.fixture
def talk(api: Api, upstream: StandInProvider) -> Talk:
    return Talk(api, upstream)


async def wait_for_pending(api: Api, count: int) -> list[str]:
    """Return the pending runs once there are so many."""
    async with asyncio.timeout(SECONDS):
        while len(found := await ids(api)) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return found


async def test_a_pending_run_follows_the_run_before_it(
    talk: Talk, api: Api, upstream: StandInProvider
) -> None:
    end = asyncio.Event()
    first = await talk.ask("q1", "a1")
    upstream.reply(held("a1 again", end), chat.answer("a2"))
    again = {"conversation_id": "c", "regenerate": first}
    async with api.open("POST", f"{API}/stream", again) as stream:
        await stream.until("content")
        queued = {"conversation_id": "c", "input": "q2", "on_busy": "queue"}
        waiting = asyncio.create_task(talk.post("run", queued))
        await wait_for_pending(api, 1)
        end.set()
        assert (await waiting).json["output"] == "a2"
    assert talk.sent() == ["q1", "a1 again", "q2"]
    assert await talk.shown() == ["q1", "a1 again", "q2", "a2"]


async def test_pending_runs_keep_the_places_that_they_name(
    talk: Talk, api: Api, upstream: StandInProvider
) -> None:
    end = asyncio.Event()
    first = await talk.ask("q1", "a1")
    _, answer = await talk.ids()
    upstream.reply(held("a2", end))
    running = {"conversation_id": "c", "input": "q2"}
    async with api.open("POST", f"{API}/stream", running) as stream:
        await stream.until("content")
        busy = {"conversation_id": "c", "on_busy": "queue"}
        edited = busy | {"input": "q2 edited", "parent_message_id": answer}
        again = busy | {"regenerate": first}
        upstream.reply(chat.answer("a2 edited"), chat.answer("a1 again"))
        tasks = [asyncio.create_task(talk.post("run", edited))]
        await wait_for_pending(api, 1)
        tasks.append(asyncio.create_task(talk.post("run", again)))
        _, repeated = await wait_for_pending(api, 2)
        refused = await patch(api, f"{API}/runs/{repeated}", {"input": "other"})
        assert (refused.status, refused.json["details"][0]["field"]) == (400, "input")
        end.set()
        assert [(await task).status for task in tasks] == [200, 200]
    sent = [
        [m["content"] for m in request.json["messages"] if m["role"] != "system"]
        for request in upstream.requests[-2:]
    ]
    assert sent == [["q1", "a1", "q2 edited"], ["q1"]]
    assert await talk.shown() == ["q1", "a1 again"]
    assert await Run.objects.filter(status="completed").acount() == 4


async def test_a_repeated_answer_can_interrupt_the_present_one(
    talk: Talk, api: Api, upstream: StandInProvider
) -> None:
    first = await talk.ask("q1", "a1")
    upstream.reply(held("a2", asyncio.Event()), chat.answer("a1 again"))
    running = {"conversation_id": "c", "input": "q2"}
    async with api.open("POST", f"{API}/stream", running) as stream:
        await stream.until("content")
        again = {"conversation_id": "c", "regenerate": first, "on_busy": "interrupt"}
        assert (await talk.post("run", again)).json["output"] == "a1 again"
        await stream.end()
    await all_runs_end()
    assert talk.sent() == ["q1"]
    assert await talk.shown() == ["q1", "a1 again"]


@pytest.mark.parametrize("on_busy", ["interrupt", "queue"])
async def test_the_question_of_the_active_run_can_be_answered_again(
    talk: Talk, api: Api, upstream: StandInProvider, on_busy: str
) -> None:
    end = asyncio.Event()
    upstream.reply(held("a1", end), chat.answer("a1 again"))
    asked = {"conversation_id": "c", "input": "q1"}
    async with api.open("POST", f"{API}/stream", asked) as stream:
        await stream.until("content")
        active = stream.response.headers["x-run-id"]
        again = {"conversation_id": "c", "regenerate": active, "on_busy": on_busy}
        waiting = asyncio.create_task(talk.post("run", again))
        if on_busy == "queue":
            [pending] = await wait_for_pending(api, 1)
            assert pending != active
            end.set()
        assert (await waiting).json["output"] == "a1 again"
        assert (await stream.end()).text == "a1"
    assert talk.sent() == ["q1"]
    assert await talk.shown() == ["q1", "a1 again"]
