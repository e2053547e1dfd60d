"""The rights over pending runs: their inputs, their order, and interruptions."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from asgiref.sync import sync_to_async
from django.http import HttpRequest

from streaming.agents import registry
from streaming.calls.requests import make_call
from streaming.models import Message, Run
from streaming.principals import Principal
from streaming.runs.enqueueing import enqueue
from streaming.testing.provider import Reply, StandInProvider
from tests import chat
from tests.api.test_busy import QUEUE, body, held
from tests.auth.conftest import Caller, make_user, session_of
from tests.client import API, Api, Response
from tests.conftest import ChangeSettings

HERE = __name__

pytestmark = pytest.mark.usefixtures("model")


async def key(request: HttpRequest) -> Principal | None:
    """Authenticate a key of the organization: `Bearer KEY SCOPE …`."""
    _, name, *scopes = request.headers.get("Authorization", " none").split(" ")
    return Principal("acme", scopes=frozenset(scopes), credential=f"test:{name}")


@pytest.fixture
def keys(agent_settings: ChangeSettings) -> None:
    agent_settings(authentication=[f"{HERE}.key"])


@asynccontextmanager
async def pending(caller: Caller) -> AsyncIterator[str]:
    """The id of a pending run of a caller, behind an active one."""
    async with caller.open("POST", f"{API}/stream", body("first")) as first:
        await first.until("content")
        async with caller.open("POST", f"{API}/stream", body("second")) as second:
            await second.until("connected")
            yield second.response.headers["x-run-id"]
            await second.hang_up()
        await first.hang_up()


async def change(caller: Caller, run_id: str) -> Response:
    return await caller("PATCH", f"{API}/runs/{run_id}", {"input": "changed"})


async def test_a_colleague_cannot_change_what_runs_as_another_user(
    api: Api, upstream: StandInProvider, agent_settings: ChangeSettings
) -> None:
    agent_settings(authentication=["streaming.auth.session"], share="organization")
    end = asyncio.Event()
    upstream.reply(held("one", end), chat.answer("two"))
    alice = await session_of(api, await make_user("alice"))
    bob = await session_of(api, await make_user("bob"))
    async with pending(alice) as run_id:
        refused = await change(bob, run_id)
        assert (refused.status, refused.json["code"]) == (403, "forbidden")
        assert (await Run.objects.aget(pk=run_id)).input == "second"
        assert (await change(alice, run_id)).status == 200
        end.set()


@pytest.mark.usefixtures("keys")
async def test_another_key_of_the_organization_cannot_change_an_input(
    api: Api, upstream: StandInProvider
) -> None:
    end = asyncio.Event()
    upstream.reply(held("one", end), chat.answer("two"))
    own = Caller(api, authorization="Bearer a admin")
    async with pending(own) as run_id:
        assert (
            await change(Caller(api, authorization="Bearer b admin"), run_id)
        ).status == 403
        assert (await change(own, run_id)).status == 200
        end.set()


@pytest.mark.parametrize("deps", [None, 7])
async def test_no_client_changes_the_input_of_a_run_of_python_code(
    api: Api, upstream: StandInProvider, deps: int | None
) -> None:
    end = asyncio.Event()
    upstream.reply(held("one", end), chat.answer("two"), chat.answer("three"))
    async with pending(Caller(api)):
        call = make_call(
            registry.get().default,
            "third",
            conversation="c",
            on_busy="queue",
            deps=deps,
            idempotency_key="k" if deps else "",
        )
        run = await sync_to_async(lambda: enqueue(call.to_request()))()
        assert (await change(Caller(api), run.id)).status == 403
        end.set()


@pytest.mark.usefixtures("keys")
async def test_an_interruption_needs_the_right_to_cancel(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(Reply(chat.pieces("one"), end="hang"), chat.answer("two"))
    asked = body("now", on_busy="interrupt")
    async with Caller(api, authorization="Bearer a run").open(
        "POST", f"{API}/stream", body("first")
    ) as first:
        await first.until("content")
        for path in ("run", "stream"):
            caller = Caller(api, authorization="Bearer a run read")
            refused = await caller("POST", f"{API}/{path}", asked)
            assert (refused.status, refused.json["code"]) == (403, "forbidden")
            assert "cancel" in refused.json["error"]
        assert await Run.objects.acount() == 1
        caller = Caller(api, authorization="Bearer a run cancel")
        assert (await caller("POST", f"{API}/run", asked)).json["output"] == "two"
        assert (await first.end()).text == "one"


@pytest.mark.usefixtures("keys")
async def test_an_interrupting_agent_needs_the_right_to_cancel(
    api: Api, upstream: StandInProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry.get().default, "on_busy", "interrupt")
    upstream.reply(chat.answer("one"))
    caller = Caller(api, authorization="Bearer a run")
    assert (await caller("POST", f"{API}/run", {"input": "Hi"})).status == 403
    queued = {"input": "Hi", "on_busy": "queue"}
    assert (await caller("POST", f"{API}/run", queued)).status == 200


@pytest.mark.usefixtures("keys")
async def test_a_change_shows_nothing_to_those_that_may_not_read(
    api: Api, upstream: StandInProvider
) -> None:
    end = asyncio.Event()
    upstream.reply(held("one", end), chat.answer("two"))
    caller = Caller(api, authorization="Bearer a run")
    async with pending(caller) as run_id:
        assert (await change(caller, run_id)).body == b""
        assert (await Run.objects.aget(pk=run_id)).input == "changed"
        moved = await caller("PATCH", QUEUE, {"order": [run_id]})
        assert (moved.status, moved.body) == (204, b"")
        end.set()


@pytest.mark.usefixtures("keys")
async def test_another_branch_is_not_shown_to_those_that_may_not_read(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(chat.answer("one"))
    caller = Caller(api, authorization="Bearer a run")
    await caller("POST", f"{API}/run", body("first"))
    path = f"{API}/conversation/head?conversation_id=c"
    message = await Message.objects.alatest("pk")
    shown = await caller("POST", path, {"message_id": message.pk})
    assert (shown.status, shown.body) == (204, b"")
