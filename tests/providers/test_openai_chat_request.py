"""Chat Completions: the request for a history."""

from typing import Any

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
from streaming.providers.base import ModelRequest
from streaming.providers.history import INTERRUPTED, UNFINISHED
from streaming.providers.openai import chat_request
from tests.providers.openai_streams import (
    HELLO,
    NO_MORE_TOOLS,
    history,
    reasoning_item,
)

ROME = '{"city":"Rome"}'
CALL = ToolCallPart("call_1", "weather", ROME)
RESULT = Message("tool", [ToolResultPart("call_1", "weather", "Sunny")])


def chat_body(
    request: ModelRequest,
    model: str = "llama",
    thinking: str = "auto",
    at_openai: bool = False,
) -> dict[str, Any]:
    return chat_request.body(
        request, model=model, max_tokens=1000, thinking=thinking, at_openai=at_openai
    )


def chat_messages_of(*parts: Part) -> list[dict[str, Any]]:
    """The chat messages of an earlier response."""
    messages = chat_body(history(*parts))["messages"]
    return [
        message
        for message in messages
        if message["role"] == "assistant" and message["content"] != INTERRUPTED
    ]


def test_a_tool_loop_in_chat() -> None:
    question = user_message("Where?")
    response = Message("assistant", [TextPart("Hm."), CALL])
    request = ModelRequest(system="", messages=[question, response, RESULT])
    function = {"name": "weather", "arguments": ROME}
    call = {"id": "call00001", "type": "function", "function": function}
    assert chat_body(request)["messages"] == [
        {"role": "user", "content": "Where?"},
        {"role": "assistant", "content": "Hm.", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call00001", "content": "Sunny"},
    ]


@pytest.mark.parametrize("arguments", ["", "{", "[1]", "Rome", "{Rome}"])
def test_arguments_that_are_not_an_object_are_returned_as_an_empty_one(
    arguments: str,
) -> None:
    [message] = chat_messages_of(ToolCallPart("call_1", "weather", arguments))
    assert message["content"] is None
    assert message["tool_calls"][0]["function"]["arguments"] == "{}"


def test_plain_reasoning_is_returned_in_its_original_field() -> None:
    thinking = ThinkingPart("Hm.", "openai", {"field": "reasoning_content"})
    [message] = chat_messages_of(thinking, CALL)
    assert message["reasoning_content"] == "Hm."


@pytest.mark.parametrize(
    "part",
    [
        ThinkingPart("Hm.", "anthropic", {"field": "reasoning"}),
        ThinkingPart("Hm.", "openai", reasoning_item()),
        OpaquePart("openai", {"phase": "commentary"}),
    ],
)
def test_parts_unknown_to_chat_are_omitted(part: Part) -> None:
    assert chat_messages_of(part, TextPart("Hi")) == [
        {"role": "assistant", "content": "Hi"}
    ]


def test_a_response_without_text_or_calls_is_omitted() -> None:
    thinking = ThinkingPart("Hm.", "openai", {"field": "reasoning"})
    assert chat_messages_of(thinking) == []


def test_openai_itself_has_another_name_for_the_limit() -> None:
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


def test_a_call_without_a_result_gets_an_error_result() -> None:
    _, call, result, *_ = chat_body(history(CALL))["messages"]
    [asked] = call["tool_calls"]
    assert (result["role"], result["tool_call_id"]) == ("tool", asked["id"])
    assert result["content"] == UNFINISHED


def test_forbidden_tools_are_still_described_to_openai() -> None:
    body = chat_body(NO_MORE_TOOLS, at_openai=True)
    assert (body["tool_choice"], len(body["tools"])) == ("none", 1)


def test_other_servers_are_not_told_of_forbidden_tools() -> None:
    # Some ignore a `tool_choice` of "none", others refuse it.
    assert not {"tools", "tool_choice"} & chat_body(NO_MORE_TOOLS).keys()


def test_without_tools_their_fields_are_omitted() -> None:
    assert not {"tools", "tool_choice"} & chat_body(HELLO).keys()
