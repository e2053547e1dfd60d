"""Failures of the Messages API: error responses, broken streams, disconnects."""

import asyncio
import logging

import pytest

from streaming.exceptions import (
    ContextTooLong,
    ProviderError,
    ProviderIncomplete,
    ProviderRateLimited,
    ProviderRefusedKey,
    ProviderTimeout,
)
from streaming.providers.anthropic.options import AnthropicOptions
from streaming.providers.base import Delta
from streaming.testing.provider import Reply, StandInProvider
from tests.providers.anthropic_streams import (
    HELLO,
    OPENING,
    STOP,
    Event,
    anthropic_at,
    deltas_of,
    error,
    error_reply,
    message,
    message_delta,
    read,
    sse,
    start,
    text,
    text_block,
    tool_block,
)


@pytest.mark.parametrize(
    ("status", "kind", "expected", "retryable"),
    [
        (400, "invalid_request_error", ProviderError, False),
        (401, "authentication_error", ProviderRefusedKey, False),
        (402, "billing_error", ProviderRateLimited, False),
        (403, "permission_error", ProviderRefusedKey, False),
        (404, "not_found_error", ProviderError, False),
        (408, "timeout_error", ProviderTimeout, True),
        (409, "conflict_error", ProviderError, True),
        (413, "request_too_large", ContextTooLong, False),
        (422, "invalid_request_error", ProviderError, False),
        (429, "rate_limit_error", ProviderRateLimited, True),
        (500, "api_error", ProviderError, True),
        (503, "api_error", ProviderError, True),
        (504, "timeout_error", ProviderTimeout, True),
        (529, "overloaded_error", ProviderError, True),
    ],
)
async def test_an_error_response_is_mapped_and_quotes_nothing(
    upstream: StandInProvider,
    caplog: pytest.LogCaptureFixture,
    status: int,
    kind: str,
    expected: type[ProviderError],
    retryable: bool,
) -> None:
    with (
        caplog.at_level(logging.INFO, "streaming"),
        pytest.raises(ProviderError) as failure,
    ):
        await deltas_of(upstream, error_reply(status, kind))
    assert type(failure.value) is expected
    assert failure.value.retryable is retryable
    assert "secret" not in failure.value.message + caplog.text
    assert "divorce" not in failure.value.message + caplog.text
    assert "example.com" not in failure.value.message + caplog.text
    assert str(status) in caplog.text


async def test_a_spend_limit_is_not_a_retryable_rate_limit(
    upstream: StandInProvider,
) -> None:
    spent = {"error_code": "enforced_spend_limit_reached"}
    reply = error_reply(429, "rate_limit_error", details=spent)
    with pytest.raises(ProviderRateLimited, match="used up") as failure:
        await deltas_of(upstream, reply)
    assert not failure.value.retryable


async def test_a_conversation_that_is_too_long_is_reported_as_such(
    upstream: StandInProvider,
) -> None:
    message = "prompt is too long: 1000001 tokens > 1000000 maximum"
    counts = "1,000,001 tokens, and the model accepts 1,000,000"
    with pytest.raises(ContextTooLong, match=counts):
        await deltas_of(
            upstream, error_reply(400, "invalid_request_error", message=message)
        )


@pytest.mark.parametrize("body", [b"", b"<html>Bad gateway</html>", b"[1]", b'"x"'])
async def test_an_error_response_may_have_any_body(
    upstream: StandInProvider, body: bytes
) -> None:
    with pytest.raises(ProviderError) as failure:
        await deltas_of(upstream, Reply(body, 502, "text/html"))
    assert failure.value.retryable


@pytest.mark.parametrize(
    ("kind", "expected", "retryable"),
    [
        ("overloaded_error", ProviderError, True),
        ("api_error", ProviderError, True),
        ("an_error_of_the_future", ProviderError, True),
        ("rate_limit_error", ProviderRateLimited, True),
        ("billing_error", ProviderRateLimited, False),
        ("authentication_error", ProviderRefusedKey, False),
        ("permission_error", ProviderRefusedKey, False),
        ("invalid_request_error", ProviderError, False),
        ("not_found_error", ProviderError, False),
        ("timeout_error", ProviderTimeout, True),
    ],
)
async def test_an_error_event_has_its_type_and_keeps_earlier_text(
    upstream: StandInProvider, kind: str, expected: type[ProviderError], retryable: bool
) -> None:
    deltas: list[Delta] = []
    with pytest.raises(ProviderError) as failure:
        await deltas_of(upstream, Reply(OPENING + sse(error(kind))), into=deltas)
    assert text(deltas) == "Hel"
    assert type(failure.value) is expected
    assert failure.value.retryable is retryable
    assert "secret" not in failure.value.message


