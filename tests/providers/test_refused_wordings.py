"""The wordings in which vendors refuse a field, a value or the tools of a request."""

import json
from typing import Any

import pytest

from streaming.messages import (
    Message,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    ToolSpec,
    user_message,
)
from streaming.providers.anthropic import refusals as anthropic_refusals
from streaming.providers.anthropic.options import AnthropicOptions
from streaming.providers.anthropic.request import build
from streaming.providers.base import ModelRequest
from streaming.providers.openai import chat_request
from streaming.providers.openai.refusals import KNOWN, NO_TOOLS, TOOLS_DESCRIBED
from streaming.providers.refusals import find_cause

WEATHER = ToolSpec("weather", "The weather.", {"type": "object", "properties": {}})
HISTORY = [
    user_message("Is it warm?"),
    Message("assistant", [ToolCallPart("call_1", "weather", "{}")]),
    Message("tool", [ToolResultPart("call_1", "weather", "sun")]),
    Message("assistant", [TextPart("Yes")]),
    user_message("And now?"),
]
EFFORT = "omit:reasoning_effort"


def body(api: str, allow_tools: bool = True) -> dict[str, Any]:
    request = ModelRequest("Be brief.", HISTORY, [WEATHER], allow_tools)
    if api == "chat":
        return chat_request.body(
            request, model="m", max_tokens=64_000, thinking="high", at_openai=False
        )
    options = AnthropicOptions(
        anthropic_api_key="k", llm_max_tokens=64_000, llm_thinking="high"
    )
    return build(request, model="claude-sonnet-5-5", options=options)


def cause(api: str, text: str, **fields: object) -> str | None:
    sent = body(api, allow_tools=not fields.pop("last", False))
    refusal = json.dumps({"error": {"message": text, **fields}})
    if api == "chat":
        return find_cause(refusal, sent, KNOWN, frozenset())
    known, required = anthropic_refusals.KNOWN, anthropic_refusals.REQUIRED
    return find_cause(refusal, sent, known, frozenset(), required)


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("Invalid max_tokens value, the valid range of max_tokens is [1, 8192]", 8192),
        ("The maximum tokens you requested exceeds the model limit of 8192.", 8192),
        ("a maxOutputTokens value of 64000 but the supported range is from 1 "
         "(inclusive) to 8193 (exclusive)", 8192),
        ("max_tokens参数非法。取值范围[1, 4096]", 4096),
        ("max_new_tokens must be <= 8192", 8192),
        ("invalid params, max_tokens should be less than 40960", 40_959),
        ("max_tokens should be in [1, 32768]", 32_768),
        ("`max_tokens` must be less than or equal to `32768`", 32_768),
        ("max_tokens: 64000 > 8192, which is the maximum allowed", 8192),
    ],
)  # fmt: skip
@pytest.mark.parametrize("api", ["chat", "messages"])
def test_the_largest_accepted_limit_is_learned(api: str, text: str, limit: int) -> None:
    assert cause(api, text) == f"limit:{limit}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Argument not supported on this model: reasoningEffort", EFFORT),
        ("Model m does not support parameter reasoningEffort.", EFFORT),
        ("thinking_budget is out of range", EFFORT),
        ("Thinking level HIGH is not supported for this model.", EFFORT),
        ('think value "high" is not supported for this model', EFFORT),
        ('"m" does not support thinking', EFFORT),
        ("Reasoning is mandatory for this endpoint and cannot be disabled.", EFFORT),
        ("不支持的参数: reasoning_effort", EFFORT),
        ("参数reasoning_effort无效", EFFORT),
        ('"auto" tool choice requires --enable-auto-tool-choice and '
         "--tool-call-parser to be set", NO_TOOLS),
        ("tools param requires --jinja flag", NO_TOOLS),
        ("该模型不支持工具调用", NO_TOOLS),
        ("当前模型不支持 function call 功能", NO_TOOLS),
        ("Function call is not supported for this model.", NO_TOOLS),
    ],
)  # fmt: skip
def test_the_cause_is_found_in_chat_completions(text: str, expected: str) -> None:
    assert cause("chat", text) == expected


def test_tools_are_kept_if_only_their_combination_is_refused() -> None:
    text = "Function tools with reasoning_effort are not supported for gpt-5.4."
    assert cause("chat", text, param="reasoning_effort") == EFFORT


def test_a_field_inside_another_is_found_without_quotes() -> None:
    text = "This model does not support the effort parameter."
    assert cause("messages", text) == "omit:output_config/effort"


def test_bedrock_wants_tools_beside_their_calls() -> None:
    text = "The toolConfig field must be defined when using toolUse content blocks."
    assert cause("chat", text, last=True) == TOOLS_DESCRIBED
