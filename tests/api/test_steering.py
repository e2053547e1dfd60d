"""Texts for active runs: taken after the results of tools, or the next run."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio

from streaming.models import Message as MessageRow
from streaming.models import Run, RunInput
from streaming.testing.provider import Reply, StandInProvider
from tests import chat
from tests.client import API, Api, Response, Stream, all_runs_end
from tests.conftest import ChangeSettings
from tests.faults.database import changed_loops, install_service
from tests.runs.test_further_attempts import BOTH, QUICK, Tools, lose_lease, until

pytestmark = pytest.mark.usefixtures("model")

HANGING = Reply(chat.pieces("Hal"), end="hang")


def body(input: str, **fields: object) -> dict[str, object]:
    return {"input": input, "conversation_id": "c", "restarts": True, **fields}


def held(text: str, end: asyncio.Event) -> Reply:
    """A response that goes on until the event is set."""
    return Reply.of([chat.pieces(text), chat.ending()], held=end)


@pytest_asyncio.fixture
async def tools(api: Api) -> AsyncIterator[Tools]:
    """The tools of an agent in a service that renews leases quickly."""
    made = Tools()
    install_service(timings=QUICK, agents=changed_loops(toolbox=made.loops()))
    yield made
    made.may_end.set()


@asynccontextmanager
async def answering(api: Api, event: str = "content") -> AsyncIterator[Stream]:
    async with api.open("POST", f"{API}/stream", body("first")) as stream:
        await stream.until(event)
        yield stream


def run_of(stream: Stream) -> str:
    return stream.response.headers["x-run-id"]


async def steer(api: Api, run_id: str, text: str, **headers: str) -> Response:
    return await api.post(f"{API}/runs/{run_id}/input", {"input": text}, **headers)


async def state(api: Api, run_id: str) -> Any:  # noqa: ANN401
    return (await api.get(f"{API}/runs/{run_id}")).json


async def said() -> list[str]:
    """Return the texts of the messages of users and models, in their order."""
    rows = MessageRow.objects.exclude(role="tool").order_by("id")
    return [
        part["text"]
        async for parts in rows.values_list("parts", flat=True)
        for part in parts
        if part["type"] == "text"
    ]


async def test_a_text_is_taken_between_the_last_result_and_the_next_call(
    api: Api, upstream: StandInProvider, tools: Tools
) -> None:
    upstream.reply(BOTH, chat.answer("Done."))
    async with answering(api, "tool_result") as stream:
        run_id = run_of(stream)
        added = await steer(api, run_id, "In French.")
        more = await steer(api, run_id, "And short.")
        assert (added.status, list(added.json)) == (202, ["message_id"])
        waiting = (await state(api, run_id))["inputs"]
        assert [(i["input"], i["status"]) for i in waiting] == [
            ("In French.", "waiting"),
            ("And short.", "waiting"),
        ]
        tools.may_end.set()
        whole = await stream.end()
    assert whole.events == [
        *("connected", "content", "tool_call", "tool_call", "tool_result"),
        *("tool_result", "input", "input", "content", "complete", "done"),
    ]
    taken = [frame.data for frame in whole.frames if frame.event == "input"]
    assert [(each["input"], each["message_id"]) for each in taken] == [
        ("In French.", added.json["message_id"]),
        ("And short.", more.json["message_id"]),
    ]
    assert "next_run_id" not in whole.frames[-2].data["metadata"]
    sent = upstream.requests[-1].json["messages"]
    assert [message["role"] for message in sent[-5:]] == [
        *("assistant", "tool", "tool", "assistant", "user")
    ]
    assert sent[-1]["content"] == "In French.\n\nAnd short."
    assert await said() == ["first", "I look. ", "In French.", "And short.", "Done."]
    shown = (await api.get(f"{API}/conversations/c")).json["messages"]
    steering = [m["run_id"] for m in shown if m["parts"][0].get("steers")]
    assert steering == [run_id, run_id]
    assert {i["status"] for i in (await state(api, run_id))["inputs"]} == {"taken"}
    assert await Run.objects.acount() == 1


async def test_texts_that_a_run_has_not_taken_are_its_next_run(
    api: Api, upstream: StandInProvider
) -> None:
    end = asyncio.Event()
    upstream.reply(held("one", end), chat.answer("two"), chat.answer("three"))
    async with answering(api) as stream:
        waiting = asyncio.create_task(
            api.post(f"{API}/run", body("third", on_busy="queue"))
        )
        queue = f"{API}/conversation/queue?conversation_id=c"
        while not (await api.get(queue)).json["runs"]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        added = await steer(api, run_of(stream), "second")
        await steer(api, run_of(stream), "and more")
        end.set()
        whole = await stream.end()
        assert (await waiting).json["output"] == "three"
    next_run = whole.frames[-2].data["metadata"]["next_run_id"]
    inputs = (await state(api, run_of(stream)))["inputs"]
    assert [(i["status"], i["next_run_id"]) for i in inputs] == [
        ("next_run", next_run)
    ] * 2
    assert inputs[0]["message_id"] == added.json["message_id"]
    following = await state(api, next_run)
    assert (following["input"], following["output"]) == ("second\n\nand more", "two")
    assert await said() == [
        *("first", "one", "second\n\nand more", "two", "third", "three")
    ]


async def test_a_failed_run_names_its_next_run_too(
    api: Api, upstream: StandInProvider
) -> None:
    end = asyncio.Event()
    failing = Reply.of([chat.pieces("Hal"), b'data: {"error": {}}\n\n'], held=end)
    upstream.reply(failing, chat.answer("two"))
    async with answering(api) as stream:
        await steer(api, run_of(stream), "second")
        end.set()
        whole = await stream.end()
    assert whole.events[-2] == "error"
    next_run = whole.frames[-2].data["metadata"]["next_run_id"]
    await api.get(f"{API}/runs/{next_run}/events")
    assert (await state(api, next_run))["output"] == "two"


async def test_the_texts_of_an_orphan_are_the_next_run(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(HANGING, chat.answer("two"))
    service = install_service(timings=QUICK)
    async with answering(api) as stream:
        await steer(api, run_of(stream), "second")
        await service.log.flush()
        assert await lose_lease(run_of(stream), max_attempts=1) == "failed"
        whole = await stream.end()
    next_run = whole.frames[-2].data["metadata"]["next_run_id"]
    assert (whole.events[-2], (await state(api, next_run))["input"]) == (
        "error",
        "second",
    )
    await all_runs_end()


async def test_a_cancelled_run_returns_its_texts_and_starts_no_other(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(HANGING)
    async with answering(api) as stream:
        await steer(api, run_of(stream), "second")
        await api.post(f"{API}/runs/{run_of(stream)}/cancel")
        whole = await stream.end()
    assert "next_run_id" not in whole.frames[-2].data["metadata"]
    [returned] = (await state(api, run_of(stream)))["inputs"]
    assert (returned["input"], returned["status"]) == ("second", "returned")
    assert await Run.objects.acount() == 1


async def test_a_further_attempt_neither_loses_nor_repeats_a_text(
    api: Api, upstream: StandInProvider, tools: Tools
) -> None:
    upstream.reply(BOTH, HANGING, chat.answer("Done."))
    async with answering(api, "tool_result") as stream:
        await steer(api, run_of(stream), "In French.")
        tools.may_end.set()
        await stream.until("content", 2)
        assert await lose_lease(run_of(stream)) == "queued"
        whole = await stream.end()
    assert whole.events.count("input") == 1
    assert await said() == ["first", "I look. ", "In French.", "Done."]
    assert upstream.requests[-1].json["messages"][-1]["content"] == "In French."
    assert await Run.objects.acount() == 1


async def test_a_text_for_a_run_between_two_attempts_is_taken_by_the_second(
    api: Api, upstream: StandInProvider, tools: Tools
) -> None:
    upstream.reply(BOTH, BOTH, chat.answer("Done."))
    async with answering(api, "tool_result") as stream:
        assert await lose_lease(run_of(stream)) == "queued"
        await until(lambda: len(upstream.requests) == 2)
        await steer(api, run_of(stream), "In French.")
        tools.may_end.set()
        whole = await stream.end()
    assert whole.events.count("input") == 1
    assert whole.events[-3:] == ["content", "complete", "done"]


async def test_on_busy_steer_follows_the_active_run_from_then_on(
    api: Api, upstream: StandInProvider, tools: Tools
) -> None:
    upstream.reply(BOTH, chat.answer("Done."))
    async with answering(api, "tool_result") as stream:
        run_id = run_of(stream)
        asked = body("In French.", on_busy="steer")
        async with api.open("POST", f"{API}/stream", asked) as steering:
            connected = await steering.until("connected")
            tools.may_end.set()
            followed = await steering.end()
        await stream.end()
    info = connected.data["metadata"]
    assert info["run_id"] == run_id == followed.headers["x-run-id"]
    assert followed.frames[1].number == info["resumed_after"] + 1
    assert followed.events[-4:] == ["input", "content", "complete", "done"]
    [taken] = [frame for frame in followed.frames if frame.event == "input"]
    assert taken.data["message_id"] == info["message_id"]
    resumed = await api.post(f"{API}/stream", asked, last_event_id=taken.id)
    assert resumed.events == ["connected", "content", "complete", "done"]
    other = body("Other.", on_busy="steer")
    refused = await api.post(f"{API}/stream", other, last_event_id=taken.id)
    assert refused.status == 409


async def test_run_with_steer_responds_after_the_run_that_received_the_text(
    api: Api, upstream: StandInProvider
) -> None:
    end = asyncio.Event()
    upstream.reply(held("one", end), chat.answer("two"))
    async with answering(api) as stream:
        asked = body("second", on_busy="steer")
        steering = asyncio.create_task(api.post(f"{API}/run", asked))
        while not await RunInput.objects.aexists():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        end.set()
        answered = await steering
    assert answered.json["output"] == "two"
    assert answered.json["run_id"] != run_of(stream)


async def test_a_repeated_request_adds_no_second_text(
    api: Api, upstream: StandInProvider
) -> None:
    end = asyncio.Event()
    upstream.reply(held("one", end), chat.answer("two"))
    async with answering(api) as stream:
        run_id = run_of(stream)
        first = await steer(api, run_id, "second", idempotency_key="k")
        again = await steer(api, run_id, "second", idempotency_key="k")
        assert first.json == again.json
        other = await steer(api, run_id, "other", idempotency_key="k")
        assert (other.status, other.json["code"]) == (409, "idempotency_conflict")
        asked = body("third", on_busy="steer")
        for _ in range(2):
            async with api.open(
                "POST", f"{API}/stream", asked, {"idempotency_key": "s"}
            ) as repeated:
                await repeated.until("connected")
                await repeated.hang_up()
        assert await RunInput.objects.acount() == 2
        end.set()
        await stream.end()
    late = await api.post(f"{API}/run", asked, idempotency_key="s")
    assert late.json["output"] == "two"
    assert await Run.objects.acount() == 2
    assert (await steer(api, run_id, "second", idempotency_key="k")).json == first.json


async def test_only_a_run_that_is_active_takes_texts(
    api: Api, upstream: StandInProvider
) -> None:
    end = asyncio.Event()
    upstream.reply(held("one", end), chat.answer("two"))
    async with answering(api) as stream:
        asked = body("second", on_busy="queue")
        async with api.open("POST", f"{API}/stream", asked) as waiting:
            await waiting.until("connected")
            refused = await steer(api, run_of(waiting), "more")
            assert (refused.status, refused.json["code"]) == (409, "run_pending")
            end.set()
            await waiting.end()
    refused = await steer(api, run_of(stream), "more")
    assert (refused.status, refused.json["code"]) == (409, "run_ended")
    for text in ("", " ", 1, "a\0b", None):
        answer = await api.post(f"{API}/runs/{run_of(stream)}/input", {"input": text})
        assert [d["field"] for d in answer.json["details"]] == ["input"]
    assert not await RunInput.objects.aexists()


async def test_charlie_cannot_steer_the_run_of_alice(
    api: Api, upstream: StandInProvider
) -> None:
    end = asyncio.Event()
    upstream.reply(held("one", end))
    async with answering(api) as stream:
        url = f"{API}/runs/{{}}/input?org_id=umbrella"
        refused = await api.post(url.format(run_of(stream)), {"input": "x"})
        missing = await api.post(url.format("0" * 32), {"input": "x"})
        assert refused.status == missing.status == 404
        assert refused.body == missing.body
        end.set()
        await stream.end()
    assert not await RunInput.objects.aexists()


async def test_a_run_has_a_bounded_number_of_texts_that_wait(
    api: Api, upstream: StandInProvider, agent_settings: ChangeSettings
) -> None:
    agent_settings(run_max_pending=1)
    upstream.reply(HANGING)
    async with answering(api) as stream:
        assert (await steer(api, run_of(stream), "second")).status == 202
        refused = await steer(api, run_of(stream), "third")
        assert (refused.status, refused.json["code"]) == (429, "rate_limited")
        assert "RUN_MAX_PENDING" in refused.json["error"]
        await api.post(f"{API}/runs/{run_of(stream)}/cancel")
        await stream.end()


async def test_a_request_for_another_place_waits_instead(
    api: Api, upstream: StandInProvider
) -> None:
    end = asyncio.Event()
    upstream.reply(chat.answer("zero"), held("one", end), chat.answer("two"))
    await api.post(f"{API}/run", body("zeroth"))
    async with answering(api) as stream:
        asked = body("second", on_busy="steer", parent_message_id=None)
        async with api.open("POST", f"{API}/stream", asked) as waiting:
            info = (await waiting.until("connected")).data["metadata"]
            assert info["status"] == "pending"
            end.set()
            await waiting.end()
        await stream.end()
    assert not await RunInput.objects.aexists()


async def test_a_copy_keeps_a_text_with_its_question(
    api: Api, upstream: StandInProvider, tools: Tools
) -> None:
    tools.may_end.set()
    upstream.reply(chat.tool_calls(("a", "slow", {})), chat.answer("Done."))
    tools.may_end.clear()
    async with answering(api, "tool_call") as stream:
        await steer(api, run_of(stream), "In French.")
        tools.may_end.set()
        await stream.end()
    fork = f"{API}/conversation/fork?conversation_id="
    assert (await api.post(f"{fork}c", {"conversation_id": "d"})).status == 201
    copies = (await api.get(f"{API}/conversations/d")).json["messages"]
    roles = [message["role"] for message in copies]
    assert roles == ["user", "assistant", "tool", "user", "assistant"]
    for number, status in ((2, 400), (3, 400), (4, 201)):
        answer = await api.post(f"{fork}d", {"message_id": copies[number]["id"]})
        assert answer.status == status
