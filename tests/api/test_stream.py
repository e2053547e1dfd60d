"""`POST /stream`: the events, their order, their form, and failures."""

import json

import pytest
from django.conf import settings
from django.test import override_settings

from streaming.models import Conversation, Message, Run
from streaming.testing.provider import Reply, StandInProvider
from tests import chat
from tests.client import API, Api, all_runs_end
from tests.conftest import ChangeSettings

pytestmark = pytest.mark.usefixtures("model")


async def test_a_stream_is_as_the_contract_says(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(chat.answer("Hello", " world"))
    response = await api.stream("Hi", org_id="acme", conversation_id="c1")
    assert response.status == 200
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache, no-transform"
    assert response.headers["x-accel-buffering"] == "no"
    assert "content-encoding" not in response.headers
    run_id = response.headers["x-run-id"]
    frames = response.frames
    assert response.events == ["connected", "content", "content", "complete", "done"]
    assert [f.id for f in frames] == ["", *(f"{run_id}:{n}" for n in range(1, 5))]
    assert frames[0].fields["retry"] == "1000"
    assert frames[0].data["metadata"] == {
        "agent": "Agent",
        "run_id": run_id,
        "org_id": "acme",
        "conversation_id": "c1",
        "provider": "openai",
        "model": "test-model",
    }
    for frame in frames:
        assert frame.data["type"] == frame.event
        assert frame.data["is_final"] is (frame.event in ("complete", "done"))
        assert frame.data["timestamp"] > 1_700_000_000_000
    complete = frames[-2].data["metadata"]
    assert complete["stop_reason"] == "end_turn"
    assert complete["usage"] == {
        "input_tokens": 10,
        "output_tokens": 5,
        "total_tokens": 15,
        "reasoning_tokens": 0,
    }
    summary = complete["execution_summary"]
    assert summary.pop("execution_time_ms") >= 0
    assert summary == {
        "llm_calls": 1,
        "tool_calls": 0,
        "used_tools": [],
        "stop_reason": "end_turn",
    }


async def test_tools_run_and_their_calls_are_events(
    api: Api, upstream: StandInProvider
) -> None:
    expressions = ("1 + 1", "1 / 0")
    upstream.reply(
        chat.tool_calls(
            *(
                (f"call_{n}", "calculator", {"expression": expression})
                for n, expression in enumerate(expressions)
            ),
            text="Let me see. ",
        ),
        chat.answer("It is 2."),
    )
    response = await api.stream("1 + 1?")
    calls = [f.data["tool_call"] for f in response.frames if f.event == "tool_call"]
    assert calls == [
        {
            "id": f"call_{n}",
            "name": "calculator",
            "arguments": json.dumps({"expression": expression}),
            "status": "executing",
        }
        for n, expression in enumerate(expressions)
    ]
    results = {
        f.data["tool_call"]["id"]: f.data["tool_call"]
        for f in response.frames
        if f.event == "tool_result"
    }
    assert results["call_0"]["result"] == "2"
    assert results["call_0"]["status"] == "completed"
    assert results["call_1"]["status"] == "error"
    assert response.text == "Let me see. It is 2."
    sent_back = upstream.requests[1].json["messages"][-2:]
    [asked] = [m for m in upstream.requests[1].json["messages"] if "tool_calls" in m]
    ids = [call["id"] for call in asked["tool_calls"]]
    assert [m["tool_call_id"] for m in sent_back] == ids
    assert sent_back[0]["content"] == "2"


async def test_the_last_iteration_must_answer(
    api: Api, upstream: StandInProvider
) -> None:
    asks = chat.tool_calls(("c", "calculator", {"expression": "1"}))
    upstream.reply(asks, asks)
    response = await api.stream("loop", max_iterations=2)
    assert response.frames[-2].data["metadata"]["stop_reason"] == "max_iterations"
    assert response.events.count("tool_call") == 1
    assert upstream.requests[0].json["tools"]
    assert not {"tools", "tool_choice"} & upstream.requests[1].json.keys()


@pytest.mark.parametrize(
    ("reply", "code", "retryable"),
    [
        (
            Reply(b'{"error":{}}', 401, "application/json"),
            "provider_refused_key",
            False,
        ),
        (
            Reply(b'{"error":{}}', 429, "application/json"),
            "provider_rate_limited",
            True,
        ),
        (Reply(b'{"error":{}}', 500, "application/json"), "provider_error", True),
        (Reply(chat.pieces("Hal", "lo")), "provider_incomplete", True),
        (Reply(chat.pieces("Hal", "lo"), end="reset"), "provider_incomplete", True),
        (Reply(chat.pieces("Hal", "lo"), end="hang"), "provider_timeout", True),
    ],
    ids=["key", "limit", "down", "short", "reset", "hang"],
)
async def test_a_failing_provider_is_an_error_event_and_partial_output_is_saved(
    api: Api,
    upstream: StandInProvider,
    agent_settings: ChangeSettings,
    reply: Reply,
    code: str,
    retryable: bool,
) -> None:
    silence = 0.5 if code == "provider_timeout" else 20
    agent_settings(llm_silence_timeout_seconds=silence)
    upstream.reply(reply)
    response = await api.stream("Hi")
    assert response.events[-2:] == ["error", "done"]
    error = response.frames[-2].data
    assert error["metadata"] == {"code": code, "retryable": retryable}
    assert error["is_final"] is True
    for secret in ("sk-test", upstream.url):
        assert secret not in response.body.decode()
    run = await Run.objects.aget()
    assert (run.status, run.error_code) == ("failed", code)
    message = await Message.objects.filter(role="assistant").afirst()
    said = "".join(part["text"] for part in message.parts) if message else ""
    assert said == response.text
    assert run.input_tokens > 0 or not said


async def test_a_cut_tool_call_is_never_run(
    api: Api, upstream: StandInProvider
) -> None:
    reply = chat.tool_calls(("c", "calculator", '{"expression": "1'))
    cut = reply.body.replace(b'"tool_calls"}', b'"length"}')
    upstream.reply(Reply(cut))
    response = await api.stream("Hi")
    assert response.events == ["connected", "complete", "done"]
    assert response.frames[-2].data["metadata"]["stop_reason"] == "max_tokens"


async def test_the_history_goes_to_the_model(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(chat.answer("I am fine."), chat.answer("Indeed."))
    await api.stream("How are you?", conversation_id="c")
    await api.stream("Good.", conversation_id="c")
    said = [(m["role"], m["content"]) for m in upstream.requests[1].json["messages"]]
    assert said[1:] == [
        ("user", "How are you?"),
        ("assistant", "I am fine."),
        ("user", "Good."),
    ]


async def test_a_history_that_cannot_be_read_fails_the_run(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(chat.answer("I am fine."))
    await api.stream("How are you?", conversation_id="c")
    answers = Message.objects.filter(role="assistant")
    await answers.aupdate(parts=[{"type": "of a later version"}])
    response = await api.stream("Good.", conversation_id="c")
    assert response.events[-2:] == ["error", "done"]
    assert response.frames[-2].data["metadata"]["code"] == "internal_error"


async def test_only_requested_events_are_sent(
    api: Api, upstream: StandInProvider
) -> None:
    body = chat.thoughts("hm") + chat.pieces("yes") + chat.ending()
    upstream.reply(Reply(body))
    response = await api.stream("Hi", events=["thinking"])
    assert response.events == ["connected", "thinking", "complete", "done"]


async def test_each_delta_leaves_as_it_comes(
    api: Api, upstream: StandInProvider
) -> None:
    body = chat.pieces(*chat.many(3)) + chat.ending()
    upstream.reply(Reply(body, chunk_size=len(body) // 4, delay=0.2))
    async with api.open("POST", f"{API}/stream", {"input": "Hi"}) as stream:
        await stream.until("content")
        assert not stream.task.done()
        response = await stream.end()
    assert len(response.chunks) >= 4


async def test_a_client_that_disconnects_does_not_end_the_run(
    api: Api, upstream: StandInProvider
) -> None:
    body = chat.pieces(*chat.many(4)) + chat.ending()
    upstream.reply(Reply(body, chunk_size=len(body) // 4, delay=0.1))
    async with api.open("POST", f"{API}/stream", {"input": "Hi"}) as stream:
        await stream.until("content")
        await stream.hang_up()
    await all_runs_end()
    run = await Run.objects.aget()
    assert (run.status, run.stop_reason) == ("completed", "end_turn")
    message = await Message.objects.aget(role="assistant")
    assert message.parts == [{"type": "text", "text": "".join(chat.many(4))}]


async def test_separators_do_not_break_lines(
    api: Api, upstream: StandInProvider
) -> None:
    text = "a\u2028b\u2029c\u0085d\x0b\x0c\x1c\x1d\x1e\r\n\u2027\u0084e"
    upstream.reply(chat.answer(text), chat.answer("\x85"))
    response = await api.stream("Hi", org_id="caf\u00e9")
    assert response.text == text
    assert len(response.body.decode().splitlines()) == response.body.count(b"\n")
    again = await api.get(
        f"{API}/runs/{response.headers['x-run-id']}/events?org_id=caf%C3%A9"
    )
    assert again.body.partition(b"\n\n")[2] == response.body.partition(b"\n\n")[2]
    latin = await api.stream("Hi")
    assert latin.text == "\x85"
    assert b"\\u0085" in latin.body


async def test_a_nul_from_the_model_is_replaced(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(chat.answer("a\0b"))
    response = await api.stream("Hi")
    assert response.text == "a\ufffdb"
    message = await Message.objects.aget(role="assistant")
    assert message.parts[0]["text"] == "a\ufffdb"


async def test_conversations_are_named_when_the_client_does_not(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(chat.answer("x"))
    response = await api.stream("  What   is it?  ")
    told = response.frames[0].data["metadata"]["conversation_id"]
    conversation = await Conversation.objects.aget()
    assert (conversation.conversation_id, conversation.title) == (told, "What is it?")


async def test_a_site_that_compresses_does_not_compress_streams(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(chat.answer("Hello", " world"))
    gzip = ["django.middleware.gzip.GZipMiddleware", *settings.MIDDLEWARE]
    with override_settings(MIDDLEWARE=gzip):
        site = Api()
    response = await site.post(
        f"{API}/stream", {"input": "Hi"}, accept_encoding="gzip, br"
    )
    assert "content-encoding" not in response.headers
    assert response.text == "Hello world"
    metadata = await site.get(f"{API}/metadata", accept_encoding="gzip")
    assert metadata.headers["content-encoding"] == "gzip"
