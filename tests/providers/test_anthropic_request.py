"""Requests to the Messages API, as its server receives them."""

from collections.abc import Sequence
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
    ToolSpec,
    user_message,
)
from streaming.providers.base import ModelRequest
from streaming.providers.history import UNFINISHED
from streaming.testing.provider import Reply, Request, StandInProvider
from tests.providers.anthropic_streams import (
    HELLO,
    WEATHER,
    anthropic_at,
    joined,
    message,
    read,
    redacted_block,
    text_block,
    thinking_block,
    tool_block,
)

CACHED = {"cache_control": {"type": "ephemeral"}}
REDACTED = {"type": "redacted_thinking", "data": "cmVkYWN0ZWQ="}


async def sent(
    upstream: StandInProvider, request: ModelRequest, **options: str | float
) -> Request:
    """The HTTP request that a model request becomes."""
    upstream.reply(Reply(message(text_block(0, "Hi"))))
    async with anthropic_at(upstream, **options) as provider:
        await read(provider, request)
    return upstream.requests[-1]


async def messages_of(
    upstream: StandInProvider, *history: Message, **options: str
) -> Any:  # noqa: ANN401
    """The messages that a history becomes, without the marks for the cache."""
    request = ModelRequest(system="", messages=history)
    messages = (await sent(upstream, request, **options)).json["messages"]
    for block in messages[-1]["content"]:
        block.pop("cache_control", None)
    return messages


def assistant(*parts: Part) -> Message:
    return Message("assistant", list(parts))


def results(*parts: Part) -> Message:
    return Message("tool", list(parts))


async def test_a_request_is_authorized_streams_and_names_the_default_model(
    upstream: StandInProvider,
) -> None:
    request = await sent(upstream, HELLO)
    assert (request.method, request.path) == ("POST", "/v1/messages")
    assert request.headers["authorization"] == "Bearer sk-ant-secret"
    assert request.json["model"] == "claude-sonnet-5-5"
    assert request.json["stream"] is True
    assert request.json["max_tokens"] == 8192
    assert not {"temperature", "top_p", "top_k"} & request.json.keys()


async def test_system_tools_and_the_end_of_the_history_are_cached(
    upstream: StandInProvider,
) -> None:
    clock = ToolSpec("clock", "The time.", {"type": "object"})
    request = ModelRequest("Be brief.", [user_message("Hi")], [clock, WEATHER])
    body = (await sent(upstream, request)).json
    assert body["system"] == [{"type": "text", "text": "Be brief."} | CACHED]
    assert body["tools"] == [
        {
            "name": "clock",
            "description": "The time.",
            "input_schema": {"type": "object"},
        },
        {
            "name": "weather",
            "description": "The weather in a city.",
            "input_schema": WEATHER.parameters,
        }
        | CACHED,
    ]
    assert body["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "Hi"} | CACHED]}
    ]
    assert "tool_choice" not in body


async def test_tools_that_are_not_allowed_are_described_and_forbidden(
    upstream: StandInProvider,
) -> None:
    request = ModelRequest("", [user_message("Hi")], [WEATHER], allow_tools=False)
    body = (await sent(upstream, request)).json
    assert [tool["name"] for tool in body["tools"]] == ["weather"]
    assert body["tool_choice"] == {"type": "none"}


async def test_models_of_others_get_no_tools_that_they_must_not_call(
    upstream: StandInProvider,
) -> None:
    request = ModelRequest("", [user_message("Hi")], [WEATHER], allow_tools=False)
    body = (await sent(upstream, request, llm_model="gemma")).json
    assert not {"tools", "tool_choice"} & body.keys()


async def test_without_tools_and_system_prompt_their_fields_are_omitted(
    upstream: StandInProvider,
) -> None:
    request = ModelRequest(" ", [user_message("Hi")], allow_tools=False)
    body = (await sent(upstream, request)).json
    assert not {"system", "tools", "tool_choice"} & body.keys()


async def test_the_second_call_of_a_loop_contains_the_first_response(
    upstream: StandInProvider,
) -> None:
    first = message(
        thinking_block(0, "Two ", "cities.", signature="sig-0"),
        redacted_block(1, "cmVkYWN0ZWQ="),
        text_block(2, "I look."),
        thinking_block(3, signature="sig-3"),
        tool_block(4, "toolu_1", "weather", '{"city": "Köln"}'),
        tool_block(5, "toolu_2", "weather", '{"city":', ' "Bonn"}'),
        stop="tool_use",
    )
    upstream.reply(Reply(first), Reply(message(text_block(0, "Sun."))))
    history = [user_message("Weather in Köln and Bonn?")]
    async with anthropic_at(upstream) as provider:
        one = joined(
            await read(provider, ModelRequest("S", history, [WEATHER]))
        ).message
        answers = results(
            ToolResultPart("toolu_1", "weather", "sunny"),
            ToolResultPart("toolu_2", "weather", "no data", is_error=True),
        )
        await read(provider, ModelRequest("S", [*history, one, answers], [WEATHER]))
    before, after = (request.json for request in upstream.requests)
    assert after["messages"] == [
        {
            "role": "user",
            "content": [{"type": "text", "text": "Weather in Köln and Bonn?"}],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Two cities.", "signature": "sig-0"},
                REDACTED,
                {"type": "text", "text": "I look."},
                {"type": "thinking", "thinking": "", "signature": "sig-3"},
                {
                    "type": "tool_use",
                    "id": "toolu_1",
                    "name": "weather",
                    "input": {"city": "Köln"},
                },
                {
                    "type": "tool_use",
                    "id": "toolu_2",
                    "name": "weather",
                    "input": {"city": "Bonn"},
                },
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": "sunny"},
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_2",
                    "content": "no data",
                    "is_error": True,
                }
                | CACHED,
            ],
        },
    ]
    for body in (before, after):
        del body["messages"]
    assert before == after


