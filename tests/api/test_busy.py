"""Requests in a conversation that has an active run: refused, queued, interrupting."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from streaming.models import Conversation, Run, RunStatus
from streaming.models import Message as MessageRow
from streaming.runs.timings import Timings
from streaming.testing.provider import Reply, StandInProvider
from tests import chat
from tests.client import API, SECONDS, Api, Response, Stream, all_runs_end
from tests.conftest import ChangeSettings
from tests.faults.database import FaultyDatabase, install_service

pytestmark = pytest.mark.usefixtures("model")

QUEUE = f"{API}/conversation/queue?conversation_id=c"


def body(input: str, **fields: object) -> dict[str, object]:
    """The body of a request in the conversation `c`, which waits for its turn."""
    return {"input": input, "conversation_id": "c", "on_busy": "queue", **fields}


def held(text: str, end: asyncio.Event) -> Reply:
    """A response that goes on until the event is set."""
    return Reply.of([chat.pieces(text), chat.ending()], held=end)


@asynccontextmanager
async def answering(api: Api) -> AsyncIterator[Stream]:
    """A stream whose run is answering: the other requests find it active."""
    async with api.open("POST", f"{API}/stream", body("first")) as stream:
        await stream.until("content")
        yield stream


async def patch(api: Api, path: str, change: object) -> Response:
    async with api.open("PATCH", path, change) as stream:
        return await stream.end()


async def ask(api: Api, input: str, **fields: object) -> Response:
    return await api.post(f"{API}/run", body(input, **fields))


async def queued(api: Api) -> list[str]:
    """Return the inputs of the pending runs in their order."""
    return [each["input"] for each in (await api.get(QUEUE)).json["runs"]]


async def ids(api: Api) -> list[str]:
    return [each["run_id"] for each in (await api.get(QUEUE)).json["runs"]]


async def questions() -> list[str]:
    """Return the texts of all messages in their order."""
    rows = MessageRow.objects.order_by("id").values_list("role", "parts")
    return [f"{role}: {parts[0]['text']}" async for role, parts in rows]


async def state(api: Api, run_id: str) -> Any:  # noqa: ANN401
    return (await api.get(f"{API}/runs/{run_id}")).json


async def greeting(stream: Stream) -> dict[str, Any]:
    """Return the metadata of a stream's first event."""
    metadata: dict[str, Any] = (await stream.until("connected")).data["metadata"]
    return metadata


async def test_a_queued_request_is_answered_after_the_active_one(
    api: Api, upstream: StandInProvider
) -> None:
    end = asyncio.Event()
    upstream.reply(held("one", end), chat.answer("two"), chat.answer("three"))
    async with (
        answering(api) as first,
        api.open("POST", f"{API}/stream", body("second")) as second,
    ):
        info = await greeting(first)
        assert {"status", "position"}.isdisjoint(info)
        info = await greeting(second)
        assert (info["status"], info["position"]) == ("pending", 1)
        third = asyncio.create_task(ask(api, "third"))
        while len(await queued(api)) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert await queued(api) == ["second", "third"]
        assert await questions() == ["user: first"]
        found = await state(api, info["run_id"])
        assert (found["status"], found["position"]) == ("pending", 1)
        assert found["input"] == "second"
        end.set()
        assert (await second.end()).text == "two"
        assert (await third).json["output"] == "three"
    assert await queued(api) == []
    assert await questions() == [
        "user: first",
        "assistant: one",
        "user: second",
        "assistant: two",
        "user: third",
        "assistant: three",
    ]
    sent = [m["content"] for m in upstream.requests[-1].json["messages"]]
    assert sent[1:] == ["first", "one", "second", "two", "third"]
    assert "position" not in await state(api, info["run_id"])


async def test_an_idle_conversation_is_not_queued_for(
    api: Api, upstream: StandInProvider
) -> None:
    for value in ("queue", "interrupt", "steer", "reject"):
        upstream.reply(chat.answer("yes"))
        answered = await api.post(f"{API}/stream", body("Hi", on_busy=value))
        assert answered.frames[0].data["metadata"].get("status") is None
        assert answered.text == "yes"


@pytest.mark.parametrize("value", ["wait", "QUEUE", "", 1])
async def test_other_values_are_refused(api: Api, value: object) -> None:
    refused = await api.run("Hi", on_busy=value)
    assert refused.status == 400
    assert refused.json["details"][0]["field"] == "on_busy"


