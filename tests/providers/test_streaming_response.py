"""The shared part of the providers: HTTP, the events of a response, JSON, failures."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from typing import Any

import msgspec
import pytest
from aiohttp.client_proto import ResponseHandler
from anthropic import AnthropicError, AsyncAnthropic
from openai import AsyncOpenAI, OpenAIError

from streaming.exceptions import (
    ProviderError,
    ProviderIncomplete,
    ProviderRateLimited,
    ProviderTimeout,
)
from streaming.providers.base import (
    Delta,
    ModelRequest,
    ProviderOptions,
    ResponseEnd,
    TextDelta,
)
from streaming.providers.errors import error_fields, status_error
from streaming.providers.http_transport import http_client
from streaming.providers.retry import RetryingProvider
from streaming.providers.streaming_response import (
    decode,
    json_object,
    read_deltas,
    send_request,
)
from streaming.testing.provider import Reply, StandInProvider
from streaming.wire import sse
from tests.providers.calls import count_calls

OPTIONS = ProviderOptions(llm_max_retries=0)
IMPATIENT = ProviderOptions(
    llm_first_token_timeout_seconds=1.0,
    llm_silence_timeout_seconds=0.2,
    llm_max_retries=0,
)
ANY = msgspec.json.Decoder(dict[str, Any])


class Echo:
    """A parser that takes each event as text, and `end` as the terminal event."""

    done = False

    def feed(self, data: bytes, out: list[Delta]) -> None:
        self.done = data == b"end"
        if not self.done:
            out.append(TextDelta(data.decode()))

    def truncate(self) -> None:
        self.done = True

    def finish(self) -> list[Delta]:
        if not self.done:
            raise ProviderIncomplete
        return [ResponseEnd("end_turn")]


class BareProvider:
    """A provider of little more than a vendor's SDK."""

    name = model = "bare"

    def __init__(
        self, url: str, sdk: str, max_event_bytes: int = sse.MAX_EVENT_BYTES
    ) -> None:
        self._client, self._error = CLIENTS[sdk](url)
        self._max_event_bytes = max_event_bytes

    def stream(self, request: ModelRequest) -> AsyncGenerator[list[Delta], None]:
        send = partial(send_request, self._client, "/", {})
        return read_deltas(send, Echo(), self._error, self._max_event_bytes)

    async def aclose(self) -> None:
        await self._client.close()


async def read(
    url: str,
    sdk: str,
    options: ProviderOptions = OPTIONS,
    max_event_bytes: int = sse.MAX_EVENT_BYTES,
) -> list[list[Delta]]:
    """The batches of one response, requested with that vendor's SDK."""
    request = ModelRequest(system="", messages=[])
    bare = BareProvider(url, sdk, max_event_bytes)
    async with aclosing(RetryingProvider(bare, options)) as provider:
        return [batch async for batch in provider.stream(request)]


def anthropic(url: str) -> tuple[AsyncAnthropic, type[Exception]]:
    http = http_client(OPTIONS.llm_connect_timeout_seconds)
    client = AsyncAnthropic(
        api_key="key", base_url=url, max_retries=0, http_client=http
    )
    return client, AnthropicError


def openai(url: str) -> tuple[AsyncOpenAI, type[Exception]]:
    http = http_client(OPTIONS.llm_connect_timeout_seconds)
    client = AsyncOpenAI(api_key="k", base_url=url, max_retries=0, http_client=http)
    return client, OpenAIError


CLIENTS: Mapping[str, Callable[[str], tuple[Any, type[Exception]]]] = {
    "anthropic": anthropic,
    "openai": openai,
}
both_sdks = pytest.mark.parametrize("sdk", ["anthropic", "openai"])


# Reading a response


