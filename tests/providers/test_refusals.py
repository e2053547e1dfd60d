"""Servers that refuse requests: the cause is learned, remembered and avoided."""

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pytest

from streaming.exceptions import ContextTooLong, ProviderError
from streaming.messages import (
    Message,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
    ToolSpec,
    user_message,
)
from streaming.providers.base import (
    ExchangesDropped,
    ModelRequest,
    Provider,
    ResponseEnd,
    TextDelta,
)
from streaming.providers.refusals import MAX_CAUSES
from streaming.testing.provider import Reply, Request, StandInProvider
from tests.providers import anthropic_streams as anthropic
from tests.providers import openai_streams as openai
from tests.providers.strict_servers import Refused

Body = dict[str, Any]
#: Raises `Refused` for a request that the server does not accept.
Check = Callable[[Body, Mapping[str, str]], None]

WEATHER = ToolSpec(
    "weather",
    "The weather in a city.",
    {
        "type": "object",
        "properties": {"city": {"type": "string", "format": "city"}},
        "additionalProperties": False,
    },
)
ASSISTANT = Message("assistant", [TextPart("Hello")])
HISTORY = [user_message("Hi"), ASSISTANT, user_message("Where is it warm?")]
WITH_TOOLS = ModelRequest("Be brief.", HISTORY, [WEATHER])
LAST = ModelRequest("Be brief.", HISTORY, [WEATHER], allow_tools=False)

GOOD = {
    "chat": openai.chunks(openai.chunk("stop", content="Good")) + openai.DONE,
    "responses": openai.events(*openai.text_deltas("Good"), openai.ended()),
    "messages": anthropic.message(anthropic.text_block(0, "Good")),
}


def refuse(message: str, status: int = 400, **fields: object) -> None:
    raise Refused({"error": {"message": message, **fields}}, status)


def server(api: str, check: Check) -> StandInProvider:
    """A server that answers the requests that it accepts."""

    def reply_to(request: Request) -> Reply:
        try:
            check(request.json, request.headers)
        except Refused as error:
            return Reply(error.text.encode(), error.status, "application/json")
        return Reply(GOOD[api])

    return StandInProvider(reply_to)


async def ask(
    upstream: StandInProvider, api: str, *requests: ModelRequest, **options: str | int
) -> list[int]:
    """Send model requests to one provider; return the requests that each took."""
    made = (
        anthropic.anthropic_at(upstream, **options)
        if api == "messages"
        else openai.openai_at(upstream, api, **options)  # type: ignore[arg-type]
    )
    counts = []
    async with made as provider:
        for request in requests:
            before = len(upstream.requests)
            assert TextDelta("Good") in await openai.read(provider, request)
            counts.append(len(upstream.requests) - before)
    return counts


def field(name: str, message: str, param: str | None = None) -> Check:
    """A server that refuses a field of the body."""

    def check(body: Body, _: Mapping[str, str]) -> None:
        if name in body:
            refuse(message, param=param)

    return check


def role(name: str, message: str) -> Check:
    """A server that refuses a role."""

    def check(body: Body, _: Mapping[str, str]) -> None:
        if name in [message["role"] for message in body["messages"]]:
            refuse(message)

    return check


def anywhere(name: str, message: str) -> Check:
    """A server that refuses a field at any depth."""

    def check(body: Body, _: Mapping[str, str]) -> None:
        if f'"{name}":' in json.dumps(body):
            refuse(message)

    return check


def forbidden_choice(body: Body, _: Mapping[str, str]) -> None:
    if body.get("tool_choice") in ("none", {"type": "none"}):
        refuse("Tool choice is none, but model called a tool", code="tool_use_failed")


def small_limit(body: Body, _: Mapping[str, str]) -> None:
    for name in ("max_tokens", "max_completion_tokens", "max_output_tokens"):
        if body.get(name, 0) > 4096:
            refuse(f"{name} is too large: {body[name]}. It supports at most 4096.")


def no_beta(_: Body, headers: Mapping[str, str]) -> None:
    if beta := headers.get("anthropic-beta"):
        refuse(f"Unexpected value(s) `{beta}` for the `anthropic-beta` header.")


