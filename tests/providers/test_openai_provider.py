"""The choice between OpenAI's APIs, and the form of a request to each."""

from typing import Literal

import pytest

from streaming.providers.base import ModelRequest
from streaming.providers.openai.models import DEFAULT_MODEL
from streaming.providers.openai.options import OpenAIOptions
from streaming.providers.openai.provider import OpenAIProvider
from streaming.testing.provider import StandInProvider
from tests.providers.openai_streams import (
    HELLO,
    WEATHER,
    chunk,
    chunks,
    deltas_of,
    ended,
    events,
    text_deltas,
)

WITH_TOOLS = ModelRequest(system="", messages=HELLO.messages, tools=[WEATHER])


async def test_a_responses_request_has_the_form_of_the_api(
    upstream: StandInProvider,
) -> None:
    body = events(*text_deltas("Hi"), ended())
    await deltas_of(upstream, "responses", body, WITH_TOOLS, llm_max_tokens=2000)
    [request] = upstream.requests
    assert (request.method, request.path) == ("POST", "/responses")
    assert request.headers["authorization"] == "Bearer sk-test"
    assert request.json == {
        "model": DEFAULT_MODEL,
        "stream": True,
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "reasoning": {"summary": "auto"},
        "max_output_tokens": 2000,
        "input": [
            {
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": "Hello"}],
            }
        ],
        "tools": [
            {
                "type": "function",
                "name": "weather",
                "description": "The weather in a city.",
                "parameters": WEATHER.parameters,
                "strict": False,
            }
        ],
        "tool_choice": "auto",
    }


async def test_a_chat_request_has_the_form_of_other_servers(
    upstream: StandInProvider,
) -> None:
    body = chunks(chunk("stop", content="Hi"))
    request = ModelRequest(system="Be brief.", messages=HELLO.messages, tools=[WEATHER])
    await deltas_of(
        upstream, "chat", body, request, llm_model="llama", llm_max_tokens=2000
    )
    assert upstream.requests[0].path == "/chat/completions"
    assert upstream.requests[0].json == {
        "model": "llama",
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 2000,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hello"},
        ],
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "weather",
                    "description": "The weather in a city.",
                    "parameters": WEATHER.parameters,
                },
            }
        ],
        "tool_choice": "auto",
    }


async def test_a_self_hosted_server_needs_no_key(upstream: StandInProvider) -> None:
    body = chunks(chunk("stop", content="Hi"))
    await deltas_of(upstream, "chat", body, openai_api_key="")
    assert upstream.requests[0].headers["authorization"]


@pytest.mark.parametrize(
    ("base_url", "chosen", "api"),
    [
        ("", "", "responses"),
        ("https://api.openai.com/v1", "", "responses"),
        ("https://eu.api.openai.com/v1/", "", "responses"),
        ("http://localhost:11434/v1", "", "chat"),
        ("https://api.openai.com.example.org/v1", "", "chat"),
        ("http://localhost:8000/v1", "responses", "responses"),
        ("", "chat", "chat"),
    ],
)
async def test_the_api_depends_on_options_and_host(
    monkeypatch: pytest.MonkeyPatch,
    base_url: str,
    chosen: Literal["", "responses", "chat"],
    api: str,
) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    options = OpenAIOptions(
        openai_api_key="k", openai_base_url=base_url, openai_api=chosen
    )
    provider = OpenAIProvider(options)
    assert provider.api == api
    await provider.aclose()