@both_sdks
async def test_the_events_of_one_read_are_one_batch(
    upstream: StandInProvider, sdk: str
) -> None:
    body = b"data: one\n\ndata: two\n\n: ping\n\ndata: three\n\ndata: end\n\n"
    upstream.reply(Reply(body, cuts=[26], delay=0.02))
    assert await read(upstream.url, sdk) == [
        [TextDelta("one"), TextDelta("two")],
        [TextDelta("three")],
        [ResponseEnd("end_turn")],
    ]


@pytest.mark.parametrize(("events", "chunk_size"), [(100, 65), (20_000, 6_500)])
async def test_reading_is_resumed_only_when_it_was_paused(
    upstream: StandInProvider, events: int, chunk_size: int
) -> None:
    sent = [f"{number:06} {'x' * 50}" for number in range(events)]
    body = "".join(f"data: {text}\n\n" for text in [*sent, "end"]).encode()
    upstream.reply(Reply(body, chunk_size=chunk_size))
    provider = BareProvider(upstream.url, "openai")
    deltas: list[Delta] = []
    buffered = len(body) < 65_536
    functions = (ResponseHandler.pause_reading, ResponseHandler.resume_reading)
    with count_calls(*functions) as calls:
        async for batch in provider.stream(ModelRequest(system="", messages=[])):
            deltas += batch
            while not buffered and not calls["pause_reading"]:  # noqa: ASYNC110
                await asyncio.sleep(0)  # aiohttp reports a full buffer nowhere else
    await provider.aclose()
    assert deltas == [*map(TextDelta, sent), ResponseEnd("end_turn")]
    paused, resumed = calls["pause_reading"], calls["resume_reading"]
    assert (paused > 0) is not buffered
    # aiohttp may resume once more at the end, when nothing is paused.
    assert paused <= resumed <= paused + 1


@both_sdks
@pytest.mark.parametrize("body", [b"", b"data: one\n\n", b'data: one\n\ndata: {"e'])
async def test_a_response_without_its_end_is_incomplete(
    upstream: StandInProvider, sdk: str, body: bytes
) -> None:
    upstream.reply(Reply(body))
    with pytest.raises(ProviderIncomplete):
        await read(upstream.url, sdk)


@both_sdks
async def test_an_event_that_grows_without_end_is_an_error(
    upstream: StandInProvider, sdk: str
) -> None:
    upstream.reply(Reply(b"data: " + b"x" * 2000))
    with pytest.raises(ProviderError, match="cannot be read"):
        await read(upstream.url, sdk, max_event_bytes=1000)


# Proxies