@pytest.mark.parametrize("event", [{"type": "error"}, {"type": "error", "error": "?"}])
async def test_an_error_event_may_lack_its_fields(
    upstream: StandInProvider, event: Event
) -> None:
    with pytest.raises(ProviderError) as failure:
        await deltas_of(upstream, Reply(sse(start(), event)))
    assert failure.value.retryable


@pytest.mark.parametrize("end", ["cut", "reset"])
async def test_a_connection_that_breaks_in_mid_stream_is_incomplete(
    upstream: StandInProvider, end: str
) -> None:
    deltas: list[Delta] = []
    reply = Reply(OPENING, end="cut" if end == "cut" else "reset", delay=0.02)
    with pytest.raises(ProviderIncomplete):
        await deltas_of(upstream, reply, into=deltas)
    assert text(deltas) == "Hel"


async def test_a_stream_cut_in_a_tool_call_never_yields_it(
    upstream: StandInProvider,
) -> None:
    opening = tool_block(0, "toolu_1", "weather", '{"city": "K', stopped=False)
    deltas: list[Delta] = []
    with pytest.raises(ProviderIncomplete):
        await deltas_of(upstream, Reply(sse(start(), *opening), end="cut"), into=deltas)
    assert not [delta for delta in deltas if "ToolCall" in type(delta).__name__]


@pytest.mark.parametrize("content_type", ["application/json", "text/html"])
async def test_a_response_that_is_not_a_stream_is_incomplete(
    upstream: StandInProvider, content_type: str
) -> None:
    reply = Reply(b'{"type": "message"}', content_type=content_type)
    with pytest.raises(ProviderIncomplete):
        await deltas_of(upstream, reply)


async def test_invalid_compression_is_an_unreadable_response(
    upstream: StandInProvider,
) -> None:
    reply = Reply(OPENING, headers={"content-encoding": "gzip"})
    with pytest.raises(ProviderError, match="cannot be read") as failure:
        await deltas_of(upstream, reply)
    assert failure.value.retryable


async def test_an_unreachable_address_is_reported_as_such() -> None:
    async with StandInProvider() as server:
        pass
    with pytest.raises(ProviderError, match="cannot be reached") as failure:
        await deltas_of(server)
    assert type(failure.value) is ProviderError
    assert failure.value.retryable


async def test_cancelling_closes_the_connection_to_the_provider(
    upstream: StandInProvider,
) -> None:
    upstream.reply(Reply(OPENING, end="hang"))
    has_spoken = asyncio.Event()

    async def listen() -> None:
        async for batch in provider.stream(HELLO):
            if text(batch):
                has_spoken.set()

    async with anthropic_at(upstream) as provider:
        listening = asyncio.create_task(listen())
        await has_spoken.wait()
        listening.cancel()
        await asyncio.wait_for(upstream.gone.wait(), 10)
        with pytest.raises(asyncio.CancelledError):
            await listening


async def test_closing_the_stream_closes_the_connection(
    upstream: StandInProvider,
) -> None:
    upstream.reply(Reply(OPENING, end="hang"))
    async with anthropic_at(upstream) as provider:
        stream = provider.stream(HELLO)
        await anext(stream)
        await stream.aclose()
        await asyncio.wait_for(upstream.gone.wait(), 10)


async def test_calls_of_a_loop_share_one_connection(upstream: StandInProvider) -> None:
    body = message(text_block(0, "Hi"))
    late_end = Reply(body + b": bye\n\n", cuts=[len(body)], delay=0.05)
    upstream.reply(late_end, late_end, late_end)
    async with anthropic_at(upstream) as provider:
        for _ in range(3):
            await read(provider)
    assert upstream.connections == 1


async def test_a_response_that_never_ends_delays_nothing(
    upstream: StandInProvider,
) -> None:
    body = sse(start(), *text_block(0, "Hi"), message_delta(), STOP)
    async with asyncio.timeout(20):
        deltas = await deltas_of(upstream, Reply(body, end="hang"))
    assert text(deltas) == "Hi"
    await asyncio.wait_for(upstream.gone.wait(), 10)


def test_options_do_not_show_the_key() -> None:
    given = AnthropicOptions(anthropic_api_key="sk-ant-secret")
    assert "sk-ant-secret" not in f"{given} {given!r}"
    assert "anthropic_api_key='***'" in repr(given)
    assert "anthropic_api_key=''" in repr(AnthropicOptions())
