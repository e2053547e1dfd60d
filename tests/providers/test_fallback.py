"""Several models in the place of one: the first that is available answers."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager

import msgspec
import pytest

from bench.faults.waiting import until
from streaming.exceptions import (
    ContextTooLong,
    ProviderError,
    ProviderIncomplete,
    ProviderRateLimited,
    ProviderRefusedKey,
)
from streaming.providers import make_provider
from streaming.providers.base import (
    Delta,
    ExchangesDropped,
    ModelRequest,
    ModelSelected,
    Provider,
    ProviderOptions,
    TokenUsage,
)
from streaming.providers.fallback import FallbackProvider, for_run
from streaming.providers.openai.options import OpenAIOptions
from streaming.testing.provider import Reply, StandInProvider
from tests import chat
from tests.providers import anthropic_streams
from tests.providers.anthropic_streams import (
    OPENING,
    error,
    error_reply,
    joined,
    message,
    read,
    sse,
    start,
    text,
    text_block,
    tool_block,
)

OVERLOADED = error_reply(529, "overloaded_error")
ANTHROPIC = Reply(message(text_block(0, "From the first")))
OPENAI = chat.answer("From the second")


class Pair:
    """Two servers, each with one model, and a provider of both."""

    def __init__(self, first: StandInProvider, second: StandInProvider) -> None:
        self.first = first
        self.second = second
        self.provider: Provider = make_provider(
            anthropic_streams.options(first, llm_model="claude-first"),
            [openai_options(second)],
        )

    @property
    def requests(self) -> tuple[int, int]:
        """The number of requests that each server has received."""
        return len(self.first.requests), len(self.second.requests)


def openai_options(upstream: StandInProvider, **changed: object) -> ProviderOptions:
    given = {
        "llm_provider": "openai",
        "llm_model": "second",
        "openai_api": "chat",
        "openai_base_url": upstream.url,
        "openai_api_key": "sk-test",
        "llm_max_retries": 0,
        **changed,
    }
    return msgspec.convert(given, OpenAIOptions)


@asynccontextmanager
async def two() -> AsyncIterator[Pair]:
    async with StandInProvider() as first, StandInProvider() as second:
        pair = Pair(first, second)
        try:
            yield pair
        finally:
            await pair.provider.aclose()


def models_of(deltas: Sequence[Delta]) -> list[str]:
    return [delta.model for delta in deltas if isinstance(delta, ModelSelected)]


async def test_the_first_model_answers_while_it_is_available() -> None:
    async with two() as pair:
        pair.first.reply(ANTHROPIC)
        deltas = await read(pair.provider)
        assert text(deltas) == "From the first"
        assert models_of(deltas) == ["claude-first"]
        assert pair.requests == (1, 0)
        assert (pair.provider.name, pair.provider.model) == (
            "anthropic",
            "claude-first",
        )


@pytest.mark.parametrize(
    "failure",
    [
        OVERLOADED,
        error_reply(529, headers={"x-should-retry": "false"}),
        error_reply(500),
        error_reply(503),
        error_reply(504),
        error_reply(429, "rate_limit_error"),
        error_reply(429, "rate_limit_error", headers={"retry-after": "3600"}),
        error_reply(429, "insufficient_quota"),
        error_reply(402, "billing_error"),
        error_reply(401, "authentication_error"),
        error_reply(403, "permission_error"),
        error_reply(404, "not_found_error"),
        Reply(b"", end="cut"),
        Reply(sse(start()), end="reset"),
        Reply(sse(start(), error("overloaded_error"))),
    ],
)
async def test_the_next_model_answers_if_the_first_is_unavailable(
    failure: Reply,
) -> None:
    async with two() as pair:
        pair.first.reply(failure)
        pair.second.reply(OPENAI)
        deltas = await read(pair.provider)
        assert text(deltas) == "From the second"
        assert models_of(deltas) == ["claude-first", "second"]
        assert pair.requests == (1, 1)


async def test_a_server_that_cannot_be_reached_is_unavailable() -> None:
    async with StandInProvider() as second:
        async with StandInProvider() as first:
            pair = Pair(first, second)
        second.reply(OPENAI)
        assert text(await read(pair.provider)) == "From the second"
        await pair.provider.aclose()


async def test_a_server_that_does_not_answer_in_time_is_unavailable() -> None:
    async with StandInProvider() as first, StandInProvider() as second:
        options = anthropic_streams.options(first, llm_first_token_timeout_seconds=0.2)
        provider = make_provider(options, [openai_options(second)])
        first.reply(Reply(sse(start()), end="hang"))
        second.reply(OPENAI)
        async with aclosing(provider):
            assert text(await read(provider)) == "From the second"
            # On a busy machine the time may be over before the request is sent.
            await until(lambda: first.active == 0)


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (error_reply(400, "invalid_request_error"), ProviderError),
        (error_reply(413, "request_too_large"), ContextTooLong),
    ],
)
async def test_a_request_at_fault_is_sent_to_no_other_model(
    failure: Reply, expected: type[ProviderError]
) -> None:
    async with two() as pair:
        pair.first.reply(failure)
        with pytest.raises(expected):
            await read(pair.provider)
        assert pair.requests == (1, 0)


async def test_a_model_refuses_for_all() -> None:
    async with two() as pair:
        pair.first.reply(Reply(message(stop="refusal")))
        assert text(await read(pair.provider)) == ""
        assert pair.requests == (1, 0)


@pytest.mark.parametrize(
    "begun",
    [
        OPENING,
        # A tool call costs something before clients see any of it.
        sse(start(), *tool_block(0, "1", "weather", '{"ci', stopped=False)),
    ],
)
async def test_no_other_model_is_called_once_the_output_has_begun(begun: bytes) -> None:
    async with two() as pair:
        pair.first.reply(Reply(begun, end="cut"))
        with pytest.raises(ProviderIncomplete):
            await read(pair.provider)
        assert pair.requests == (1, 0)


async def test_a_model_is_left_after_its_own_retries() -> None:
    async with StandInProvider() as first, StandInProvider() as second:
        options = anthropic_streams.options(first, llm_max_retries=1)
        provider = make_provider(options, [openai_options(second)])
        first.reply(OVERLOADED, OVERLOADED)
        second.reply(OPENAI)
        assert text(await read(provider)) == "From the second"
        assert len(first.requests) == 2
        await provider.aclose()


async def test_the_error_is_one_after_which_the_request_may_succeed_later() -> None:
    async with two() as pair:
        pair.first.reply(error_reply(401, "authentication_error"), ANTHROPIC)
        pair.second.reply(Reply(b"{}", 429, "application/json"))
        with pytest.raises(ProviderRateLimited):
            await read(pair.provider)


async def test_the_error_is_that_of_the_first_model_if_all_are_permanent() -> None:
    async with two() as pair:
        pair.first.reply(error_reply(401, "authentication_error"))
        pair.second.reply(Reply(b"{}", 404, "application/json"))
        with pytest.raises(ProviderRefusedKey):
            await read(pair.provider)


async def test_the_usage_of_a_failed_model_counts() -> None:
    failed = Reply(sse(start(input_tokens=900), error("overloaded_error")))
    async with two() as pair:
        pair.first.reply(failed)
        pair.second.reply(OPENAI)
        response = joined(await read(pair.provider))
        assert response.usage == TokenUsage(input_tokens=10, output_tokens=5)
        [(model, usage)] = response.failed_usage
        assert model.model == "claude-first"
        assert usage == TokenUsage(input_tokens=900, output_tokens=1)


async def test_each_part_returns_to_the_model_that_it_came_from() -> None:
    thought = anthropic_streams.thinking_block(0, "hm", signature="signed")
    for opening, origin in ((ANTHROPIC, "claude-first"), (OVERLOADED, "second")):
        async with two() as pair:
            reply = opening
            if opening is ANTHROPIC:
                reply = Reply(message(thought, text_block(1, "Hi")))
            pair.first.reply(reply)
            pair.second.reply(Reply(chat.thoughts("hm") + chat.ending()))
            response = joined(await read(pair.provider))
            [*_, part] = [p for p in response.message.parts if hasattr(p, "origin")]
            assert part.origin.endswith(origin)


# One run


async def test_a_run_stays_with_the_model_that_answered() -> None:
    async with two() as pair:
        pair.first.reply(OVERLOADED, ANTHROPIC)
        pair.second.reply(OPENAI, OPENAI)
        assert isinstance(pair.provider, FallbackProvider)
        run = for_run(pair.provider)
        for _ in range(2):
            assert text(await read(run)) == "From the second"
            pair.provider.answered(0)  # meanwhile, in another run
        assert pair.requests == (1, 2)
        assert text(await read(for_run(pair.provider))) == "From the first"


async def test_a_run_leaves_a_model_that_fails_later() -> None:
    async with two() as pair:
        pair.first.reply(ANTHROPIC, OVERLOADED)
        pair.second.reply(OPENAI)
        run = for_run(pair.provider)
        assert text(await read(run)) == "From the first"
        assert text(await read(run)) == "From the second"


async def test_a_provider_of_one_model_is_itself() -> None:
    async with StandInProvider() as upstream:
        provider = make_provider(openai_options(upstream))
        assert not isinstance(provider, FallbackProvider)
        assert for_run(provider) is provider
        upstream.reply(OPENAI)
        assert models_of(await read(provider)) == []
        await provider.aclose()


# The memory of failures


async def test_another_run_does_not_wait_for_a_model_that_has_just_failed() -> None:
    async with two() as pair:
        pair.first.reply(OVERLOADED, ANTHROPIC)
        pair.second.reply(OPENAI, OPENAI)
        await read(for_run(pair.provider))
        deltas = await read(for_run(pair.provider))
        assert models_of(deltas) == ["second"]
        assert pair.requests == (1, 2)


async def test_a_model_that_has_failed_is_called_again_later() -> None:
    async with two() as pair:
        assert isinstance(pair.provider, FallbackProvider)
        provider = FallbackProvider(pair.provider.models, memory_seconds=0.0)
        pair.first.reply(OVERLOADED, ANTHROPIC)
        pair.second.reply(OPENAI)
        loop = asyncio.get_running_loop()
        started = loop.time()
        await read(for_run(provider))
        failed_in = loop.time() - started
        await asyncio.sleep(failed_in + 0.05)  # it counts for as long as it took
        assert text(await read(for_run(provider))) == "From the first"


async def test_a_model_that_has_failed_is_called_if_all_others_fail() -> None:
    async with two() as pair:
        pair.first.reply(OVERLOADED, ANTHROPIC)
        pair.second.reply(OPENAI, Reply(b"{}", 503, "application/json"))
        await read(for_run(pair.provider))
        deltas = await read(for_run(pair.provider))
        assert models_of(deltas) == ["second", "claude-first"]
        assert text(deltas) == "From the first"


async def test_the_server_says_how_long_it_is_unavailable() -> None:
    limited = error_reply(429, "rate_limit_error", headers={"retry-after": "31"})
    async with two() as pair:
        assert isinstance(pair.provider, FallbackProvider)
        provider = FallbackProvider(pair.provider.models, memory_seconds=0.0)
        pair.first.reply(limited, ANTHROPIC)
        pair.second.reply(OPENAI, OPENAI)
        await read(for_run(provider))
        await asyncio.sleep(0.05)
        assert text(await read(for_run(provider))) == "From the second"


# Cancellation and reports


async def test_a_cancelled_call_ends_at_the_model_that_is_called() -> None:
    async with two() as pair:
        pair.first.reply(OVERLOADED)
        pair.second.reply(Reply(chat.pieces("Hel"), end="hang"))
        task = asyncio.create_task(read(pair.provider))
        while not pair.second.requests:  # noqa: ASYNC110  (a server appends)
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(pair.second.gone.wait(), 10)


@pytest.mark.parametrize(
    ("failure", "level"),
    [
        (OVERLOADED, logging.WARNING),
        (error_reply(401, "authentication_error"), logging.ERROR),
        (error_reply(402, "billing_error"), logging.ERROR),
        (error_reply(404, "not_found_error"), logging.ERROR),
    ],
)
async def test_a_switch_is_logged(
    failure: Reply, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with two() as pair:
        pair.first.reply(failure)
        pair.second.reply(OPENAI)
        await read(pair.provider)
    records = [r for r in caplog.records if r.name == "streaming.providers.fallback"]
    unavailable, switched = records
    assert unavailable.levelno == level
    assert "model unavailable: anthropic claude-first" in unavailable.getMessage()
    assert switched.getMessage() == "model switched: openai second"
    assert "sk-ant-secret" not in caplog.text


async def test_each_request_is_in_the_form_of_its_server() -> None:
    async with two() as pair:
        pair.first.reply(OVERLOADED)
        pair.second.reply(OPENAI)
        request = ModelRequest("Be brief.", anthropic_streams.HELLO.messages)
        await read(pair.provider, request)
        assert pair.first.requests[0].json["system"][0]["text"] == "Be brief."
        assert pair.second.requests[0].json["messages"][0] == {
            "role": "system",
            "content": "Be brief.",
        }


async def test_a_configured_context_window_is_that_of_the_first_model() -> None:
    async with StandInProvider() as first, StandInProvider() as second:
        options = anthropic_streams.options(
            first, llm_model="claude-first", llm_context_window=100
        )
        provider = make_provider(
            options, [openai_options(second, llm_context_window=100)]
        )
        first.reply(OVERLOADED)
        second.reply(OPENAI)
        history = [
            msgspec.structs.replace(each)
            for _ in range(9)
            for each in anthropic_streams.HELLO.messages
        ]
        long = ModelRequest("Be brief. " * 20, history)
        deltas = await read(provider, long)
        assert any(isinstance(delta, ExchangesDropped) for delta in deltas)
        assert joined(deltas).dropped_exchanges == 0
        [_, question] = second.requests[0].json["messages"]
        assert question["content"].count("Hello") == len(history)
        await provider.aclose()
