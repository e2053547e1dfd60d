"""Failures at OpenAI's HTTP edge: error responses, silent streams, disconnects."""

import asyncio
import json
from collections.abc import Mapping

import pytest

from streaming.exceptions import (
    ContextTooLong,
    ProviderError,
    ProviderIncomplete,
    ProviderRateLimited,
    ProviderRefusedKey,
    ProviderTimeout,
)
from streaming.providers.base import Delta, ResponseEnd, TextDelta
from streaming.testing.provider import Reply, StandInProvider
from tests.providers.openai_streams import (
    DONE,
    HELLO,
    Api,
    chunk,
    chunks,
    deltas_of,
    ended,
    events,
    openai_at,
    read,
    text,
    text_deltas,
)

APIS: list[Api] = ["responses", "chat"]
OPENING = {
    "responses": events(*text_deltas("Hel")),
    "chat": chunks(chunk(content="Hel")),
}
REST = {
    "responses": events(*text_deltas("lo"), ended()),
    "chat": chunks(chunk("stop", content="lo")) + DONE,
}


def error_reply(
    status: int, error: object, headers: Mapping[str, str] | None = None
) -> Reply:
    body = json.dumps({"error": error}).encode()
    return Reply(body, status, "application/json", headers or {})


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(
    ("status", "code", "kind", "retryable"),
    [
        (400, "context_length_exceeded", ContextTooLong, False),
        (401, "invalid_api_key", ProviderRefusedKey, False),
        (404, "model_not_found", ProviderError, False),
        (429, "rate_limit_exceeded", ProviderRateLimited, True),
        (429, "insufficient_quota", ProviderRateLimited, False),
        (500, "server_error", ProviderError, True),
        (503, None, ProviderError, True),
    ],
)
async def test_an_error_response_is_mapped_without_its_text(
    upstream: StandInProvider,
    api: Api,
    status: int,
    code: str | None,
    kind: type[ProviderError],
    retryable: bool,
) -> None:
    reply = error_reply(status, {"code": code, "message": "secret sk-123"})
    with pytest.raises(kind) as caught:
        await deltas_of(upstream, api, reply)
    assert caught.value.retryable is retryable
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("body", [b"", b"<html>Bad gateway</html>", b"[]", b"null"])
async def test_an_error_response_need_not_be_json(
    upstream: StandInProvider, body: bytes
) -> None:
    with pytest.raises(ProviderError) as caught:
        await deltas_of(upstream, "chat", Reply(body, 502, "text/html"))
    assert caught.value.retryable


async def test_the_sdk_itself_does_not_retry(upstream: StandInProvider) -> None:
    reply = error_reply(429, {"message": "m"}, {"retry-after": "7"})
    with pytest.raises(ProviderRateLimited) as caught:
        await deltas_of(upstream, "chat", reply)
    assert caught.value.retry_after == 7
    assert len(upstream.requests) == 1


async def test_a_missing_server_is_mapped(
    upstream: StandInProvider,
) -> None:
    async with openai_at(
        upstream, "chat", openai_base_url="http://127.0.0.1:9/v1"
    ) as server:
        with pytest.raises(ProviderError) as caught:
            await read(server)
    assert caught.value.retryable


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(
    ("end", "kind"),
    [
        ("close", ProviderIncomplete),
        ("cut", ProviderIncomplete),
        ("reset", ProviderIncomplete),
        ("hang", ProviderTimeout),
    ],
)
async def test_a_stream_that_is_cut_off_fails_after_its_deltas(
    upstream: StandInProvider, api: Api, end: str, kind: type[ProviderError]
) -> None:
    upstream.reply(Reply(OPENING[api], end=end))  # type: ignore[arg-type]
    deltas: list[Delta] = []
    patience = {
        "llm_first_token_timeout_seconds": 0.3,
        "llm_silence_timeout_seconds": 0.3,
    }
    async with openai_at(upstream, api, **patience) as provider:
        with pytest.raises(kind) as caught:
            async for batch in provider.stream(HELLO):
                deltas.extend(batch)
    assert deltas == [TextDelta("Hel")]
    assert caught.value.retryable


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("end", ["cut", "reset", "hang"])
async def test_failures_after_the_end_are_ignored(
    upstream: StandInProvider, api: Api, end: str
) -> None:
    reply = Reply(OPENING[api] + REST[api], end=end)  # type: ignore[arg-type]
    deltas = await deltas_of(upstream, api, reply)
    assert deltas[-1] == ResponseEnd("end_turn")


@pytest.mark.parametrize("api", APIS)
async def test_closing_the_stream_closes_the_connection(
    upstream: StandInProvider, api: Api
) -> None:
    upstream.reply(Reply(OPENING[api], end="hang"))
    async with openai_at(upstream, api) as provider:
        batches = provider.stream(HELLO)
        assert await anext(batches) == [TextDelta("Hel")]
        await batches.aclose()
        await asyncio.wait_for(upstream.gone.wait(), 10)


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("is_opened", [True, False])
async def test_cancelling_the_reader_closes_the_connection(
    upstream: StandInProvider, api: Api, is_opened: bool
) -> None:
    upstream.reply(Reply(OPENING[api] if is_opened else b"", end="hang"))
    async with openai_at(upstream, api) as provider:
        reader = asyncio.create_task(read(provider))
        while not upstream.requests:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        reader.cancel()
        await asyncio.wait_for(upstream.gone.wait(), 10)
        with pytest.raises(asyncio.CancelledError):
            await reader


@pytest.mark.parametrize("api", APIS)
async def test_the_calls_of_a_loop_share_a_connection(
    upstream: StandInProvider, api: Api
) -> None:
    upstream.reply(Reply(OPENING[api] + REST[api]), Reply(OPENING[api] + REST[api]))
    async with openai_at(upstream, api) as provider:
        assert [text(await read(provider)) for _ in range(2)] == ["Hello", "Hello"]
    assert upstream.connections == 1


@pytest.mark.parametrize("api", APIS)
async def test_many_runs_use_one_provider_at_once(
    upstream: StandInProvider, api: Api
) -> None:
    reply = Reply(OPENING[api] + REST[api], chunk_size=20, delay=0.005)
    upstream.reply(*[reply] * 20)
    async with openai_at(upstream, api) as provider:
        answers = await asyncio.gather(*(read(provider) for _ in range(20)))
    assert {text(deltas) for deltas in answers} == {"Hello"}
