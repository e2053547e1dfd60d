"""Deadlines and retries, with the Anthropic provider."""

import asyncio
import time

import pytest

from bench.faults.waiting import until
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
    OPENING,
    PING,
    STOP,
    anthropic_at,
    deltas_of,
    error,
    error_reply,
    joined,
    message,
    message_delta,
    read,
    sse,
    start,
    text,
    text_block,
    tool_block,
)

GOOD = Reply(message(text_block(0, "Hello")))
OVERLOADED = error_reply(529, "overloaded_error")


# Retries


@pytest.mark.parametrize(
    "failure",
    [
        OVERLOADED,
        error_reply(500),
        error_reply(429, "rate_limit_error"),
        Reply(b"", end="cut"),
        Reply(sse(start()), end="reset"),
        Reply(sse(start(), PING, error("overloaded_error"))),
        Reply(sse(start())),
    ],
)
async def test_a_transient_failure_before_the_first_output_is_hidden(
    upstream: StandInProvider, failure: Reply
) -> None:
    deltas = await deltas_of(upstream, failure, GOOD, llm_max_retries=2)
    assert text(deltas) == "Hello"
    assert len(upstream.requests) == 2
    assert upstream.requests[0].body == upstream.requests[1].body


async def test_a_failure_is_raised_once_the_retries_are_used_up(
    upstream: StandInProvider,
) -> None:
    with pytest.raises(ProviderError, match="overloaded"):
        await deltas_of(
            upstream, OVERLOADED, error_reply(500), OVERLOADED, llm_max_retries=2
        )
    assert len(upstream.requests) == 3


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (error_reply(400, "invalid_request_error"), ProviderError),
        (error_reply(401, "authentication_error"), ProviderRefusedKey),
        (error_reply(404, "not_found_error"), ProviderError),
        (error_reply(402, "billing_error"), ProviderRateLimited),
        (error_reply(429, "insufficient_quota"), ProviderRateLimited),
        (error_reply(529, headers={"x-should-retry": "false"}), ProviderError),
    ],
)
async def test_a_permanent_failure_is_raised_at_once(
    upstream: StandInProvider, failure: Reply, expected: type[ProviderError]
) -> None:
    with pytest.raises(expected):
        await deltas_of(upstream, failure, GOOD, llm_max_retries=2)
    assert len(upstream.requests) == 1


async def test_a_failure_after_the_first_output_is_raised(
    upstream: StandInProvider,
) -> None:
    broken = Reply(OPENING + sse(error("overloaded_error")))
    deltas: list[Delta] = []
    with pytest.raises(ProviderError, match="overloaded"):
        await deltas_of(upstream, broken, GOOD, into=deltas, llm_max_retries=2)
    assert text(deltas) == "Hel"
    assert len(upstream.requests) == 1


async def test_usage_is_that_of_the_successful_request(
    upstream: StandInProvider,
) -> None:
    failed = Reply(sse(start(input_tokens=999), error("overloaded_error")))
    deltas = await deltas_of(upstream, failed, GOOD, llm_max_retries=1)
    assert joined(deltas).usage == TokenUsage(input_tokens=10, output_tokens=5)


async def test_the_provider_determines_the_wait(upstream: StandInProvider) -> None:
    limited = error_reply(429, "rate_limit_error", headers={"retry-after": "1"})
    started = time.monotonic()
    assert text(await deltas_of(upstream, limited, GOOD, llm_max_retries=1)) == "Hello"
    assert time.monotonic() - started >= 1.0


async def test_a_long_wait_is_raised_instead(
    upstream: StandInProvider,
) -> None:
    limited = error_reply(429, "rate_limit_error", headers={"retry-after": "31"})
    with pytest.raises(ProviderRateLimited) as failure:
        await deltas_of(upstream, limited, GOOD, llm_max_retries=2)
    assert failure.value.retry_after == 31.0
    assert len(upstream.requests) == 1


async def test_cancelling_between_two_requests_ends_the_call(
    upstream: StandInProvider,
) -> None:
    upstream.reply(
        error_reply(429, "rate_limit_error", headers={"retry-after": "20"}), GOOD
    )
    async with anthropic_at(upstream, llm_max_retries=1) as provider:
        reading = asyncio.create_task(read(provider))
        async with asyncio.timeout(20):
            while not upstream.requests:  # noqa: ASYNC110  (a server appends)
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)  # the provider waits for the second request
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    assert len(upstream.requests) == 1


