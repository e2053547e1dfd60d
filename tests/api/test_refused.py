"""Conversations whose exchanges were refused, too long, or of odd tool calls."""

import json
from typing import Any

import pytest

from streaming.models import Message
from streaming.testing.provider import Reply, Request, StandInProvider
from tests import chat
from tests.client import API, Api
from tests.conftest import ChangeSettings

pytestmark = pytest.mark.usefixtures("model")

TOO_LONG = {
    "error": {
        "code": 400,
        "type": "exceed_context_size_error",
        "message": "request (9000 tokens) exceeds the available context size "
        "(8192 tokens), try increasing it",
    }
}


def error(status: int, body: object) -> Reply:
    return Reply(json.dumps(body).encode(), status, "application/json")


def questions(request: Request) -> list[str]:
    """The texts of the user in a request."""
    messages = request.json["messages"]
    return [m["content"] for m in messages if m["role"] == "user"]


async def said(api: Api) -> list[Any]:
    """The messages of the conversation as people see them."""
    conversation = (await api.get(f"{API}/conversations/c")).json
    return [(m["role"], m["parts"]) for m in conversation["messages"]]


async def test_a_refused_exchange_is_left_out_later_and_stays_visible(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(
        chat.answer("Fine."),
        chat.answer("I cannot help with that.", finish="content_filter"),
        chat.answer("Fine again."),
    )
    for text in ("One", "Bad", "Two"):
        response = await api.run(text, conversation_id="c")
        assert response.status == 200
    assert questions(upstream.requests[-1]) == ["One", "Two"]
    roles = [role for role, _ in await said(api)]
    assert roles == ["user", "assistant"] * 3


async def test_a_question_that_is_too_long_does_not_spoil_the_conversation(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(error(400, TOO_LONG), chat.answer("Short."))
    failed = await api.run("Long", conversation_id="c")
    assert (failed.status, failed.json["code"]) == (400, "context_too_long")
    assert "9,000" in failed.json["error"]
    assert "8,192" in failed.json["error"]
    assert (await api.run("Short", conversation_id="c")).status == 200
    assert questions(upstream.requests[-1]) == ["Short"]
    assert len(await said(api)) == 3


async def test_a_long_conversation_continues_without_its_oldest_exchanges(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(
        chat.answer("1"),
        chat.answer("2"),
        error(400, TOO_LONG),
        chat.tool_calls(("c", "calculator", {"expression": "2+2"})),
        chat.answer("4"),
    )
    await api.run("One " * 50, conversation_id="c")
    await api.run("Two", conversation_id="c")
    response = await api.stream("2+2?", conversation_id="c")
    assert response.text == "4"
    complete = next(f for f in response.frames if f.event == "complete")
    assert complete.data["metadata"]["dropped_exchanges"] == 1
    # The next iteration does not send them again.
    assert questions(upstream.requests[-1]) == ["Two", "2+2?"]
    assert len(upstream.requests) == 5


async def test_a_known_window_shortens_the_conversation_without_a_refusal(
    api: Api, upstream: StandInProvider, agent_settings: ChangeSettings
) -> None:
    agent_settings(llm_context_window=2_700, llm_max_tokens=500)
    upstream.reply(
        Reply(chat.pieces("1") + chat.ending(asked=1_050)),
        Reply(chat.pieces("2") + chat.ending(asked=1_800)),
        chat.tool_calls(("c", "calculator", {"expression": "2+2"})),
        chat.answer("4"),
    )
    await api.run("One " * 1_000, conversation_id="c")
    await api.run("Two " * 1_000, conversation_id="c")
    response = await api.stream("2+2? " * 200, conversation_id="c")
    complete = next(f for f in response.frames if f.event == "complete")
    assert complete.data["metadata"]["dropped_exchanges"] == 1
    sent = [[text[:3] for text in questions(each)] for each in upstream.requests]
    assert sent == [["One"], ["One", "Two"], ["Two", "2+2"], ["Two", "2+2"]]
    assert len(await said(api)) == 8  # people still see all of it


async def test_a_complete_event_names_no_dropped_exchanges_without_any(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(chat.answer("1"))
    response = await api.stream("One")
    complete = next(f for f in response.frames if f.event == "complete")
    assert "dropped_exchanges" not in complete.data["metadata"]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("functions.calculator", {"expression": "2+2"}),
        ("calculator<|channel|>commentary", {"expression": "2+2"}),
        ("calculator", '{}{"expression": "2+2"}'),
        ("calculator", json.dumps(json.dumps({"expression": "2+2"}))),
    ],
)
async def test_an_odd_call_is_executed_as_it_is_meant(
    api: Api, upstream: StandInProvider, name: str, arguments: object
) -> None:
    upstream.reply(chat.tool_calls(("c", name, arguments)), chat.answer("4"))
    response = (await api.run("2+2?", conversation_id="c")).json
    assert response["execution_summary"]["used_tools"] == ["calculator"]
    *_, call, result = upstream.requests[-1].json["messages"]
    assert call["tool_calls"][0]["function"] == {
        "name": "calculator",
        "arguments": '{"expression": "2+2"}',
    }
    assert result["content"] == "4"


@pytest.mark.parametrize(
    "arguments", ['{"a":' * 1500 + "1" + "}" * 1500, '{"expression"', "[1]"]
)
async def test_a_call_that_cannot_be_read_gets_an_error_and_the_run_goes_on(
    api: Api, upstream: StandInProvider, arguments: str
) -> None:
    upstream.reply(
        chat.tool_calls(("c", "calculator", arguments)), chat.answer("Sorry.")
    )
    response = await api.run("2+2?", conversation_id="c")
    assert (response.status, response.json["output"]) == (200, "Sorry.")
    *_, call, result = upstream.requests[-1].json["messages"]
    assert call["tool_calls"][0]["function"]["arguments"] == "{}"
    assert "do not fit" in result["content"]


async def test_equal_ids_are_distinguished_for_clients_and_for_the_server(
    api: Api, upstream: StandInProvider
) -> None:
    again = ("same", "calculator", {"expression": "2+2"})
    upstream.reply(
        chat.tool_calls(again), chat.tool_calls(again), chat.answer("Twice.")
    )
    response = await api.stream("2+2?", conversation_id="c")
    called = [f.data["tool_call"] for f in response.frames if f.event == "tool_call"]
    assert len({call["id"] for call in called}) == 2
    messages = upstream.requests[-1].json["messages"]
    sent = [call["id"] for m in messages for call in m.get("tool_calls", ())]
    results = [m["tool_call_id"] for m in messages if m["role"] == "tool"]
    assert sent == results
    assert len(set(sent)) == 2


SIGNED = {"extra_content": {"google": {"thought_signature": "SIG"}}}


def signed_call(**extra: object) -> Reply:
    """A call with a field that only its server understands."""
    function = {"name": "calculator", "arguments": '{"expression": "2+2"}'}
    call = {"index": 0, "id": "c", "type": "function", "function": function, **extra}
    choice = {"index": 0, "delta": {"tool_calls": [call]}}
    chunk = b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"
    return Reply(chunk + chat.ending("tool_calls"))


@pytest.mark.parametrize("extra", [SIGNED, {"vendor_state": [1, {"a": "b"}]}])
async def test_unknown_fields_of_a_call_return_to_their_origin(
    api: Api, upstream: StandInProvider, extra: dict[str, object]
) -> None:
    upstream.reply(signed_call(**extra), chat.answer("4"), chat.answer("5"))
    await api.run("2+2?", conversation_id="c")
    [call] = upstream.requests[-1].json["messages"][-2]["tool_calls"]
    assert {name: call[name] for name in extra} == extra
    await api.run("And?", conversation_id="c")
    messages = upstream.requests[-1].json["messages"]
    [call] = next(m["tool_calls"] for m in messages if "tool_calls" in m)
    assert {name: call[name] for name in extra} == extra
    assert not any(set(extra) & set(p) for _, parts in await said(api) for p in parts)
    stored = [p async for p in Message.objects.values_list("parts", flat=True)]
    origin = f"{upstream.url} chat test-model"
    assert origin in {part.get("origin") for parts in stored for part in parts}


async def test_unknown_fields_of_a_response_return_joined(
    api: Api, upstream: StandInProvider
) -> None:
    def detail(**fields: object) -> bytes:
        details = [{"type": "reasoning.text", "index": 0, **fields}]
        choice = {"index": 0, "delta": {"content": "", "reasoning_details": details}}
        return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"

    reply = detail(text="Two and ") + detail(text="two.") + detail(signature="SIG")
    upstream.reply(
        Reply(reply + chat.pieces("4") + chat.ending()), chat.answer("Sure.")
    )
    await api.run("2+2?", conversation_id="c")
    await api.run("Sure?", conversation_id="c")
    assistant = upstream.requests[-1].json["messages"][-2]
    assert assistant["reasoning_details"] == [
        {
            "type": "reasoning.text",
            "index": 0,
            "text": "Two and two.",
            "signature": "SIG",
        }
    ]