def pydantic(body: Body, _: Mapping[str, str]) -> None:
    if "stream_options" in body:
        problem = {
            "type": "extra_forbidden",
            "loc": ["body", "stream_options"],
            "msg": "Extra inputs are not permitted",
            "input": {"include_usage": True},
        }
        raise Refused({"detail": [problem]}, 422)


def nested(body: Body, _: Mapping[str, str]) -> None:
    """A router that quotes the error of another server as text."""
    if "stream_options" in body:
        raw = {"error": {"message": "Unsupported parameter: 'stream_options'"}}
        error = {"message": "Provider returned error", "metadata": {}}
        error["metadata"] = {"raw": json.dumps(raw)}
        raise Refused({"error": error})


class Case(NamedTuple):
    """A strict server, and a request that it refuses at first."""

    api: str
    check: Check
    request: ModelRequest = WITH_TOOLS
    options: dict[str, str | int] = {}


UNSUPPORTED = "Unsupported parameter: '{}' is not supported with this model."

CASES = {
    "max_tokens, by its value": Case("chat", small_limit),
    "max_tokens": Case(
        "chat",
        field(
            "max_tokens",
            UNSUPPORTED.format("max_tokens") + " Use 'max_completion_tokens' instead.",
            "max_tokens",
        ),
    ),
    "stream_options": Case(
        "chat",
        field("stream_options", "Unrecognized request argument: stream_options"),
    ),
    "stream_options, in a list of problems": Case("chat", pydantic),
    "stream_options, by a router": Case("chat", nested),
    "reasoning_effort": Case(
        "chat",
        field("reasoning_effort", "`reasoning_effort` is not supported"),
        options={"llm_thinking": "high"},
    ),
    "tools": Case("chat", field("tools", "llama does not support tools")),
    "tool_choice": Case("chat", field("tool_choice", "tool_choice is not supported")),
    "a schema's keyword": Case(
        "chat",
        anywhere(
            "additionalProperties",
            'Invalid JSON payload received. Unknown name "additionalProperties"',
        ),
    ),
    "a schema": Case(
        "chat", anywhere("format", "Invalid schema for function 'weather'")
    ),
    "the system role": Case("chat", role("system", "System role not supported")),
    "the system role, for another": Case(
        "chat",
        role("system", "'system' is not supported, use 'developer' instead"),
    ),
    "strict": Case(
        "responses",
        anywhere("strict", "Unknown parameter: 'tools[0].strict'."),
    ),
    "a part of reasoning": Case(
        "responses",
        anywhere("summary", UNSUPPORTED.format("reasoning.summary")),
        options={"llm_model": "gpt-6-luna"},
    ),
    "encrypted reasoning": Case(
        "responses",
        field("include", UNSUPPORTED.format("include"), "include"),
        options={"llm_model": "gpt-6-luna"},
    ),
    "the last iteration's choice": Case(
        "messages", forbidden_choice, LAST, {"llm_model": "claude-haiku-5-5"}
    ),
    "a beta header": Case(
        "messages", no_beta, options={"llm_model": "claude-sonnet-4-5"}
    ),
    "the cache's marks": Case(
        "messages",
        anywhere(
            "cache_control", "system.0.cache_control: Extra inputs are not permitted"
        ),
    ),
    "a part of thinking": Case(
        "messages",
        anywhere(
            "block_binding",
            "thinking.adaptive.block_binding: Extra inputs are not permitted",
        ),
        options={"llm_model": "claude-sonnet-5-5"},
    ),
    "thinking": Case(
        "messages",
        field("thinking", "thinking.type: Input tag 'adaptive' is unexpected"),
    ),
    "max_tokens at Anthropic": Case("messages", small_limit),
}


@pytest.mark.parametrize("name", CASES)
async def test_a_cause_is_learned_from_one_refusal_and_remembered(name: str) -> None:
    case = CASES[name]
    async with server(case.api, case.check) as upstream:
        counts = await ask(
            upstream, case.api, case.request, case.request, **case.options
        )
    assert counts == [2, 1]


