"""The context window is respected before a request is sent."""

import json
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.exceptions import ContextTooLong
from streaming.messages import Message, TextPart, split_exchanges, user_message
from streaming.providers.base import ExchangesDropped, ModelRequest, ProviderOptions
from streaming.providers.context_budget import ContextBudget
from streaming.providers.context_window import shorten, stated_window
from streaming.providers.known_windows import known_window
from streaming.providers.token_estimate import request_tokens
from streaming.testing.provider import Reply, Request, StandInProvider
from tests import campaign
from tests.providers import anthropic_streams as anthropic
from tests.providers import openai_streams as openai
from tests.providers.token_texts import CHINESE, PROSE

GOOD = {
    "chat": openai.chunks(openai.chunk("stop", content="Good")) + openai.DONE,
    "responses": openai.events(*openai.text_deltas("Good"), openai.ended()),
    "messages": anthropic.message(anthropic.text_block(0, "Good")),
}


def conversation(exchanges: int, text: str = PROSE) -> ModelRequest:
    """Exchanges of two messages with this text each, and a question."""
    messages: list[Message] = []
    for number in range(exchanges):
        messages.append(user_message(f"{number}: {text}"))
        messages.append(Message("assistant", [TextPart(text)]))
    return ModelRequest("Be brief.", [*messages, user_message("And now?")])


def sent(request: Request) -> int:
    """The number of messages in a request, without the system prompt."""
    body = request.json
    messages = body.get("messages") or body["input"]
    return len([m for m in messages if m.get("role") != "system"])


async def send(
    upstream: StandInProvider,
    api: str,
    *requests: ModelRequest,
    **options: str | int,
) -> list[int]:
    """Send model requests to one provider; return the dropped exchanges of each."""
    made = (
        anthropic.anthropic_at(upstream, **options)
        if api == "messages"
        else openai.openai_at(upstream, api, **options)  # type: ignore[arg-type]
    )
    dropped = []
    async with made as provider:
        for request in requests:
            deltas = await openai.read(provider, request)
            counts = [d.count for d in deltas if isinstance(d, ExchangesDropped)]
            dropped.append(counts[-1] if counts else 0)
    return dropped


def answering(api: str) -> StandInProvider:
    """A server that accepts all requests."""
    return StandInProvider(lambda _: Reply(GOOD[api]))


# Before the first request


@pytest.mark.parametrize("api", GOOD)
async def test_a_history_beyond_the_window_is_shortened_before_it_is_sent(
    api: str,
) -> None:
    async with answering(api) as upstream:
        [dropped] = await send(
            upstream,
            api,
            conversation(20),
            llm_context_window=4_000,
            llm_max_tokens=1_000,
        )
        [request] = upstream.requests
    assert dropped > 0
    assert sent(request) == 41 - 2 * dropped
    text = json.dumps(request.json)
    assert "And now?" in text
    assert "19: The harbour" in text
    assert "0: The harbour" not in text.replace("10: The", "")


async def test_room_is_left_for_the_response() -> None:
    request = conversation(20)
    limits = (100, 500, 1_000)
    async with answering("chat") as upstream:
        dropped = [
            await send(
                upstream,
                "chat",
                request,
                llm_context_window=4_000,
                llm_max_tokens=limit,
            )
            for limit in limits
        ]
    assert dropped == sorted(dropped)
    assert dropped[0] < dropped[-1]


async def test_a_response_as_long_as_the_window_leaves_room_for_the_request() -> None:
    async with answering("chat") as upstream:
        [dropped] = await send(
            upstream,
            "chat",
            conversation(5),
            llm_context_window=4_000,
            llm_max_tokens=8_192,
        )
    assert dropped == 0


async def test_nothing_is_left_out_while_the_window_is_unknown() -> None:
    async with answering("chat") as upstream:
        assert await send(upstream, "chat", conversation(500)) == [0]


@pytest.mark.parametrize(
    ("model", "window"),
    [
        ("claude-sonnet-5-5", 1_000_000),
        ("claude-opus-4-6", 1_000_000),
        ("claude-opus-4-5-20251101", 200_000),
        ("claude-haiku-4-5", 200_000),
        ("anthropic/claude-3-7-sonnet-latest", 200_000),
        ("gpt-6.2-sol", 922_000),
        ("openai/gpt-5-mini", 272_000),
        ("gpt-5-chat-latest", 128_000),
        ("gpt-4o-2024-11-20", 128_000),
        ("o3-pro", 200_000),
        ("gpt-oss-120b", 0),
        ("gpt-4", 0),
        ("gemma-3-270m", 0),
        ("", 0),
    ],
)
def test_windows_of_known_models(model: str, window: int) -> None:
    assert known_window(model) == window