# Deadlines


@pytest.mark.parametrize("opening", [b"", sse(start(), PING)])
async def test_a_missing_first_output_is_a_timeout(
    upstream: StandInProvider, opening: bytes
) -> None:
    with pytest.raises(ProviderTimeout):
        await deltas_of(
            upstream, Reply(opening, end="hang"), llm_first_token_timeout_seconds=0.2
        )
    # On a busy machine the time may be over before the request is sent.
    await until(lambda: upstream.active == 0)


async def test_pings_are_not_output(upstream: StandInProvider) -> None:
    pings = sse(start(), *[PING] * 100)
    reply = Reply(pings, chunk_size=len(sse(PING)), delay=0.02)
    with pytest.raises(ProviderTimeout):
        await deltas_of(upstream, reply, llm_first_token_timeout_seconds=0.3)


async def test_a_timeout_before_the_first_output_is_retried(
    upstream: StandInProvider,
) -> None:
    silent = Reply(b"", end="hang")
    deltas = await deltas_of(
        upstream, silent, GOOD, llm_first_token_timeout_seconds=1.0, llm_max_retries=1
    )
    assert text(deltas) == "Hello"


async def test_silence_after_the_first_output_is_a_timeout(
    upstream: StandInProvider,
) -> None:
    deltas: list[Delta] = []
    with pytest.raises(ProviderTimeout):
        await deltas_of(
            upstream,
            Reply(OPENING, end="hang"),
            GOOD,
            into=deltas,
            llm_silence_timeout_seconds=0.2,
        )
    assert text(deltas) == "Hel"
    assert len(upstream.requests) == 1
    await asyncio.wait_for(upstream.gone.wait(), 10)


async def test_a_long_tool_call_is_not_silence(upstream: StandInProvider) -> None:
    pieces = ['{"city": "', *["o"] * 20, '"}']
    call = tool_block(1, "toolu_1", "weather", *pieces)
    head = sse(start(), *text_block(0, "Hi"), *call[:1])
    rest = [sse(event) for event in [*call[1:], message_delta("tool_use"), STOP]]
    cuts = [len(head) + sum(map(len, rest[:i])) for i in range(len(rest))]
    slow = Reply(head + b"".join(rest), cuts=cuts, delay=0.06)
    started = time.monotonic()
    deltas = await deltas_of(upstream, slow, llm_silence_timeout_seconds=0.7)
    assert time.monotonic() - started > 1.0
    assert [call.name for call in joined(deltas).message.tool_calls] == ["weather"]


async def test_a_slow_consumer_is_not_silence(
    upstream: StandInProvider,
) -> None:
    body = message(text_block(0, "Hel", "lo"))
    cut = body.index(b"\n\n", body.index(b"Hel")) + 2
    upstream.reply(Reply(body, cuts=[cut], delay=1.2))
    deltas: list[Delta] = []
    # The second part comes 1.2 s after the first: 0.9 s of it the consumer takes and
    # 0.3 s are silence. The consumer takes longer than the limit over the second.
    takes = iter([0.9, 1.1])
    async with anthropic_at(upstream, llm_silence_timeout_seconds=1.0) as provider:
        async for batch in provider.stream(HELLO):
            deltas += batch
            await asyncio.sleep(next(takes, 0))
    assert text(deltas) == "Hello"


async def test_pings_are_not_passed_on(upstream: StandInProvider) -> None:
    body = sse(PING) + message([PING, PING], text_block(0, "a", "b"), [PING])
    upstream.reply(Reply(body, chunk_size=50, delay=1e-6))
    async with anthropic_at(upstream) as provider:
        assert all([batch async for batch in provider.stream(HELLO)])


async def test_a_broken_connection_after_the_first_output_is_incomplete(
    upstream: StandInProvider,
) -> None:
    with pytest.raises(ProviderIncomplete):
        await deltas_of(upstream, Reply(OPENING, end="cut"), GOOD, llm_max_retries=2)
    assert len(upstream.requests) == 1


async def test_the_provider_of_each_vendor_is_retried() -> None:
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