async def test_another_name_of_the_limit_is_tried_before_none() -> None:
    seen: list[list[str]] = []

    def check(body: Body, _: Mapping[str, str]) -> None:
        seen.append([name for name in body if name.startswith("max_")])
        for name in seen[-1]:
            refuse(f"Unsupported parameter: '{name}'", param=name)

    async with server("chat", check) as upstream:
        assert await ask(upstream, "chat", WITH_TOOLS) == [3]
    assert seen == [["max_tokens"], ["max_completion_tokens"], []]


async def test_one_model_call_learns_a_limited_number_of_causes() -> None:
    def check(body: Body, _: Mapping[str, str]) -> None:
        for name in sorted(body.keys() - {"model", "messages", "stream"}):
            refuse(f"Unsupported parameter: '{name}'", param=name)
        refuse("Unsupported parameter: 'nothing'")

    async with server("chat", check) as upstream:
        with pytest.raises(ProviderError):
            await ask(upstream, "chat", WITH_TOOLS, llm_thinking="high")
        assert len(upstream.requests) == 1 + MAX_CAUSES


async def test_a_refusal_without_a_cause_is_not_repeated() -> None:
    def check(body: Body, _: Mapping[str, str]) -> None:
        refuse("The model `m` does not exist", 404)

    async with server("chat", check) as upstream:
        with pytest.raises(ProviderError):
            await ask(upstream, "chat", WITH_TOOLS)
        assert len(upstream.requests) == 1


async def test_an_error_event_before_the_first_output_is_a_refusal_too(
    upstream: StandInProvider,
) -> None:
    error = {"code": 400, "message": "Unsupported parameter: 'stream_options'"}
    upstream.reply(Reply(openai.chunks({"error": error})), Reply(GOOD["chat"]))
    assert await ask(upstream, "chat", WITH_TOOLS) == [2]
    assert "stream_options" not in upstream.requests[-1].json


async def test_after_the_first_output_nothing_is_asked_again(
    upstream: StandInProvider,
) -> None:
    error = {"code": 400, "message": "Unsupported parameter: 'stream_options'"}
    body = openai.chunks(openai.chunk(content="Goo"), {"error": error})
    upstream.reply(Reply(body), Reply(GOOD["chat"]))
    with pytest.raises(ProviderError):
        await ask(upstream, "chat", WITH_TOOLS)
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    "message",
    [
        "'max_tokens' or 'max_completion_tokens' is too large: 8192. This model's "
        "maximum context length is 8192 tokens and your request has 20 input tokens",
        "This model's maximum context length is 8192 tokens. However, you requested "
        "8212 tokens (20 in the messages, 8192 in the completion).",
    ],
)
async def test_a_limit_that_fills_the_context_window_is_not_sent(message: str) -> None:
    def check(body: Body, _: Mapping[str, str]) -> None:
        if {"max_tokens", "max_completion_tokens"} & body.keys():
            refuse(message)

    async with server("chat", check) as upstream:
        counts = await ask(upstream, "chat", WITH_TOOLS, WITH_TOOLS)
        assert counts == [3, 1]
        assert len(upstream.requests[-1].json["messages"]) == 4


# Opaque parts


def signed_history(provider: Provider) -> list[Message]:
    """An earlier exchange and a tool loop, both with thinking of this server."""
    origin = getattr(provider, "origin", "")
    old = ThinkingPart("old", "anthropic", {"signature": "old"}, origin)
    new = ThinkingPart("new", "anthropic", {"signature": "new"}, origin)
    return [
        user_message("One"),
        Message("assistant", [old, TextPart("1")]),
        user_message("Two"),
        Message("assistant", [new, ToolCallPart("toolu_1", "weather", "{}")]),
        Message("tool", [ToolResultPart("toolu_1", "weather", "rain")]),
    ]


def signatures(body: Body) -> list[str]:
    return [
        block["signature"]
        for message in body["messages"]
        for block in message["content"]
        if block["type"] == "thinking"
    ]


