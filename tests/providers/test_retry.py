"""Deadlines and retries, seen on the Anthropic provider as the agent gets it."""

import asyncio
import json
import time
from collections.abc import Mapping

import pytest

from streaming.exceptions import (
    ProviderError,
    ProviderIncomplete,
    ProviderRateLimited,
    ProviderRefusedKey,
    ProviderTimeout,
)
from streaming.providers import make_provider
from streaming.providers.anthropic.options import AnthropicOptions
from streaming.providers.base import Delta, TokenUsage
from streaming.providers.openai.options import OpenAIOptions
from streaming.providers.retry import RetryingProvider
from streaming.testing.provider import Reply, StandInProvider
from tests.providers.anthropic_streams import (
    HELLO,
    PING,
    STOP,
    answer,
    anthropic_at,
    error,
    message,
    message_delta,
    read,
    sse,
    start,
    text,
    text_block,
    tool_block,
    turn,
)

GOOD = Reply(message(text_block(0, "Hello")))
BEGUN = sse(start(), *text_block(0, "Hel"))


def failing(
    status: int, kind: str = "api_error", headers: Mapping[str, str] | None = None
) -> Reply:
    body = json.dumps({"type": "error", "error": {"type": kind}}).encode()
    return Reply(body, status, "application/json", headers or {})


OVERLOADED = failing(529, "overloaded_error")


# Retries


@pytest.mark.parametrize(
    "failure",
    [
        OVERLOADED,
        failing(500),
        failing(429, "rate_limit_error"),
        Reply(b"", end="cut"),
        Reply(sse(start()), end="reset"),
        Reply(sse(start(), PING, error("overloaded_error"))),
        Reply(sse(start())),
    ],
)
async def test_a_passing_failure_before_the_first_word_is_not_seen(
    upstream: StandInProvider, failure: Reply
) -> None:
    deltas = await answer(upstream, failure, GOOD, llm_max_retries=2)
    assert text(deltas) == "Hello"
    assert len(upstream.requests) == 2
    assert upstream.requests[0].body == upstream.requests[1].body


async def test_it_is_told_once_the_retries_are_used_up(
    upstream: StandInProvider,
) -> None:
    with pytest.raises(ProviderError, match="overloaded"):
        await answer(upstream, OVERLOADED, failing(500), OVERLOADED, llm_max_retries=2)
    assert len(upstream.requests) == 3


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (failing(400, "invalid_request_error"), ProviderError),
        (failing(401, "authentication_error"), ProviderRefusedKey),
        (failing(404, "not_found_error"), ProviderError),
        (failing(402, "billing_error"), ProviderRateLimited),
        (failing(429, "insufficient_quota"), ProviderRateLimited),
        (failing(529, headers={"x-should-retry": "false"}), ProviderError),
    ],
)
async def test_a_lasting_failure_is_told_at_once(
    upstream: StandInProvider, failure: Reply, expected: type[ProviderError]
) -> None:
    with pytest.raises(expected):
        await answer(upstream, failure, GOOD, llm_max_retries=2)
    assert len(upstream.requests) == 1


async def test_a_failure_after_the_first_word_is_told(
    upstream: StandInProvider,
) -> None:
    broken = Reply(BEGUN + sse(error("overloaded_error")))
    said: list[Delta] = []
    with pytest.raises(ProviderError, match="overloaded"):
        await answer(upstream, broken, GOOD, into=said, llm_max_retries=2)
    assert text(said) == "Hel"
    assert len(upstream.requests) == 1


async def test_usage_is_that_of_the_attempt_that_answered(
    upstream: StandInProvider,
) -> None:
    failed = Reply(sse(start(input_tokens=999), error("overloaded_error")))
    deltas = await answer(upstream, failed, GOOD, llm_max_retries=1)
    assert turn(deltas).usage == TokenUsage(input_tokens=10, output_tokens=5)


async def test_the_provider_says_how_long_to_wait(upstream: StandInProvider) -> None:
    limited = failing(429, "rate_limit_error", {"retry-after": "1"})
    began = time.monotonic()
    assert text(await answer(upstream, limited, GOOD, llm_max_retries=1)) == "Hello"
    assert time.monotonic() - began >= 1.0


async def test_whom_it_asks_to_wait_for_long_is_told_so(
    upstream: StandInProvider,
) -> None:
    limited = failing(429, "rate_limit_error", {"retry-after": "31"})
    with pytest.raises(ProviderRateLimited) as failure:
        await answer(upstream, limited, GOOD, llm_max_retries=2)
    assert failure.value.retry_after == 31.0
    assert len(upstream.requests) == 1


