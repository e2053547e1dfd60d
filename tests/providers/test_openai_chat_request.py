"""Chat Completions: what our messages become."""

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
)
from streaming.providers.base import ModelRequest
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


def said_in_chat(*parts: Part) -> list[dict[str, Any]]:
    """The chat messages that an earlier answer becomes."""
    messages = chat_body(history(*parts))["messages"][1:-1]
    return [message for message in messages if message["role"] != "tool"]


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


def test_a_call_that_was_never_answered_gets_an_error_for_an_answer() -> None:
    *_, result, _ = chat_body(history(CALL))["messages"]
    assert (result["role"], result["tool_call_id"]) == ("tool", "call_1")


def test_a_model_that_may_not_call_tools_is_still_told_of_them() -> None:
    body = chat_body(NO_MORE_TOOLS)
    assert (body["tool_choice"], len(body["tools"])) == ("none", 1)


def test_without_tools_nothing_is_said_of_them() -> None:
    assert not {"tools", "tool_choice"} & chat_body(HELLO).keys()
