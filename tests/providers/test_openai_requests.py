"""What is sent to OpenAI and to the servers that speak like it."""

from collections.abc import Callable
from typing import Any, Literal

import pytest

from streaming.messages import (
    Message,
    OpaquePart,
    Part,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
    user_message,
)
from streaming.providers.base import ModelRequest, ProviderOptions
from streaming.providers.openai import OpenAIProvider, chat_request, responses_request
from streaming.providers.openai.models import DEFAULT_MODEL, effort, reasons
from tests.providers.openai_streams import (
    HELLO,
    WEATHER,
    answer,
    chunk,
    chunks,
    ended,
    events,
    reasoning_item,
    said,
)
from tests.upstream import Upstream

Body = Callable[[ModelRequest], dict[str, Any]]

ROME = '{"city":"Rome"}'
CALL = ToolCallPart("call_1", "weather", ROME)
RESULT = Message("tool", [ToolResultPart("call_1", "weather", "Sunny")])
WITH_TOOLS = ModelRequest(system="", messages=HELLO.messages, tools=[WEATHER])
NO_MORE_TOOLS = ModelRequest(
    system="", messages=HELLO.messages, tools=[WEATHER], allow_tools=False
)


def history(*parts: Part) -> ModelRequest:
    """A question, what the model said to it, and the next question."""
    messages = [user_message("Hi"), Message("assistant", list(parts))]
    return ModelRequest(system="", messages=[*messages, user_message("And?")])


def responses_body(
    request: ModelRequest,
    model: str = DEFAULT_MODEL,
    thinking: str = "auto",
    at_openai: bool = True,
) -> dict[str, Any]:
    return responses_request.body(
        request, model=model, max_tokens=1000, thinking=thinking, at_openai=at_openai
    )


def chat_body(
    request: ModelRequest,
    model: str = "llama",
    thinking: str = "auto",
    at_openai: bool = False,
) -> dict[str, Any]:
    return chat_request.body(
        request, model=model, max_tokens=1000, thinking=thinking, at_openai=at_openai
    )


def answered_with(*parts: Part, model: str = DEFAULT_MODEL) -> list[dict[str, Any]]:
    """The input items that an earlier answer becomes."""
    items = responses_body(history(*parts), model)["input"][1:-1]
    return [item for item in items if item["type"] != "function_call_output"]


def said_in_chat(*parts: Part) -> list[dict[str, Any]]:
    """The chat messages that an earlier answer becomes."""
    messages = chat_body(history(*parts))["messages"][1:-1]
    return [message for message in messages if message["role"] != "tool"]


def output(text: str, **more: object) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text}]
    return {"type": "message", "role": "assistant", "content": content, **more}


FUNCTION_CALL = {
    "type": "function_call",
    "call_id": "call_1",
    "name": "weather",
    "arguments": ROME,
}


# The wire


async def test_responses_are_asked_for_as_the_api_wants_it(upstream: Upstream) -> None:
    body = events(*said("Hi"), ended())
    await answer(upstream, "responses", body, WITH_TOOLS, max_tokens=2000)
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


async def test_chat_is_asked_for_as_other_servers_know_it(upstream: Upstream) -> None:
    body = chunks(chunk("stop", content="Hi"))
    request = ModelRequest(system="Be brief.", messages=HELLO.messages, tools=[WEATHER])
    await answer(upstream, "chat", body, request, model="llama", max_tokens=2000)
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


async def test_a_server_of_ones_own_needs_no_key(upstream: Upstream) -> None:
    body = chunks(chunk("stop", content="Hi"))
    await answer(upstream, "chat", body, api_key="")
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
async def test_which_api_is_used(
    monkeypatch: pytest.MonkeyPatch,
    base_url: str,
    chosen: Literal["", "responses", "chat"],
    api: str,
) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    options = ProviderOptions(
        name="openai", api_key="k", base_url=base_url, openai_api=chosen
    )
    provider = OpenAIProvider(options)
    assert provider.api == api
    await provider.aclose()


# Responses


def test_the_system_prompt_is_the_instructions() -> None:
    assert responses_body(HELLO)["instructions"] == "Be brief."


