"""Servers that call a tool although the last iteration allows none."""

from collections.abc import Callable
from typing import NamedTuple

import pytest

from streaming.testing.provider import Reply, StandInProvider
from tests import chat
from tests.client import API, Api
from tests.conftest import ChangeSettings
from tests.providers import anthropic_streams as anthropic
from tests.providers import openai_streams as openai
from tests.providers import strict_servers

ARGUMENTS = '{"expression": "2+2"}'


class Server(NamedTuple):
    """An API: its settings, and a reply with a call after some text, or an answer."""

    model: str
    call: Callable[[str], bytes]
    answer: bytes
    check: strict_servers.Server
    settings: dict[str, str]


def anthropic_call(text: str) -> bytes:
    return anthropic.message(
        anthropic.text_block(0, text) if text else [],
        anthropic.tool_block(1, "toolu_1", "calculator", ARGUMENTS),
        stop="tool_use",
    )


def chat_call(text: str) -> bytes:
    return chat.tool_calls(("c", "calculator", ARGUMENTS), text=text).body


def responses_call(text: str) -> bytes:
    call = openai.call_item(ARGUMENTS, name="calculator")
    texts = openai.text_deltas(text) if text else []
    return openai.events(*texts, openai.item_done(call, 1), openai.ended())


def check_chat(body: strict_servers.Body) -> None:
    """Check a request as OpenAI does, where the token limit has another name."""
    fields = {name: value for name, value in body.items() if name != "max_tokens"}
    strict_servers.openai_chat(fields)


SERVERS = {
    "messages": Server(
        "anthropic:claude-haiku-4-5",
        anthropic_call,
        anthropic.message(anthropic.text_block(0, "Fine.")),
        strict_servers.anthropic,
        {"anthropic_api_key": "sk-ant-test"},
    ),
    "chat": Server(
        "openai:test-model",
        chat_call,
        chat.answer("Fine.").body,
        check_chat,
        {"openai_api_key": "sk-test", "openai_api": "chat"},
    ),
    "responses": Server(
        "openai:gpt-6-luna",
        responses_call,
        openai.events(*openai.text_deltas("Fine."), openai.ended()),
        strict_servers.responses,
        {"openai_api_key": "sk-test", "openai_api": "responses"},
    ),
}


@pytest.mark.parametrize("text", ["Let me see.", ""])
@pytest.mark.parametrize("max_iterations", [1, 2])
@pytest.mark.parametrize("name", SERVERS)
async def test_a_call_in_the_last_iteration_ends_the_run(
    api: Api,
    upstream: StandInProvider,
    agent_settings: ChangeSettings,
    name: str,
    max_iterations: int,
    text: str,
) -> None:
    server = SERVERS[name]
    vendor = server.model.partition(":")[0]
    url = {f"{vendor}_base_url": upstream.url}
    agent_settings(model=server.model, llm_max_retries=0, **server.settings, **url)
    calls = [Reply(server.call(text))] * max_iterations
    upstream.reply(*calls, Reply(server.answer))

    response = await api.run("2+2?", conversation_id="c", max_iterations=max_iterations)
    assert response.status == 200
    assert response.json["output"] == text
    summary = response.json["execution_summary"]
    assert summary["stop_reason"] == "max_iterations"
    assert summary["tool_calls"] == max_iterations - 1
    assert len(upstream.requests) == max_iterations

    # No call remains without a result: the conversation can go on.
    parts = (await api.get(f"{API}/conversations/c")).json["messages"]
    kinds = [part["type"] for message in parts for part in message["parts"]]
    assert kinds.count("tool_call") == kinds.count("tool_result") == max_iterations - 1
    again = await api.run("And?", conversation_id="c")
    assert again.json["output"] == "Fine."
    server.check(upstream.requests[-1].json)