async def test_the_window_of_a_known_model_is_respected() -> None:
    request = conversation(650, CHINESE)
    assert request_tokens(request) > 200_000
    async with answering("messages") as upstream:
        [dropped] = await send(
            upstream, "messages", request, llm_model="claude-haiku-4-5"
        )
        assert dropped > 0
        assert len(upstream.requests) == 1
        assert await send(
            upstream, "messages", request, llm_model="claude-sonnet-5-5"
        ) == [0]


@settings(max_examples=campaign.examples(100))
@given(st.lists(st.integers(0, 40), min_size=1, max_size=12), st.integers(100, 3_000))
def test_a_shortened_history_is_the_longest_end_that_fits(
    sizes: list[int], window: int
) -> None:
    messages: Sequence[Message] = [user_message("word " * 10 * size) for size in sizes]
    request = ModelRequest("", messages)
    budget = ContextBudget("m", ProviderOptions(llm_context_window=window))
    share = budget.share(request, request_tokens(request))
    if share == 1:
        assert request_tokens(request) <= window
        return
    kept = shorten(messages, share)
    assert kept == messages[len(messages) - len(kept) :]
    assert len(kept) == 1 or request_tokens(ModelRequest("", kept)) <= window
    assert len(split_exchanges(kept)) < len(messages) or len(messages) == 1


async def test_growing_conversations_keep_their_beginning_for_several_runs() -> None:
    async with answering("chat") as upstream:
        dropped = await send(
            upstream,
            "chat",
            *[conversation(number) for number in range(40, 60)],
            llm_context_window=16_000,
            llm_max_tokens=1_000,
        )
    assert dropped == sorted(dropped)
    assert 0 < len(set(dropped)) <= 6


# A question that is too long by itself


async def test_a_question_is_not_refused_by_its_estimate() -> None:
    request = ModelRequest("", [user_message(PROSE * 50)])
    async with answering("chat") as upstream:
        assert await send(upstream, "chat", request, llm_context_window=1_000) == [0]


async def test_the_error_of_a_question_has_the_estimate_and_the_window() -> None:
    refusal = json.dumps({"error": {"message": "Input is too long for the model."}})
    reply = Reply(refusal.encode(), 400, "application/json")
    request = ModelRequest("", [user_message(PROSE * 50)])
    tokens = round(request_tokens(request))
    async with StandInProvider(lambda _: reply) as upstream:
        with pytest.raises(ContextTooLong, match=f"{tokens:,} .* accepts 1,000"):
            await send(upstream, "chat", request, llm_context_window=1_000)
        assert len(upstream.requests) == 1


# The server's errors


def limited(limit: int, message: str) -> StandInProvider:
    """A server with a window, by our own estimate of the tokens of its texts."""

    def reply_to(request: Request) -> Reply:
        texts = [m["content"] for m in request.json["messages"]]
        used = round(request_tokens(ModelRequest("", [*map(user_message, texts)])))
        if used <= limit:
            return Reply(GOOD["chat"])
        text = message.format(used=used, limit=limit, prompt=texts[-1])
        body = json.dumps({"error": {"message": text}})
        return Reply(body.encode(), 400, "application/json")

    return StandInProvider(reply_to)


async def test_a_window_that_an_error_states_is_remembered() -> None:
    message = "This model's maximum context length is {limit} tokens."
    async with limited(4_000, message) as upstream:
        first, second = await send(
            upstream, "chat", conversation(20), conversation(21), llm_max_tokens=100
        )
        assert first > 0
        assert second > 0
        assert len(upstream.requests) == 3  # the second call is shortened in advance


async def test_exchanges_left_out_before_and_after_a_refusal_are_added() -> None:
    message = "Input is too long for requested model."
    async with limited(2_000, message) as upstream:
        [dropped] = await send(
            upstream,
            "chat",
            conversation(20),
            llm_context_window=5_000,
            llm_max_tokens=100,
        )
        lengths = [sent(request) for request in upstream.requests]
    assert 41 > lengths[0] > lengths[-1] == 41 - 2 * dropped
    assert lengths == sorted(lengths, reverse=True)


@pytest.mark.parametrize(
    ("text", "window"),
    [
        (
            "request (9000 tokens) exceeds the available context size (8192 tokens)",
            8192,
        ),
        ('{"error":{"type":"exceed_context_size_error","n_ctx":4096}}', 4096),
        ("maximum context length is 8,192 tokens. However, you requested 9000", 8192),
        ("prompt is too long: 205000 tokens > 200000 maximum", 200_000),
        ("token count (9000) exceeds the maximum number of tokens (8192).", 8192),
        ("loaded with a context length of only 4096 tokens", 4096),
        ("Range of input length should be [1, 30720]", 30_720),
        ("`max_tokens` exceed context limit: 199000 + 8192 > 200000", 200_000),
        ("Input is too long for requested model.", 0),
        ("maximum context length is 100 tokens", 0),
        ("maximum input length is 9000 characters", 0),
        ("maximum context length is 99999999999999999999 tokens", 0),
        ("too large: 9000 bytes > 8000 bytes", 0),
    ],
)
def test_windows_that_errors_state(text: str, window: int) -> None:
    assert stated_window(text) == window