async def test_the_position_is_the_present_one_for_each_reader(
    api: Api, upstream: StandInProvider
) -> None:
    end = asyncio.Event()
    upstream.reply(held("one", end), chat.answer("two"), chat.answer("three"))
    async with answering(api):
        for text in ("second", "third"):
            async with api.open("POST", f"{API}/stream", body(text)) as stream:
                await greeting(stream)
                await stream.hang_up()
        second, third = await ids(api)
        await api.post(f"{API}/runs/{second}/cancel")
        async with api.open("GET", f"{API}/runs/{third}/events") as reader:
            assert (await greeting(reader))["position"] == 1
            end.set()
            assert (await reader.end()).text == "two"


async def test_an_interrupting_request_comes_first_and_ends_the_active_one(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(
        Reply(chat.pieces("partial"), end="hang"),
        chat.answer("now"),
        chat.answer("later"),
    )
    async with (
        answering(api) as first,
        api.open("POST", f"{API}/stream", body("patient")) as patient,
    ):
        await greeting(patient)
        urgent = await ask(api, "urgent", on_busy="interrupt")
        assert urgent.json["output"] == "now"
        ended = await first.end()
        assert ended.text == "partial"
        complete = ended.frames[-2].data["metadata"]
        assert complete["stop_reason"] == "cancelled"
        assert (await patient.end()).text == "later"
    assert await questions() == [
        "user: first",
        "assistant: partial",
        "user: urgent",
        "assistant: now",
        "user: patient",
        "assistant: later",
    ]


async def test_the_input_of_a_pending_run_can_be_changed_until_it_starts(
    api: Api, upstream: StandInProvider
) -> None:
    end = asyncio.Event()
    upstream.reply(held("one", end), chat.answer("two"))
    async with (
        answering(api) as first,
        api.open("POST", f"{API}/stream", body("secnod")) as second,
    ):
        run_id = (await greeting(second))["run_id"]
        path = f"{API}/runs/{run_id}"
        for refused in ({"input": " "}, {"input": 1}, {}, b"{"):
            assert (await patch(api, path, refused)).status == 400
        changed = await patch(api, path, {"input": "second"})
        assert (changed.status, changed.json["input"]) == (200, "second")
        assert changed.json["status"] == "pending"
        running = (await greeting(first))["run_id"]
        late = await patch(api, f"{API}/runs/{running}", {"input": "no"})
        assert (late.status, late.json["code"]) == (409, "not_pending")
        stranger = await patch(api, f"{path}?org_id=umbrella", {"input": "no"})
        assert stranger.status == 404
        end.set()
        await second.end()
    assert (await questions())[2] == "user: second"
    late = await patch(api, path, {"input": "no"})
    assert (late.status, late.json["code"]) == (409, "not_pending")


async def test_a_cancelled_pending_run_ends_at_once_and_leaves_no_message(
    api: Api, upstream: StandInProvider
) -> None:
    end = asyncio.Event()
    upstream.reply(held("one", end), chat.answer("three"))
    async with (
        answering(api),
        api.open("POST", f"{API}/stream", body("second")) as second,
    ):
        run_id = (await greeting(second))["run_id"]
        third = asyncio.create_task(ask(api, "third"))
        assert (await api.post(f"{API}/runs/{run_id}/cancel")).status == 202
        ended = await second.end()
        assert ended.events == ["connected", "complete", "done"]
        assert ended.frames[1].data["metadata"]["stop_reason"] == "cancelled"
        assert (await api.post(f"{API}/runs/{run_id}/cancel")).status == 200
        end.set()
        assert (await third).json["output"] == "three"
    assert "user: second" not in await questions()
    replayed = await api.get(f"{API}/runs/{run_id}/events")
    assert replayed.events == ["connected", "complete", "done"]


async def test_the_queue_is_put_in_order_and_cleared(
    api: Api, upstream: StandInProvider
) -> None:
    end = asyncio.Event()
    upstream.reply(held("one", end), chat.answer("b"))
    async with answering(api) as first:
        for text in ("a", "b", "c"):
            async with api.open("POST", f"{API}/stream", body(text)) as stream:
                await greeting(stream)
                await stream.hang_up()
        a, b, c = await ids(api)
        listed = (await api.get(QUEUE)).json
        assert listed["conversation_id"] == "c"
        assert listed["runs"][0].keys() == {
            "run_id",
            "position",
            "input",
            "agent",
            "created_at",
        }
        moved = await patch(api, QUEUE, {"order": [b, c, a]})
        assert [r["input"] for r in moved.json["runs"]] == ["b", "c", "a"]
        assert [r["position"] for r in moved.json["runs"]] == [1, 2, 3]
        active = (await greeting(first))["run_id"]
        for order, status, code in (
            ([b, c], 409, "queue_changed"),
            ([], 409, "queue_changed"),
            ([a, b, c, active], 409, "queue_changed"),
            ([a, b, c, "other"], 400, "invalid_request"),
            ([a, b, c, a], 400, "invalid_request"),
            ("a", 400, "invalid_request"),
        ):
            refused = await patch(api, QUEUE, {"order": order})
            assert (refused.status, refused.json["code"]) == (status, code), order
        assert await queued(api) == ["b", "c", "a"]
        stranger = f"{QUEUE}&org_id=umbrella"
        assert (await api.get(stranger)).status == 404
        assert (await patch(api, stranger, {"order": [a, b, c]})).status == 404
        assert (await api.delete(stranger)).status == 404
        assert (await api.get(f"{API}/conversation/queue")).status == 400
        for run_id in (a, c):
            await api.post(f"{API}/runs/{run_id}/cancel")
        end.set()
        await first.end()
        await all_runs_end()
    assert (await questions())[-2:] == ["user: b", "assistant: b"]


async def test_a_cleared_queue_leaves_the_active_run_alone(
    api: Api, upstream: StandInProvider
) -> None:
    end = asyncio.Event()
    upstream.reply(held("one", end))
    async with (
        answering(api) as first,
        api.open("POST", f"{API}/stream", body("second")) as second,
    ):
        await greeting(second)
        assert (await api.delete(QUEUE)).status == 204
        assert (await second.end()).events == ["connected", "complete", "done"]
        end.set()
        assert (await first.end()).text == "one"


async def test_a_deleted_conversation_starts_none_of_its_pending_runs(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(Reply(chat.pieces("one"), end="hang"))
    async with (
        answering(api) as first,
        api.open("POST", f"{API}/stream", body("second")) as second,
    ):
        await greeting(second)
        assert (await api.delete(f"{API}/conversations/c")).status == 204
        await first.end()
        await second.end()
    assert len(upstream.requests) == 1
    assert not await Run.objects.aexists()
    assert not await Conversation.objects.aexists()


async def test_a_conversation_has_a_limit_of_pending_runs(
    api: Api, upstream: StandInProvider, agent_settings: ChangeSettings
) -> None:
    agent_settings(run_max_pending=1, run_max=1, run_max_per_org=1)
    end = asyncio.Event()
    upstream.reply(held("one", end), chat.answer("two"))
    async with (
        answering(api),
        api.open("POST", f"{API}/stream", body("second")) as second,
    ):
        # Neither the process nor the organization has a place for another active run.
        assert (await greeting(second))["status"] == "pending"
        refused = await ask(api, "third")
        assert (refused.status, refused.json["code"]) == (429, "rate_limited")
        assert "RUN_MAX_PENDING" in refused.json["error"]
        refused = await ask(api, "other", conversation_id="d")
        assert (refused.status, refused.json["code"]) == (429, "rate_limited")
        end.set()
        assert (await second.end()).text == "two"


async def test_a_full_process_refuses_a_run_that_would_start_without_a_transaction(
    api: Api, upstream: StandInProvider, agent_settings: ChangeSettings
) -> None:
    """Otherwise its refusal would undo all the starts that share the transaction."""
    agent_settings(run_max=1)
    end, access = asyncio.Event(), FaultyDatabase()
    install_service(access=access)
    upstream.reply(held("one", end), chat.answer("two"))
    async with answering(api) as first:
        access.writes.clear()
        for fields in ({"conversation_id": "idle"}, {"conversation_id": None}):
            for value in ("reject", "queue", "interrupt"):
                refused = await ask(api, "Hi", **fields, on_busy=value)
                assert (refused.status, refused.json["code"]) == (429, "rate_limited")
        assert "start_runs" not in access.writes
        second = asyncio.create_task(ask(api, "second"))
        while len(await queued(api)) < 1:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        end.set()
        assert (await first.end()).text == "one"
        assert (await second).json["output"] == "two"


async def test_a_full_process_starts_the_next_run_when_its_place_is_free(
    api: Api, upstream: StandInProvider, agent_settings: ChangeSettings
) -> None:
    """It does not wait for the next look at the queue, which comes in a minute."""
    agent_settings(run_max=1)
    install_service(timings=Timings(queue=60))
    end = asyncio.Event()
    upstream.reply(held("one", end), chat.answer("two"), chat.answer("three"))
    async with answering(api), asyncio.timeout(SECONDS):
        second = asyncio.create_task(ask(api, "second"))
        while len(await queued(api)) < 1:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        third = asyncio.create_task(ask(api, "third"))
        while len(await queued(api)) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        end.set()
        assert (await second).json["output"] == "two"
        assert (await third).json["output"] == "three"


async def test_a_repeated_request_joins_its_pending_run(
    api: Api, upstream: StandInProvider
) -> None:
    end = asyncio.Event()
    upstream.reply(held("one", end), chat.answer("two"))
    async with (
        answering(api),
        api.open(
            "POST", f"{API}/stream", body("second"), {"idempotency_key": "k"}
        ) as second,
    ):
        info = await greeting(second)
        async with api.open(
            "POST", f"{API}/stream", body("second"), {"idempotency_key": "k"}
        ) as again:
            assert await greeting(again) == info
            end.set()
            assert (await again.end()).text == (await second.end()).text == "two"
    assert await Run.objects.acount() == 2
    other = await api.post(
        f"{API}/run", body("second", on_busy="interrupt"), idempotency_key="k"
    )
    assert other.json["code"] == "idempotency_conflict"


async def test_ten_requests_at_once_lose_nothing_and_have_one_order(
    api: Api, upstream: StandInProvider
) -> None:
    texts = [f"question {n}" for n in range(10)]
    upstream.reply(*(chat.answer(f"answer {n}") for n in range(10)))
    responses = await asyncio.gather(*(ask(api, text) for text in texts))
    answers = [response.json["output"] for response in responses]
    assert sorted(answers) == sorted(f"answer {n}" for n in range(10))
    told = await questions()
    assert sorted(told[::2]) == [f"user: {text}" for text in texts]
    assert told[1::2] == [f"assistant: answer {n}" for n in range(10)]
    # Each has the answer to its own question.
    order = [texts.index(each.removeprefix("user: ")) for each in told[::2]]
    assert [answers[at] for at in order] == [f"answer {n}" for n in range(10)]
    statuses = [run.status async for run in Run.objects.all()]
    assert statuses == [RunStatus.COMPLETED] * 10


@pytest.mark.parametrize("fault", ["refuse", "lose_answers"])
async def test_a_pending_run_starts_once_although_the_database_fails(
    api: Api, upstream: StandInProvider, fault: str
) -> None:
    end, access = asyncio.Event(), FaultyDatabase()
    install_service(access=access)
    upstream.reply(held("one", end), chat.answer("two"), chat.answer("three"))
    async with (
        answering(api) as first,
        api.open("POST", f"{API}/stream", body("second")) as second,
        api.open("POST", f"{API}/stream", body("third")) as third,
    ):
        await greeting(second)
        await greeting(third)
        pending = await queued(api)
        setattr(access, fault, 3)
        end.set()
        assert (await first.end()).text == "one"
        texts = {(await second.end()).text, (await third.end()).text}
        assert texts == {"two", "three"}
    assert "save_and_commit" in access.cut
    assert [
        text.removeprefix("user: ") for text in (await questions())[2::2]
    ] == pending
    assert len(upstream.requests) == 3
    assert [run.attempt async for run in Run.objects.all()] == [1, 1, 1]


async def test_an_interruption_is_completed_by_the_next_heartbeats(
    api: Api, upstream: StandInProvider, agent_settings: ChangeSettings
) -> None:
    """As if its process had died after the run was inserted."""
    agent_settings(run_lease_seconds=1)
    upstream.reply(Reply(chat.pieces("one"), end="hang"), chat.answer("two"))
    async with (
        answering(api) as first,
        api.open("POST", f"{API}/stream", body("second")) as second,
    ):
        await greeting(second)
        active = first.response.headers["x-run-id"]
        waiting = Run.objects.filter(status=RunStatus.PENDING)
        await waiting.aupdate(interrupts=active)
        assert (await second.end()).text == "two"
        assert (await first.end()).text == "one"


async def test_a_run_that_nothing_has_promoted_is_found(
    api: Api, upstream: StandInProvider, agent_settings: ChangeSettings
) -> None:
    agent_settings(run_lease_seconds=1)
    upstream.reply(Reply(chat.pieces("one"), end="hang"), chat.answer("two"))
    async with (
        answering(api) as first,
        api.open("POST", f"{API}/stream", body("second")) as second,
    ):
        await greeting(second)
        # As a process of an earlier version would end it.
        run_id = first.response.headers["x-run-id"]
        await Run.objects.filter(pk=run_id).aupdate(status=RunStatus.COMPLETED)
        assert (await second.end()).text == "two"
