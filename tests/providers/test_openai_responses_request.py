"""OpenAI's Responses API: the request for a history."""

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


def input_items_of(*parts: Part, model: str = DEFAULT_MODEL) -> list[dict[str, Any]]:
    """The input items of an earlier response."""
    items = responses_body(history(*parts), model)["input"][1:-1]
    return [item for item in items if item["type"] != "function_call_output"]


def output(text: str, **more: object) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text}]
    return {"type": "message", "role": "assistant", "content": content, **more}


FUNCTION_CALL = {
    "type": "function_call",
    "call_id": "call00001",
    "name": "weather",
    "arguments": ROME,
}


def test_the_system_prompt_is_the_instructions() -> None:
    assert responses_body(HELLO)["instructions"] == "Be brief."


def test_reasoning_is_returned_unchanged_right_before_the_next_item() -> None:
    first = reasoning_item("rs_1", summary=[{"type": "summary_text", "text": "Hm."}])
    second = reasoning_item("rs_2")
    assert input_items_of(
        ThinkingPart("Hm.", "openai", first),
        CALL,
        ThinkingPart("", "openai", second),
        TextPart("Sunny."),
    ) == [first, FUNCTION_CALL, second, output("Sunny.")]


def test_reasoning_without_a_following_item_is_omitted() -> None:
    item = reasoning_item()
    parts: list[Part] = [TextPart("Hm"), ThinkingPart("", "openai", item), TextPart("")]
    assert input_items_of(*parts) == [output("Hm")]


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
def test_parts_unknown_to_openai_are_omitted(part: Part) -> None:
    assert input_items_of(part, TextPart("Hi")) == [output("Hi")]


def test_encrypted_reasoning_is_sent_to_reasoning_models_only() -> None:
    thinking = ThinkingPart("", "openai", reasoning_item())
    assert input_items_of(thinking, CALL, model="gpt-4.1") == [FUNCTION_CALL]


def test_plain_reasoning_is_returned_to_its_server() -> None:
    item = reasoning_item(encrypted="", content=[{"text": "Hm."}])
    thinking = ThinkingPart("Hm.", "openai", item)
    assert input_items_of(thinking, CALL, model="qwen") == [item, FUNCTION_CALL]


def test_the_phase_of_a_message_is_returned_with_it() -> None:
    assert input_items_of(
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
    calls = Message("assistant", [CALL, ToolCallPart("call_2", "weather", "{}")])
    request = ModelRequest("", messages=[user_message("Where?"), calls, results])
    output = {"type": "function_call_output"}
    assert responses_body(request)["input"][-2:] == [
        output | {"call_id": "call00001", "output": "Sunny"},
        output | {"call_id": "call00002", "output": "No such city"},
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
def test_reasoning_is_requested_as_configured(
    thinking: str, reasoning: dict[str, str]
) -> None:
    body = responses_body(HELLO, "gpt-5.5", thinking)
    assert body["reasoning"] == reasoning


def test_a_model_that_does_not_reason_gets_no_reasoning_options() -> None:
    body = responses_body(HELLO, "gpt-4.1-mini", "high")
    assert not {"reasoning", "include"} & body.keys()


def test_an_effort_that_was_set_is_sent_to_other_servers() -> None:
    assert responses_body(HELLO, "qwen", "high", at_openai=False)["reasoning"] == {
        "effort": "high"
    }
    assert "reasoning" not in responses_body(HELLO, "qwen", at_openai=False)


def test_a_call_without_a_result_gets_an_error_result() -> None:
    *_, item, _ = responses_body(history(CALL))["input"]
    assert (item["type"], item["call_id"]) == ("function_call_output", "call00001")


def test_forbidden_tools_are_still_described() -> None:
    body = responses_body(NO_MORE_TOOLS)
    assert (body["tool_choice"], len(body["tools"])) == ("none", 1)


def test_without_tools_their_fields_are_omitted() -> None:
    assert not {"tools", "tool_choice"} & responses_body(HELLO).keys()