@pytest.mark.parametrize(
    ("refused", "sent"),
    [
        ({"old"}, [["old", "new"], ["new"]]),
        ({"old", "new"}, [["old", "new"], ["new"], []]),
    ],
)
async def test_refused_thinking_is_left_out_that_of_earlier_exchanges_first(
    refused: set[str], sent: list[list[str]]
) -> None:
    def check(body: Body, _: Mapping[str, str]) -> None:
        if refused.intersection(signatures(body)):
            refuse("messages.1.content.0: Invalid `signature` in `thinking` block")

    async with (
        server("messages", check) as upstream,
        anthropic.anthropic_at(upstream) as provider,
    ):
        request = ModelRequest("", signed_history(provider), [WEATHER])
        await anthropic.read(provider, request)
        await anthropic.read(provider, request)
        assert [signatures(each.json) for each in upstream.requests] == [
            *sent,
            sent[-1],
        ]


@pytest.mark.parametrize(
    ("message", "required"),
    [
        ("The `reasoning_content` in the thinking mode must be passed back.", True),
        ("reasoning_content is missing in assistant message at index 1", True),
        ("property 'messages.1.reasoning_content' is unsupported", False),
        ("messages[1].reasoning_content: Extra inputs are not permitted", False),
    ],
)
async def test_reasoning_stands_in_each_message_or_in_none(
    message: str, required: bool
) -> None:
    def check(body: Body, _: Mapping[str, str]) -> None:
        assistants = [m for m in body["messages"] if m["role"] == "assistant"]
        if any(bool(m.get("reasoning_content")) != required for m in assistants):
            refuse(message)

    async with server("chat", check) as upstream:
        thinking = ThinkingPart("Hm.", "openai", {"field": "reasoning_content"})
        history = [
            user_message("One"),
            Message("assistant", [thinking, TextPart("1")]),
            user_message("Two"),
            ASSISTANT,
            user_message("Three"),
        ]
        request = ModelRequest("", history)
        assert await ask(upstream, "chat", request, request) == [2, 1]


# Histories


def window(limit: int, message: str) -> Check:
    """A server with a context window of some characters."""

    def check(body: Body, _: Mapping[str, str]) -> None:
        used = len(json.dumps(body["messages"]))
        if used > limit:
            refuse(message.format(used=used, limit=limit))

    return check


LONG = [
    message
    for number in range(8)
    for message in (user_message(f"{number} " + "word " * 100), ASSISTANT)
][:-1]
WORDINGS = [
    "request ({used} tokens) exceeds the available context size ({limit} tokens)",
    "This model's maximum context length is {limit} tokens. However, you requested "
    "{used} tokens. Please reduce the length of the messages.",
    "prompt is too long: {used} tokens > {limit} maximum",
    "Input is too long for requested model.",
    "The input token count ({used}) exceeds the maximum number of tokens ({limit}).",
    "Trying to keep the first {used} tokens when context overflows; the model is "
    "loaded with a context length of only {limit} tokens",
    "<400> InternalError.Algo.InvalidParameter: Range of input length should be "
    "[1, {limit}]",
    "输入内容的Token数超过模型最大上下文长度限制",
    "input length and `max_tokens` exceed context limit: {used} + 8192 > {limit}",
]


@pytest.mark.parametrize("wording", WORDINGS)
async def test_the_oldest_exchanges_are_dropped_until_the_rest_fits(
    wording: str,
) -> None:
    async with (
        server("chat", window(2_500, wording)) as upstream,
        openai.openai_at(upstream, "chat") as provider,
    ):
        deltas = await openai.read(provider, ModelRequest("", LONG))
        questions = [
            m for m in upstream.requests[-1].json["messages"] if m["role"] == "user"
        ]
    dropped = [d.count for d in deltas if isinstance(d, ExchangesDropped)]
    assert dropped[-1] == 8 - len(questions) > 0
    assert questions[-1]["content"].startswith("7 ")
    assert len(upstream.requests) <= 9


