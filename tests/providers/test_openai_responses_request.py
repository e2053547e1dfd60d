"""OpenAI's Responses API: what our messages become."""

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
from streaming.providers.openai import responses_request
from streaming.providers.openai.models import DEFAULT_MODEL
from tests.providers.openai_streams import (
    HELLO,
    NO_MORE_TOOLS,
    history,
    reasoning_item,
)

ROME = '{"city":"Rome"}'
CALL = ToolCallPart("call_1", "weather", ROME)


def responses_body(
    request: ModelRequest,
    model: str = DEFAULT_MODEL,
    thinking: str = "auto",
    at_openai: bool = True,
) -> dict[str, Any]:
    return responses_request.body(
        request, model=model, max_tokens=1000, thinking=thinking, at_openai=at_openai
    )


def answered_with(*parts: Part, model: str = DEFAULT_MODEL) -> list[dict[str, Any]]:
    """The input items that an earlier answer becomes."""
    items = responses_body(history(*parts), model)["input"][1:-1]
    return [item for item in items if item["type"] != "function_call_output"]


def output(text: str, **more: object) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text}]
    return {"type": "message", "role": "assistant", "content": content, **more}


FUNCTION_CALL = {
    "type": "function_call",
    "call_id": "call_1",
    "name": "weather",
    "arguments": ROME,
}


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


def test_a_call_that_was_never_answered_gets_an_error_for_an_answer() -> None:
    *_, item, _ = responses_body(history(CALL))["input"]
    assert (item["type"], item["call_id"]) == ("function_call_output", "call_1")


def test_a_model_that_may_not_call_tools_is_still_told_of_them() -> None:
    body = responses_body(NO_MORE_TOOLS)
    assert (body["tool_choice"], len(body["tools"])) == ("none", 1)


def test_without_tools_nothing_is_said_of_them() -> None:
    assert not {"tools", "tool_choice"} & responses_body(HELLO).keys()