def test_reasoning_goes_back_unchanged_right_before_the_item_that_follows_it() -> None:
    first = reasoning_item("rs_1", summary=[{"type": "summary_text", "text": "Hm."}])
    second = reasoning_item("rs_2")
    assert answered_with(
        ThinkingPart("Hm.", "openai", first),
        CALL,
        ThinkingPart("", "openai", second),
        TextPart("Sunny."),
    ) == [first, FUNCTION_CALL, second, output("Sunny.")]


def test_reasoning_that_nothing_follows_stays_out() -> None:
    item = reasoning_item()
    parts: list[Part] = [TextPart("Hm"), ThinkingPart("", "openai", item), TextPart("")]
    assert answered_with(*parts) == [output("Hm")]


@pytest.mark.parametrize(
    "part",
    [
        ThinkingPart("cut short"),
        ThinkingPart("Hm.", "anthropic", {"signature": "s"}),
        ThinkingPart("Hm.", "openai", {"field": "reasoning"}),
        ThinkingPart("Hm.", "openai", reasoning_item(encrypted="")),
        OpaquePart("anthropic", {"type": "redacted_thinking", "data": "d"}),
    ],
)
def test_what_openai_would_not_understand_stays_out(part: Part) -> None:
    assert answered_with(part, TextPart("Hi")) == [output("Hi")]


def test_encrypted_reasoning_goes_to_models_that_reason_only() -> None:
    thought = ThinkingPart("", "openai", reasoning_item())
    assert answered_with(thought, CALL, model="gpt-4.1") == [FUNCTION_CALL]


def test_open_reasoning_goes_back_to_the_server_it_came_from() -> None:
    item = reasoning_item(encrypted="", content=[{"text": "Hm."}])
    thought = ThinkingPart("Hm.", "openai", item)
    assert answered_with(thought, CALL, model="qwen") == [item, FUNCTION_CALL]


def test_the_phase_of_a_message_goes_back_with_it() -> None:
    assert answered_with(
        OpaquePart("openai", {"phase": "commentary"}),
        TextPart("Looking."),
        CALL,
        TextPart("Found."),
    ) == [output("Looking.", phase="commentary"), FUNCTION_CALL, output("Found.")]


def test_each_tool_result_is_an_item_of_its_own() -> None:
    results = Message(
        "tool",
        [
            ToolResultPart("call_1", "weather", "Sunny"),
            ToolResultPart("call_2", "weather", "No such city", is_error=True),
        ],
    )
    request = ModelRequest(system="", messages=[results])
    assert responses_body(request)["input"] == [
        {"type": "function_call_output", "call_id": "call_1", "output": "Sunny"},
        {"type": "function_call_output", "call_id": "call_2", "output": "No such city"},
    ]


@pytest.mark.parametrize(
    ("thinking", "reasoning"),
    [
        ("auto", {"summary": "auto"}),
        ("high", {"summary": "auto", "effort": "high"}),
        ("1024", {"summary": "auto", "effort": "low"}),
        ("4096", {"summary": "auto", "effort": "medium"}),
        ("32000", {"summary": "auto", "effort": "high"}),
        ("off", {"effort": "none"}),
    ],
)
def test_reasoning_is_asked_for_as_configured(
    thinking: str, reasoning: dict[str, str]
) -> None:
    body = responses_body(HELLO, "gpt-5.5", thinking)
    assert body["reasoning"] == reasoning


def test_a_model_that_does_not_reason_is_not_asked_to() -> None:
    body = responses_body(HELLO, "gpt-4.1-mini", "high")
    assert not {"reasoning", "include"} & body.keys()


def test_an_effort_that_was_set_is_sent_to_other_servers() -> None:
    assert responses_body(HELLO, "qwen", "high", at_openai=False)["reasoning"] == {
        "effort": "high"
    }
    assert "reasoning" not in responses_body(HELLO, "qwen", at_openai=False)


# Chat Completions