@both_sdks
async def test_requests_go_through_the_proxy_of_the_environment(
    upstream: StandInProvider, sdk: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", upstream.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    upstream.reply(Reply(b"data: one\n\ndata: end\n\n"))
    await read("http://model.invalid", sdk)
    assert upstream.requests[0].path == "http://model.invalid/"
    upstream.reply(Reply(b"data: one\n\ndata: end\n\n"))
    await read(upstream.url, sdk)
    assert upstream.requests[1].path == "/"


# Failed requests


@both_sdks
async def test_a_refused_connection_is_no_timeout(sdk: str) -> None:
    async with StandInProvider() as server:
        pass
    with pytest.raises(ProviderError, match="cannot be reached") as failure:
        await read(server.url, sdk)
    assert type(failure.value) is ProviderError
    assert failure.value.retryable


@both_sdks
@pytest.mark.parametrize("data", [b"", b"hello?\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n"])
async def test_a_server_that_speaks_no_http_cannot_be_reached(
    sdk: str, data: bytes
) -> None:
    async def hang_up(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.read(1)
        writer.write(data)
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ProviderError, match="cannot be reached") as failure:
            await read(f"http://127.0.0.1:{port}", sdk)
    assert failure.value.retryable


@both_sdks
async def test_a_server_that_sends_nothing_is_a_timeout(sdk: str) -> None:
    disconnected = asyncio.Event()

    async def listen(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while await reader.read(1000):
            pass
        writer.close()
        disconnected.set()

    async with await asyncio.start_server(listen, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ProviderTimeout) as failure:
            await read(f"http://127.0.0.1:{port}", sdk, IMPATIENT)
        await asyncio.wait_for(disconnected.wait(), 10)
    assert failure.value.retryable


@both_sdks
async def test_silence_in_a_response_is_a_timeout(
    upstream: StandInProvider, sdk: str
) -> None:
    upstream.reply(Reply(b"data: one\n\n", end="hang"))
    with pytest.raises(ProviderTimeout):
        await read(upstream.url, sdk, IMPATIENT)


@both_sdks
@pytest.mark.parametrize("end", ["cut", "hang"])
async def test_an_error_response_may_be_cut_off_itself(
    upstream: StandInProvider, sdk: str, end: str
) -> None:
    broken = Reply(b'{"err', 500, end="cut" if end == "cut" else "hang")
    upstream.reply(broken)
    with pytest.raises(ProviderError) as failure:
        await read(upstream.url, sdk, IMPATIENT)
    assert failure.value.retryable


# Advice on retries


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
        ({"retry-after-ms": "?"}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 -0000"}, 0.0),
    ],
)
@pytest.mark.parametrize("status", [408, 429, 503])
def test_a_server_can_send_the_time_of_a_retry(
    status: int, headers: Mapping[str, str], expected: float | None
) -> None:
    assert status_error(status, {}, headers).retry_after == expected


def test_the_time_of_a_retry_can_be_a_date() -> None:
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    retry_after = status_error(429, {}, {"retry-after": moment}).retry_after
    assert retry_after is not None
    assert 58 < retry_after <= 60


@pytest.mark.parametrize(("advice", "expected"), [("true", True), ("false", False)])
@pytest.mark.parametrize("status", [400, 408, 429, 500])
def test_a_server_can_advise_for_or_against_a_retry(
    status: int, advice: str, expected: bool
) -> None:
    error = status_error(status, {}, {"x-should-retry": advice})
    assert error.retryable is expected


def test_no_advice_makes_an_exhausted_quota_retryable() -> None:
    fields = {"type": "insufficient_quota"}
    error = status_error(429, fields, {"x-should-retry": "true", "retry-after": "1"})
    assert isinstance(error, ProviderRateLimited)
    assert not error.retryable


# Error events


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"error": {"type": "overloaded_error"}}, 529),
        ({"type": "invalid_request_error"}, 400),
        ({"error": {"code": "rate_limit_exceeded"}}, 429),
        ({"error": {"code": 404, "message": "no such model"}}, 404),
        ({"error": "model not found"}, 500),
        ("out of memory", 500),
        (None, 500),
    ],
)
def test_without_a_status_the_code_determines_the_error(
    body: object, status: int
) -> None:
    error = status_error(None, error_fields(body))
    same = status_error(status, {})
    assert type(error) is type(same)
    assert (error.message, error.retryable) == (same.message, same.retryable)


# JSON


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (rb'{"a": "x\u0000y"}', {"a": "x\ufffdy"}),
        (rb'{"a": ["\ud83d"], "\udc00": 1}', {"a": ["\ufffd"], "\ufffd": 1}),
        (rb'{"a": "\ud83d\ude00\u0000"}', {"a": "😀\ufffd"}),
        (rb'{"a": "\\u0000"}', {"a": r"\u0000"}),
        (b'{"a": "\x00 \x01"}', {"a": "\ufffd \x01"}),
        (b'{"a": "\xff"}', {"a": "\ufffd"}),
        (b'{"a": NaN, "b": [1e999]}', {"a": None, "b": [None]}),
    ],
)
def test_json_that_cannot_be_stored_is_made_storable(
    data: bytes, expected: object
) -> None:
    assert decode(ANY, data) == expected


@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b"oops", b'{"a":' * 100_000])
def test_other_json_is_an_error(data: bytes) -> None:
    with pytest.raises(ProviderError, match="cannot be read") as failure:
        decode(ANY, data)
    assert failure.value.retryable
    assert json_object(data.decode()) == {}
