"""Faults of a provider as a client of the API sees them, and the run that follows."""

import json

import pytest

from streaming.models import Run
from streaming.testing.provider import Reply, StandInProvider
from tests import chat
from tests.client import Api
from tests.conftest import ChangeSettings

pytestmark = pytest.mark.usefixtures("model")


def chunks(*payloads: object) -> bytes:
    return b"".join(b"data: " + json.dumps(p).encode() + b"\n\n" for p in payloads)


async def test_absurd_usage_is_stored_as_what_fits(
    api: Api, upstream: StandInProvider
) -> None:
    counts = {"prompt_tokens": 10**12, "completion_tokens": -7}
    body = chat.pieces("Hi") + chunks({"choices": [], "usage": counts})
    upstream.reply(Reply(body + b"data: [DONE]\n\n"))
    response = await api.run("Hi?")
    assert response.json["output"] == "Hi"
    run = await Run.objects.aget()
    assert run.input_tokens == 2**31 - 1
    assert 0 <= run.output_tokens < 100
    assert run.status == "completed"


async def test_usage_that_was_not_sent_is_estimated(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(Reply(chat.pieces("word " * 100) + b"data: [DONE]\n\n"))
    usage = (await api.run("Hi?")).json["usage"]
    assert 80 <= usage["output_tokens"] <= 120
    assert usage["input_tokens"] > 0


async def test_a_model_that_does_not_stop_is_stopped(
    api: Api, upstream: StandInProvider, agent_settings: ChangeSettings
) -> None:
    agent_settings(llm_max_response_chars=1000)
    upstream.reply(Reply(chat.pieces(*["word "] * 50_000), chunk_size=50_000, delay=0))
    response = await api.run("Hi?", conversation_id="c")
    assert response.json["output"] == "word " * 200
    assert response.json["execution_summary"]["stop_reason"] == "max_tokens"
    assert (await Run.objects.aget()).status == "completed"
    upstream.reply(chat.answer("Good"))
    assert (await api.run("And?", conversation_id="c")).json["output"] == "Good"


async def test_many_calls_of_one_response_are_limited(
    api: Api, upstream: StandInProvider, agent_settings: ChangeSettings
) -> None:
    agent_settings(llm_max_tool_calls=3)
    calls = [(f"call_{n}", "calculator", {"expression": f"{n}+1"}) for n in range(9)]
    upstream.reply(chat.tool_calls(*calls), chat.answer("Done"))
    response = await api.run("Hi?")
    assert response.json["output"] == "Done"
    assert response.json["execution_summary"]["tool_calls"] == 3


async def test_a_run_adds_no_more_than_its_limit(
    api: Api, upstream: StandInProvider, agent_settings: ChangeSettings
) -> None:
    agent_settings(run_max_chars=300)
    call = ("call_1", "calculator", {"expression": "1+1"})
    upstream.reply(*[chat.tool_calls(call, text="Hm. " * 20)] * 9)
    response = await api.run("Hi?", max_iterations=9, conversation_id="c")
    assert response.json["execution_summary"]["stop_reason"] == "max_tokens"
    assert len(upstream.requests) < 5
    upstream.reset()
    upstream.reply(chat.answer("Good"))
    assert (await api.run("And?", conversation_id="c")).json["output"] == "Good"


async def test_a_limit_used_up_by_reasoning_is_an_error_that_names_the_settings(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(Reply(chat.thoughts("Hm.", "So.") + chat.ending("length")))
    response = await api.stream("Hi?", conversation_id="c")
    *thoughts, error, done = response.frames[1:]
    assert {frame.event for frame in thoughts} == {"thinking"}
    assert (error.event, done.event) == ("error", "done")
    assert error.data["metadata"] == {"code": "provider_error", "retryable": False}
    assert "LLM_MAX_TOKENS" in error.data["error"]
    assert "LLM_THINKING" in error.data["error"]
    upstream.reply(chat.answer("Good"))
    assert (await api.run("And?", conversation_id="c")).json["output"] == "Good"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"data: [DONE]\n\n", "provider_error"),
        (b'{"error": {"code": 402, "message": "Pay."}}', "provider_rate_limited"),
        (b"<html>Sign in</html>", "provider_error"),
        (b'error: {"code": 401, "message": "no"}\n\n', "provider_refused_key"),
    ],
)
async def test_a_failure_with_status_200_is_none_of_the_model(
    api: Api, upstream: StandInProvider, body: bytes, code: str
) -> None:
    upstream.reply(Reply(body), chat.answer("Good"))
    response = await api.run("Hi?", conversation_id="c")
    assert (response.status, response.json["code"]) == (502, code)
    assert (await Run.objects.aget()).error_code == code
    assert (await api.run("And?", conversation_id="c")).json["output"] == "Good"


async def test_text_that_no_database_stores_is_replaced(
    api: Api, upstream: StandInProvider
) -> None:
    call = ("call_\0", "calc\ud800", '{"expression": "\0"}')
    upstream.reply(chat.tool_calls(call, text="a\0b\udfff"), chat.answer("Go\0od"))
    response = await api.run("Hi?", conversation_id="c")
    assert response.json["output"] == "Go\ufffdod"
    conversation = await api.get("/api/v1/agent/conversations/c")
    assert conversation.status == 200
    assert "\0" not in str(conversation.json)