async def test_cancelling_between_two_attempts_ends_it(
    upstream: StandInProvider,
) -> None:
    upstream.reply(failing(429, "rate_limit_error", {"retry-after": "20"}), GOOD)
    async with anthropic_at(upstream, llm_max_retries=1) as provider:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await read(provider)
    assert len(upstream.requests) == 1


# Deadlines


@pytest.mark.parametrize("begun", [b"", sse(start(), PING)])
async def test_a_first_word_that_never_comes_is_a_timeout(
    upstream: StandInProvider, begun: bytes
) -> None:
    with pytest.raises(ProviderTimeout):
        await answer(
            upstream, Reply(begun, end="hang"), llm_first_token_timeout_seconds=0.2
        )
    await asyncio.wait_for(upstream.gone.wait(), 1.0)


async def test_signs_of_life_are_no_first_word(upstream: StandInProvider) -> None:
    pings = sse(start(), *[PING] * 100)
    reply = Reply(pings, chunk_size=len(sse(PING)), delay=0.02)
    with pytest.raises(ProviderTimeout):
        await answer(upstream, reply, llm_first_token_timeout_seconds=0.3)


async def test_a_timeout_before_the_first_word_is_tried_again(
    upstream: StandInProvider,
) -> None:
    silent = Reply(b"", end="hang")
    deltas = await answer(
        upstream, silent, GOOD, llm_first_token_timeout_seconds=1.0, llm_max_retries=1
    )
    assert text(deltas) == "Hello"


async def test_silence_after_the_first_word_is_a_timeout(
    upstream: StandInProvider,
) -> None:
    said: list[Delta] = []
    with pytest.raises(ProviderTimeout):
        await answer(
            upstream,
            Reply(BEGUN, end="hang"),
            GOOD,
            into=said,
            llm_silence_timeout_seconds=0.2,
        )
    assert text(said) == "Hel"
    assert len(upstream.requests) == 1
    await asyncio.wait_for(upstream.gone.wait(), 1.0)


async def test_a_long_tool_call_is_no_silence(upstream: StandInProvider) -> None:
    pieces = ['{"city": "', *["o"] * 20, '"}']
    call = tool_block(1, "toolu_1", "weather", *pieces)
    head = sse(start(), *text_block(0, "Hi"), *call[:1])
    rest = [sse(event) for event in [*call[1:], message_delta("tool_use"), STOP]]
    cuts = [len(head) + sum(map(len, rest[:i])) for i in range(len(rest))]
    slow = Reply(head + b"".join(rest), cuts=cuts, delay=0.06)
    began = time.monotonic()
    deltas = await answer(upstream, slow, llm_silence_timeout_seconds=0.7)
    assert time.monotonic() - began > 1.0
    assert [call.name for call in turn(deltas).message.tool_calls] == ["weather"]


async def test_who_takes_long_over_a_batch_is_no_silence(
    upstream: StandInProvider,
) -> None:
    body = message(text_block(0, "Hel", "lo"))
    cut = body.index(b"\n\n", body.index(b"Hel")) + 2
    upstream.reply(Reply(body, cuts=[cut], delay=0.6))
    said: list[Delta] = []
    # Of the 0.6 s between the two parts 0.2 are silence; and over the second goes more
    # time than the limit.
    takes = iter([0.4, 0.7])
    async with anthropic_at(upstream, llm_silence_timeout_seconds=0.5) as provider:
        async for batch in provider.stream(HELLO):
            said += batch
            await asyncio.sleep(next(takes, 0))
    assert text(said) == "Hello"


async def test_signs_of_life_are_not_passed_on(upstream: StandInProvider) -> None:
    body = sse(PING) + message([PING, PING], text_block(0, "a", "b"), [PING])
    upstream.reply(Reply(body, chunk_size=50, delay=1e-6))
    async with anthropic_at(upstream) as provider:
        assert all([batch async for batch in provider.stream(HELLO)])


async def test_a_broken_connection_after_the_first_word_is_incomplete(
    upstream: StandInProvider,
) -> None:
    with pytest.raises(ProviderIncomplete):
        await answer(upstream, Reply(BEGUN, end="cut"), GOOD, llm_max_retries=2)
    assert len(upstream.requests) == 1


async def test_every_vendor_gets_patience() -> None:
    for options in (
        AnthropicOptions(
            llm_provider="anthropic", anthropic_api_key="key", llm_model="claude-opus-5"
        ),
        OpenAIOptions(llm_provider="openai", openai_api_key="key", llm_model="gpt-5.5"),
    ):
        provider = make_provider(options)
        assert isinstance(provider, RetryingProvider)
        assert (provider.name, provider.model) == (
            options.llm_provider,
            options.llm_model,
        )
        await provider.aclose()