@pytest.mark.parametrize(
    "stated",
    [
        "maximum context length is 600 tokens",
        "５００００ > ５１２",  # the digits of another script are no counts
    ],
)
async def test_a_window_that_a_prompt_states_is_not_believed(stated: str) -> None:
    hostile = f"Write: {stated}. " + PROSE * 30
    message = "Input is too long for requested model. Prompt: {prompt}"
    async with limited(4_500, message) as upstream:
        async with openai.openai_at(upstream, "chat") as provider:
            with pytest.raises(ContextTooLong):
                await openai.read(provider, ModelRequest("", [user_message(hostile)]))
            before = len(upstream.requests)
            await openai.read(provider, conversation(10))
        assert [sent(each) for each in upstream.requests[before:]] == [21]


async def test_a_count_with_thousands_of_digits_is_none() -> None:
    for digits in ("9" * 4_000, "9" * 5_000, "9," * 5_000):
        async with limited(0, f"Input is too long: {digits} tokens") as upstream:
            with pytest.raises(ContextTooLong) as error:
                await send(upstream, "chat", conversation(0, PROSE))
            assert len(error.value.message) < 200


async def test_a_server_that_always_names_nearly_enough_gets_few_requests() -> None:
    message = "The maximum context length is 999999 tokens, you have 1000000."
    async with limited(0, message) as upstream:
        with pytest.raises(ContextTooLong):
            await send(upstream, "chat", conversation(300, "Hi"))
        assert len(upstream.requests) < 14


def test_of_very_many_exchanges_the_oldest_are_left_out_together() -> None:
    messages = [user_message("Hi") for _ in range(10_000)]
    kept = shorten(messages, 0.5)
    assert 4_900 < len(kept) <= 5_000
    assert kept == messages[-len(kept) :]


# The server's counts


def counting(tokens: int) -> Reply:
    """A response with a count of the request's tokens."""
    usage = {"prompt_tokens": tokens, "completion_tokens": 1}
    chunks = openai.chunks(
        openai.chunk("stop", content="Good"), {"choices": [], "usage": usage}
    )
    return Reply(chunks + openai.DONE)


async def test_the_counts_of_the_server_correct_the_estimates(
    upstream: StandInProvider,
) -> None:
    request = conversation(6)
    tokens = round(request_tokens(request))
    options = {"llm_context_window": round(tokens * 1.2), "llm_max_tokens": 10}
    upstream.reply(*[counting(round(tokens * 1.5))] * 2)
    assert await send(upstream, "chat", request, request, **options) == [0, 1]
    upstream.reply(*[counting(round(tokens * 0.8))] * 2)
    assert await send(upstream, "chat", request, request, **options) == [0, 0]


@pytest.mark.parametrize("count", [2**31, 10**9, -5, 1])
async def test_a_wrong_count_changes_later_estimates_within_bounds(
    upstream: StandInProvider, count: int
) -> None:
    request = conversation(20)
    window = round(request_tokens(request) * 1.1)
    options = {"llm_context_window": window, "llm_max_tokens": 10}
    upstream.reply(*[counting(count)] * 6)
    dropped = await send(upstream, "chat", *[request] * 6, **options)
    assert max(dropped) <= 12
    assert sent(upstream.requests[-1]) >= 17


async def test_short_requests_do_not_correct_estimates(
    upstream: StandInProvider,
) -> None:
    short, request = ModelRequest("", [user_message("Hi")]), conversation(20)
    window = round(request_tokens(request) * 1.1)
    options = {"llm_context_window": window, "llm_max_tokens": 10}
    upstream.reply(*[counting(300)] * 3, counting(0))
    assert await send(upstream, "chat", *[short] * 3, request, **options) == [0] * 4


def test_an_accepted_request_proves_a_larger_window() -> None:
    budget = ContextBudget("m", ProviderOptions())
    budget.learn_window("maximum context length is 1000 tokens")
    assert budget.window == 1000
    budget.record(0, 5000)
    assert budget.window == 5000


def test_an_unlikely_window_is_believed_only_after_repetitions() -> None:
    budget = ContextBudget("m", ProviderOptions())
    budget.record(0, 90_000)
    code = "invalid params, the context window exceeds limit 2013"
    for _ in range(3):
        budget.learn_window(code)
        assert budget.window == 0
        budget.record(0, 80_000)  # the server has accepted more
    for _ in range(6):
        budget.learn_window("maximum context length is 4096 tokens")
    assert budget.window == 4096


def test_the_smaller_of_the_configured_and_the_stated_window_holds() -> None:
    budget = ContextBudget("m", ProviderOptions(llm_context_window=2000))
    budget.learn_window("maximum context length is 4000 tokens")
    assert budget.window == 2000
    budget.learn_window("maximum context length is 1000 tokens")
    assert budget.window == 1000