@pytest.mark.parametrize("wording", WORDINGS)
async def test_a_question_that_is_too_long_by_itself_is_an_error(
    wording: str,
) -> None:
    async with server("chat", window(400, wording)) as upstream:
        with pytest.raises(ContextTooLong) as caught:
            await ask(upstream, "chat", ModelRequest("", LONG))
    assert (caught.value.code, caught.value.status) == ("context_too_long", 400)
    assert not caught.value.retryable


async def test_a_history_that_is_refused_for_no_known_cause_is_left_out() -> None:
    def check(body: Body, _: Mapping[str, str]) -> None:
        if len(body["messages"]) > 1:
            refuse("Failed to render the prompt template: bad message")

    async with server("chat", check) as upstream:
        assert await ask(upstream, "chat", ModelRequest("", LONG)) == [2]


async def test_a_question_refused_because_of_its_content_is_a_refusal() -> None:
    def check(body: Body, _: Mapping[str, str]) -> None:
        refuse("The response was filtered", code="content_filter", type=None)

    async with (
        server("chat", check) as upstream,
        openai.openai_at(upstream, "chat") as provider,
    ):
        request = ModelRequest("", [user_message("Hi")])
        assert await openai.read(provider, request) == [ResponseEnd("refusal")]


# Quotations

HOSTILE = [
    "Unsupported parameter: 'max_tokens' is not supported with this model.",
    "Write exactly this: Unrecognized request argument supplied: stream_options",
    "llama does not support tools",
    "temperature and tool_choice and reasoning_effort are not supported",
    "System role not supported",
    "Extra inputs are not permitted: additionalProperties",
    "messages.1.content.0: Invalid `signature` in `thinking` block",
    "max_tokens is too large: 8192. It supports at most 200.",
    "Unexpected value(s) for the `anthropic-beta` header.",
    "tools",
]
ECHOES = {
    "plain": lambda prompt: f"Invalid prompt: {prompt}",
    "quoted": lambda prompt: f"Your request was rejected, it contains {prompt!r}",
    "JSON": lambda prompt: f"Not supported: {json.dumps({'content': prompt})}",
}


@pytest.mark.parametrize("api", GOOD)
@pytest.mark.parametrize("echo", ECHOES)
@pytest.mark.parametrize("prompt", HOSTILE)
async def test_a_prompt_that_the_server_repeats_teaches_other_calls_nothing(
    api: str, echo: str, prompt: str
) -> None:
    bodies: list[Body] = []

    def check(body: Body, _: Mapping[str, str]) -> None:
        bodies.append(body)
        messages = body.get("messages") or body["input"]
        if json.dumps(prompt)[1:-1] in json.dumps(messages):
            refuse(ECHOES[echo](prompt))

    async with server(api, check) as upstream:
        assert await ask(upstream, api, WITH_TOOLS) == [1]
        made = (
            anthropic.anthropic_at(upstream)
            if api == "messages"
            else openai.openai_at(upstream, api)  # type: ignore[arg-type]
        )
        async with made as provider:
            request = ModelRequest("Be brief.", [user_message(prompt)], [WEATHER])
            with pytest.raises(ProviderError):
                await openai.read(provider, request)
            await openai.read(provider, WITH_TOOLS)
    assert bodies[-1] == bodies[0]


DOUBTFUL = ModelRequest(
    "Be brief.",
    [user_message("I got: Unrecognized request argument supplied: stream_options")],
)


async def test_a_cause_in_the_words_of_a_prompt_is_avoided_in_that_call_alone() -> None:
    message = "Unrecognized request argument supplied: stream_options"
    async with server("chat", field("stream_options", message)) as upstream:
        counts = await ask(
            upstream, "chat", DOUBTFUL, DOUBTFUL, WITH_TOOLS, WITH_TOOLS, DOUBTFUL
        )
    assert counts == [2, 2, 2, 1, 1]


async def test_a_cause_in_a_field_of_the_error_is_learned_in_any_case() -> None:
    message = "Unrecognized request argument supplied: stream_options"
    check = field("stream_options", message, "stream_options")
    async with server("chat", check) as upstream:
        assert await ask(upstream, "chat", DOUBTFUL, DOUBTFUL) == [2, 1]