def test_a_tool_loop_in_chat() -> None:
    request = ModelRequest(
        system="", messages=[Message("assistant", [TextPart("Hm."), CALL]), RESULT]
    )
    function = {"name": "weather", "arguments": ROME}
    assert chat_body(request)["messages"] == [
        {
            "role": "assistant",
            "content": "Hm.",
            "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "Sunny"},
    ]


@pytest.mark.parametrize("arguments", ["", "{", "[1]", "Rome", "{Rome}"])
def test_arguments_that_are_no_object_go_back_as_an_empty_one(arguments: str) -> None:
    [message] = said_in_chat(ToolCallPart("call_1", "weather", arguments))
    assert message["content"] is None
    assert message["tool_calls"][0]["function"]["arguments"] == "{}"


def test_open_reasoning_goes_back_in_the_field_it_came_in() -> None:
    thought = ThinkingPart("Hm.", "openai", {"field": "reasoning_content"})
    [message] = said_in_chat(thought, CALL)
    assert message["reasoning_content"] == "Hm."


@pytest.mark.parametrize(
    "part",
    [
        ThinkingPart("Hm.", "anthropic", {"field": "reasoning"}),
        ThinkingPart("Hm.", "openai", reasoning_item()),
        OpaquePart("openai", {"phase": "commentary"}),
    ],
)
def test_what_chat_does_not_know_stays_out(part: Part) -> None:
    assert said_in_chat(part, TextPart("Hi")) == [
        {"role": "assistant", "content": "Hi"}
    ]


def test_an_answer_without_words_or_calls_stays_out() -> None:
    thought = ThinkingPart("Hm.", "openai", {"field": "reasoning"})
    assert said_in_chat(thought) == []


def test_openai_itself_wants_another_name_for_the_limit() -> None:
    body = chat_body(HELLO, "gpt-5.5", at_openai=True)
    assert body["max_completion_tokens"] == 1000
    assert "max_tokens" not in body


@pytest.mark.parametrize(
    ("model", "thinking", "at_openai", "sent"),
    [
        ("llama", "auto", False, None),
        ("gpt-5.5", "auto", True, None),
        ("llama", "low", False, "low"),
        ("llama", "off", False, "none"),
        ("gpt-5.5", "high", True, "high"),
        ("gpt-4.1", "high", True, None),
    ],
)
def test_an_effort_is_sent_only_when_it_was_set(
    model: str, thinking: str, at_openai: bool, sent: str | None
) -> None:
    body = chat_body(HELLO, model, thinking, at_openai)
    assert body.get("reasoning_effort") == sent


# Both


@pytest.mark.parametrize("body", [responses_body, chat_body])
def test_a_model_that_may_not_call_tools_is_still_told_of_them(body: Body) -> None:
    assert body(NO_MORE_TOOLS)["tool_choice"] == "none"
    assert len(body(NO_MORE_TOOLS)["tools"]) == 1


def test_a_call_that_was_never_answered_gets_an_error_for_an_answer() -> None:
    *_, message, _ = chat_body(history(CALL))["messages"]
    assert (message["role"], message["tool_call_id"]) == ("tool", "call_1")
    *_, item, _ = responses_body(history(CALL))["input"]
    assert (item["type"], item["call_id"]) == ("function_call_output", "call_1")


@pytest.mark.parametrize("body", [responses_body, chat_body])
def test_without_tools_nothing_is_said_of_them(body: Body) -> None:
    assert not {"tools", "tool_choice"} & body(HELLO).keys()


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (DEFAULT_MODEL, True),
        ("gpt-5-mini", True),
        ("openai/gpt-5", True),
        ("o4-mini", True),
        ("gpt-oss-120b", True),
        ("gpt-5-chat-latest", False),
        ("gpt-5.3-chat-latest", False),
        ("gpt-4.1", False),
        ("gpt-4o", False),
        ("chatgpt-4o-latest", False),
        ("olmo-2", False),
        ("llama3.2", False),
    ],
)
def test_which_models_reason(model: str, expected: bool) -> None:
    assert reasons(model) is expected


@pytest.mark.parametrize(
    ("model", "lowest"),
    [
        ("gpt-6.2-sol", "low"),
        ("gpt-6-astra", "low"),
        ("gpt-6-luna", "none"),
        ("gpt-5.5-2026-04-23", "none"),
        ("gpt-5.1", "none"),
        ("gpt-5", "minimal"),
        ("gpt-5-nano-2025-08-07", "minimal"),
        ("gpt-5.1-codex", "low"),
        ("gpt-5-pro", None),
        ("o3", "low"),
    ],
)
def test_off_is_the_lowest_effort_that_a_model_knows(
    model: str, lowest: str | None
) -> None:
    assert effort("off", model) == lowest
