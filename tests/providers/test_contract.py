"""The contract of the port `Provider`, which each registered provider fulfils."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any, Literal, NamedTuple, get_args

import pytest

from streaming.exceptions import ProviderError, ProviderIncomplete
from streaming.messages import user_message
from streaming.options import build
from streaming.providers import make_provider
from streaming.providers.base import (
    Delta,
    ModelRequest,
    Provider,
    ResponseEnd,
    TextDelta,
)
from streaming.providers.registry import PROVIDERS
from streaming.testing.provider import Reply, StandInProvider
from tests.providers import anthropic_streams as anthropic
from tests.providers import openai_streams as openai

REQUEST = ModelRequest(system="Be brief.", messages=[user_message("say 5 words")])


class Case(NamedTuple):
    """A provider, and a response of its server: the beginning, and the rest."""

    provider: str
    opening: bytes = b""
    rest: bytes = b""
    settings: dict[str, Any] = {}

    @property
    def whole(self) -> Reply:
        return Reply(self.opening + self.rest)


ANTHROPIC = Case(
    "anthropic",
    anthropic.sse(anthropic.start(), *anthropic.text_block(0, "Hello")),
    anthropic.sse(anthropic.message_delta(), anthropic.STOP),
)
CHAT = Case(
    "openai",
    openai.chunks(openai.chunk(content="Hello")),
    openai.chunks(openai.chunk("stop")) + openai.DONE,
    {"OPENAI_API": "chat"},
)
RESPONSES = Case(
    "openai",
    openai.events(*openai.text_deltas("Hello")),
    openai.events(openai.ended()),
    {"OPENAI_API": "responses"},
)
DEMO = Case("demo", settings={"DEMO_DELAY_MS": 1.0})

REMOTE = {"anthropic": ANTHROPIC, "openai-chat": CHAT, "openai-responses": RESPONSES}
CASES = {**REMOTE, "demo": DEMO}


each_provider = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
each_remote_provider = pytest.mark.parametrize("case", REMOTE.values(), ids=REMOTE)


@asynccontextmanager
async def provider_of(case: Case, upstream: StandInProvider) -> AsyncIterator[Provider]:
    """Make the provider of a case, whose server is the stand-in."""
    prefix = case.provider.upper()
    values = {
        "LLM_PROVIDER": case.provider,
        "LLM_MAX_RETRIES": 0,
        f"{prefix}_API_KEY": "sk-secret",
        f"{prefix}_BASE_URL": upstream.url,
        **case.settings,
    }
    provider = make_provider(build(PROVIDERS[case.provider].options, values))
    try:
        yield provider
    finally:
        await provider.aclose()


async def read(provider: Provider) -> list[Delta]:
    """Read one response to its end."""
    async with aclosing(provider.stream(REQUEST)) as batches:
        return [delta async for batch in batches for delta in batch]


def test_each_registered_provider_is_tested() -> None:
    assert {case.provider for case in CASES.values()} == PROVIDERS.keys()


@each_provider
async def test_a_response_ends_with_exactly_one_response_end(
    upstream: StandInProvider, case: Case
) -> None:
    upstream.reply(case.whole)
    async with provider_of(case, upstream) as provider:
        deltas = await read(provider)
    assert deltas[-1] == ResponseEnd("end_turn")
    assert not any(isinstance(delta, ResponseEnd) for delta in deltas[:-1])
    assert any(isinstance(delta, TextDelta) for delta in deltas)
    assert all(isinstance(delta, get_args(Delta)) for delta in deltas)


@each_provider
async def test_one_provider_serves_many_runs_at_once(
    upstream: StandInProvider, case: Case
) -> None:
    upstream.reply(*[case.whole] * 5)
    async with provider_of(case, upstream) as provider:
        responses = await asyncio.gather(*[read(provider) for _ in range(5)])
    assert all(response == responses[0] for response in responses)


@each_provider
async def test_a_provider_has_the_name_of_its_registration_and_a_model(
    upstream: StandInProvider, case: Case
) -> None:
    async with provider_of(case, upstream) as provider:
        assert provider.name == case.provider
        assert provider.model


@each_provider
async def test_closing_the_generator_closes_the_connection(
    upstream: StandInProvider, case: Case
) -> None:
    upstream.reply(Reply(case.opening, end="hang"))
    async with provider_of(case, upstream) as provider:
        batches = provider.stream(REQUEST)
        await anext(batches)
        await asyncio.wait_for(batches.aclose(), 10)
        if case.provider != "demo":
            await asyncio.wait_for(upstream.gone.wait(), 10)


@each_provider
async def test_cancelling_the_reading_task_closes_the_connection(
    upstream: StandInProvider, case: Case
) -> None:
    upstream.reply(Reply(case.opening, end="hang"))
    opened = asyncio.Event()

    async def consume(provider: Provider) -> None:
        async with aclosing(provider.stream(REQUEST)) as batches:
            async for _ in batches:
                opened.set()

    async with provider_of(case, upstream) as provider:
        task = asyncio.create_task(consume(provider))
        await asyncio.wait_for(opened.wait(), 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 10)
        if case.provider != "demo":
            await asyncio.wait_for(upstream.gone.wait(), 10)


@pytest.mark.parametrize("end", ["close", "cut", "reset"])
@each_remote_provider
async def test_a_response_without_its_terminal_event_is_incomplete(
    upstream: StandInProvider, case: Case, end: Literal["close", "cut", "reset"]
) -> None:
    upstream.reply(Reply(case.opening, end=end))
    async with provider_of(case, upstream) as provider:
        with pytest.raises(ProviderIncomplete):
            await read(provider)


@each_remote_provider
async def test_an_error_of_the_server_does_not_show_its_body_or_the_key(
    upstream: StandInProvider, case: Case
) -> None:
    upstream.reply(Reply(b'{"error": {"message": "hidden"}}', 500, "application/json"))
    async with provider_of(case, upstream) as provider:
        with pytest.raises(ProviderError) as failure:
            await read(provider)
    assert "hidden" not in failure.value.message
    assert "sk-secret" not in failure.value.message


@each_remote_provider
async def test_the_key_is_sent_and_the_request_goes_to_the_base_url(
    upstream: StandInProvider, case: Case
) -> None:
    upstream.reply(case.whole)
    async with provider_of(case, upstream) as provider:
        await read(provider)
    [request] = upstream.requests
    assert "sk-secret" in str(request.headers)
    assert request.json["model"] == provider.model