async def test_a_paused_response_is_returned_unchanged(
    upstream: StandInProvider,
) -> None:
    search = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    found = {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}
    messages = await messages_of(
        upstream,
        user_message("Search"),
        assistant(OpaquePart("anthropic", search), OpaquePart("anthropic", found)),
    )
    assert messages[-1] == {"role": "assistant", "content": [search, found]}


@pytest.mark.parametrize("last", [TextPart("Hi"), OpaquePart("anthropic", REDACTED)])
async def test_thinking_never_carries_the_mark_for_the_cache(
    upstream: StandInProvider, last: Part
) -> None:
    server_tool = {"type": "server_tool_use", "id": "s", "name": "x", "input": {}}
    history = [
        user_message("Hi"),
        assistant(TextPart("Hm"), last, OpaquePart("anthropic", server_tool)),
    ]
    body = (await sent(upstream, ModelRequest("", history))).json
    marked = [
        b["type"] for t in body["messages"] for b in t["content"] if CACHED.keys() & b
    ]
    assert marked == ["text"]


# Histories that would make an invalid request


async def test_roles_alternate_and_results_share_a_message(
    upstream: StandInProvider,
) -> None:
    messages = await messages_of(
        upstream,
        user_message("One"),
        user_message("Two"),
        assistant(TextPart("Let me see.")),
        assistant(ToolCallPart("a", "weather", "{}")),
        results(ToolResultPart("a", "weather", "rain")),
        user_message("Three"),
    )
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]
    assert [block["type"] for block in messages[-1]["content"]] == [
        "tool_result",
        "text",
    ]


async def test_a_call_without_a_result_gets_one(upstream: StandInProvider) -> None:
    messages = await messages_of(
        upstream,
        user_message("Hi"),
        assistant(
            ToolCallPart("a", "weather", "{}"), ToolCallPart("b", "weather", "{}")
        ),
        results(ToolResultPart("a", "weather", "rain")),
        user_message("And?"),
    )
    assert messages[-1]["content"] == [
        {"type": "tool_result", "tool_use_id": "a", "content": "rain"},
        {
            "type": "tool_result",
            "tool_use_id": "b",
            "content": UNFINISHED,
            "is_error": True,
        },
        {"type": "text", "text": "And?"},
    ]


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [TextPart("")],
        [TextPart(" \n")],
        [ThinkingPart("cut off")],
        [ThinkingPart("never signed", "anthropic", {"signature": ""})],
        [ThinkingPart("only thought", "anthropic", {"signature": "s"})],
        [OpaquePart("anthropic", REDACTED)],
        [ThinkingPart("theirs", "openai", {"id": "rs_1", "signature": "s"})],
        [OpaquePart("openai", {"phase": "commentary"})],
    ],
)
async def test_a_response_with_nothing_to_return_is_omitted(
    upstream: StandInProvider, parts: Sequence[Part]
) -> None:
    messages = await messages_of(
        upstream, user_message("One"), assistant(*parts), user_message("Two")
    )
    assert messages == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "One"},
                {"type": "text", "text": "Two"},
            ],
        }
    ]


async def test_a_history_begins_with_the_user(upstream: StandInProvider) -> None:
    messages = await messages_of(
        upstream,
        results(ToolResultPart("a", "weather", "rain")),
        assistant(TextPart("It rains.")),
        user_message("Hi"),
    )
    assert messages == [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ('{"city": "Köln"}', {"city": "Köln"}),
        ('{"n": 1e400}', {"n": None}),
        (r'{"city": "\ud83d"}', {"city": "\ufffd"}),
        ("", {}),
        ("{city}", {}),
        ("[1]", {}),
        ("null", {}),
    ],
)
async def test_arguments_are_returned_as_an_object(
    upstream: StandInProvider, arguments: str, expected: object
) -> None:
    messages = await messages_of(
        upstream, user_message("Hi"), assistant(ToolCallPart("a", "weather", arguments))
    )
    assert messages[1]["content"][0]["input"] == expected


async def test_ids_that_are_not_valid_are_replaced(upstream: StandInProvider) -> None:
    messages = await messages_of(
        upstream,
        user_message("Hi"),
        assistant(ToolCallPart("functions.weather:0", "weather", "{}")),
        results(ToolResultPart("functions.weather:0", "weather", "")),
    )
    assert messages[1]["content"][0]["id"] == "call00001"
    assert messages[2]["content"] == [
        {"type": "tool_result", "tool_use_id": "call00001"}
    ]


async def test_with_thinking_off_only_thinking_since_the_question_is_returned(
    upstream: StandInProvider,
) -> None:
    old = ThinkingPart("old", "anthropic", {"signature": "old"})
    new = ThinkingPart("new", "anthropic", {"signature": "new"})
    history = [
        user_message("One"),
        assistant(old, OpaquePart("anthropic", REDACTED), TextPart("1")),
        user_message("Two"),
        assistant(new, ToolCallPart("a", "weather", "{}")),
        results(ToolResultPart("a", "weather", "rain")),
    ]
    kept = {
        setting: [
            block["thinking"]
            for message in await messages_of(upstream, *history, llm_thinking=setting)
            for block in message["content"]
            if block["type"] == "thinking"
        ]
        for setting in ("auto", "off")
    }
    assert kept == {"auto": ["old", "new"], "off": ["new"]}
