"""Runs of an agent whose answers have a type."""

import json
from typing import Literal

import pytest
from pydantic import BaseModel

from streaming.agent.output import OutputType
from streaming.models import Message, Run
from streaming.testing.provider import StandInProvider
from tests import chat
from tests.api.agents import install
from tests.client import API, Api

pytestmark = pytest.mark.usefixtures("model", "typed")


class Triage(BaseModel):
    urgent: bool
    topic: Literal["order", "other"]
    note: str = ""


GOOD = '{"urgent": true, "topic": "order"}'
VALUE = {"urgent": True, "topic": "order", "note": ""}
BAD = '{"urgent": true, "topic": "weather"}'


@pytest.fixture
async def typed(api: Api, model: None) -> None:
    install(output=OutputType(Triage))


async def test_the_output_is_an_object_in_complete(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(chat.answer(GOOD[:10], GOOD[10:]))
    response = await api.stream("Sort this.")
    assert response.text == GOOD
    metadata = response.frames[-2].data["metadata"]
    assert metadata["output"] == VALUE
    assert metadata["stop_reason"] == "end_turn"


async def test_the_output_is_an_object_in_json_responses(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(chat.answer(GOOD))
    answer = (await api.run("Sort this.", conversation_id="c")).json
    assert answer["output"] == GOOD
    assert answer["structured_output"] == VALUE
    state = (await api.get(f"{API}/runs/{answer['run_id']}")).json
    assert state["structured_output"] == VALUE
    assert state["output"] == GOOD
    assert OutputType(Triage).validate(state["output"]) == Triage(**VALUE)
    conversation = (await api.get(f"{API}/conversations/c")).json
    assert conversation["messages"][-1]["parts"] == [{"type": "text", "text": GOOD}]


async def test_the_call_of_the_final_tool_is_text_for_clients(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(chat.tool_calls(("1", "final_output", GOOD)), chat.answer(GOOD))
    response = await api.stream("Sort this.", conversation_id="c")
    assert response.events == ["connected", "content", "complete", "done"]
    assert response.text == GOOD
    assert response.frames[-2].data["metadata"]["output"] == VALUE
    assert response.frames[-2].data["metadata"]["execution_summary"]["tool_calls"] == 0
    # The next request has the answer as text, and no call without a result.
    await api.run("And this?", conversation_id="c")
    messages = upstream.requests[-1].json["messages"]
    assert {"role": "assistant", "content": GOOD} in messages
    assert "final_output" not in json.dumps(messages)


async def test_an_invalid_answer_is_corrected_once(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(chat.answer(BAD), chat.answer(GOOD), chat.answer(GOOD))
    answer = (await api.run("Sort this.", conversation_id="c")).json
    assert answer["output"] == GOOD
    assert answer["structured_output"] == VALUE
    assert answer["execution_summary"]["llm_calls"] == 2
    assert answer["usage"]["input_tokens"] == 20
    *_, rejected, correction = upstream.requests[1].json["messages"]
    assert rejected == {"role": "assistant", "content": BAD}
    assert "topic: Input should be 'order' or 'other'" in correction["content"]
    # The conversation has neither of these two.
    conversation = (await api.get(f"{API}/conversations/c")).json
    roles = [message["role"] for message in conversation["messages"]]
    assert roles == ["user", "assistant"]
    await api.run("And this?", conversation_id="c")
    assert BAD not in upstream.requests[2].body.decode()


async def test_a_second_invalid_answer_fails_with_its_text(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(chat.answer("Well."), chat.answer(BAD))
    response = await api.stream("Sort this.")
    *_, error, _ = response.frames
    assert response.events[-2:] == ["error", "done"]
    assert error.data["metadata"] == {"code": "invalid_output", "retryable": True}
    assert "topic" in error.data["error"]
    run = await Run.objects.aget()
    assert (run.status, run.error_code) == ("failed", "invalid_output")
    assert run.structured_output == ""
    message = await Message.objects.filter(role="assistant").aget()
    assert message.parts == [{"type": "text", "text": BAD}]
    state = (await api.get(f"{API}/runs/{run.id}")).json
    assert state["output"] == BAD
    assert "structured_output" not in state


async def test_an_invalid_output_is_502_with_its_code(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(chat.answer("Well."), chat.answer("No."))
    response = await api.run("Sort this.")
    assert (response.status, response.json["code"]) == (502, "invalid_output")


@pytest.mark.parametrize(
    "text",
    [
        '{"urgent": true, "topic": "order", "note": "\\u0000"}',
        '{"urgent": true, "topic": "order", "note": "\\u2028\\u0085"}',
        '{"urgent": true, "topic": "order", "note": "\U0001f600"}',
    ],
)
async def test_any_text_of_an_output_is_stored(
    api: Api, upstream: StandInProvider, text: str
) -> None:
    upstream.reply(chat.answer(text))
    response = await api.stream("Sort this.")
    metadata = response.frames[-2].data["metadata"]
    assert metadata["output"] == json.loads(text)
    run = await Run.objects.aget()
    state = (await api.get(f"{API}/runs/{run.id}")).json
    assert state["structured_output"] == json.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"urgent": true, "topic": "\\ud800"}',
        '{"urgent": true, "topic": "order", "note": NaN}',
        '{"urgent": 1e999, "topic": "order"}',
        "[" * 50_000,
        "{" * 99_000,
        "x" * 200_000,
    ],
    ids=lambda text: text[:40],
)
async def test_a_hostile_answer_ends_the_run_with_its_code(
    api: Api, upstream: StandInProvider, text: str
) -> None:
    upstream.reply(chat.answer(text), chat.answer(text))
    response = await api.run("Sort this.")
    assert (response.status, response.json["code"]) == (502, "invalid_output")
    run = await Run.objects.aget()
    assert (await api.get(f"{API}/runs/{run.id}")).json["output"] == text


async def test_a_refusal_has_no_output(api: Api, upstream: StandInProvider) -> None:
    upstream.reply(chat.answer("I will not.", finish="content_filter"))
    response = await api.stream("Sort this.")
    metadata = response.frames[-2].data["metadata"]
    assert metadata["stop_reason"] == "refusal"
    assert "output" not in metadata


async def test_a_resumed_stream_has_the_same_output(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(chat.answer(GOOD))
    response = await api.stream("Sort this.")
    run_id = response.headers["x-run-id"]
    resumed = await api.get(
        f"{API}/runs/{run_id}/events", **{"Last-Event-ID": f"{run_id}:1"}
    )
    assert resumed.frames[-2].data == response.frames[-2].data
