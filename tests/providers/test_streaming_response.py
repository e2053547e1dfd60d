"""What the providers share: HTTP, the events of an answer, its JSON, its failures."""

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

OPTIONS = ProviderOptions(llm_max_retries=0)
IMPATIENT = ProviderOptions(
    llm_first_token_timeout_seconds=1.0,
    llm_silence_timeout_seconds=0.2,
    llm_max_retries=0,
)
ANY = msgspec.json.Decoder(dict[str, Any])


class Echo:
    """A parser to which each event is text and `end` the last one."""

    done = False

    def feed(self, data: bytes, told: list[Delta]) -> None:
        self.done = data == b"end"
        if not self.done:
            told.append(TextDelta(data.decode()))

    def finish(self) -> list[Delta]:
        if not self.done:
            raise ProviderIncomplete
        return [ResponseEnd("end_turn")]


class Asking:
    """A provider of next to nothing but a vendor's SDK."""

    name = model = "asking"

    def __init__(self, url: str, sdk: str) -> None:
        self._client, self._error = CLIENTS[sdk](url)

    def stream(self, request: ModelRequest) -> AsyncGenerator[list[Delta], None]:
        return read_deltas(
            partial(send_request, self._client, "/", {}), Echo(), self._error
        )

    async def aclose(self) -> None:
        await self._client.close()


async def read(
    url: str, sdk: str, options: ProviderOptions = OPTIONS
) -> list[list[Delta]]:
    """The batches of one answer, asked for with that vendor's SDK."""
    request = ModelRequest(system="", messages=[])
    async with aclosing(RetryingProvider(Asking(url, sdk), options)) as provider:
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


# Reading an answer


@both_sdks
async def test_what_one_read_brings_is_one_batch(
    upstream: StandInProvider, sdk: str
) -> None:
    body = b"data: one\n\ndata: two\n\n: ping\n\ndata: three\n\ndata: end\n\n"
    upstream.reply(Reply(body, cuts=[26], delay=0.02))
    assert await read(upstream.url, sdk) == [
        [TextDelta("one"), TextDelta("two")],
        [TextDelta("three")],
        [ResponseEnd("end_turn")],
    ]


@pytest.mark.parametrize("events", [100, 20_000])
async def test_reading_is_resumed_only_when_it_was_paused(
    upstream: StandInProvider, monkeypatch: pytest.MonkeyPatch, events: int
) -> None:
    resumed = 0
    resume = ResponseHandler.resume_reading

    def count(*args: Any, **more: Any) -> None:  # noqa: ANN401
        nonlocal resumed
        resumed += 1
        resume(*args, **more)

    monkeypatch.setattr(ResponseHandler, "resume_reading", count)
    sent = [f"{number:06} {'x' * 50}" for number in range(events)]
    body = "".join(f"data: {text}\n\n" for text in [*sent, "end"]).encode()
    upstream.reply(Reply(body, chunk_size=65))
    provider = Asking(upstream.url, "openai")
    told: list[Delta] = []
    async for batch in provider.stream(ModelRequest(system="", messages=[])):
        told += batch
        await asyncio.sleep(0.01)  # slower than the answer comes
    await provider.aclose()
    assert told == [*map(TextDelta, sent), ResponseEnd("end_turn")]
    # Once more at the end, when nothing is left to be held up.
    assert resumed <= 1 if events == 100 else resumed > 1


@both_sdks
@pytest.mark.parametrize("body", [b"", b"data: one\n\n", b'data: one\n\ndata: {"e'])
async def test_an_answer_without_its_end_is_incomplete(
    upstream: StandInProvider, sdk: str, body: bytes
) -> None:
    upstream.reply(Reply(body))
    with pytest.raises(ProviderIncomplete):
        await read(upstream.url, sdk)


@both_sdks
async def test_an_event_that_grows_without_end_is_given_up(
    upstream: StandInProvider, sdk: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 1000)
    upstream.reply(Reply(b"data: " + b"x" * 2000))
    with pytest.raises(ProviderError, match="cannot be read"):
        await read(upstream.url, sdk)


# Getting there


@both_sdks
async def test_a_proxy_that_the_environment_names_is_asked(
    upstream: StandInProvider, sdk: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", upstream.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    upstream.reply(Reply(b"data: end\n\n"))
    await read("http://model.invalid", sdk)
    assert upstream.requests[0].path == "http://model.invalid/"
    upstream.reply(Reply(b"data: end\n\n"))
    await read(upstream.url, sdk)
    assert upstream.requests[1].path == "/"


# Failing to get one


@both_sdks
async def test_a_refused_connection_is_no_timeout(sdk: str) -> None:
    async with StandInProvider() as gone:
        pass
    with pytest.raises(ProviderError, match="cannot be reached") as failure:
        await read(gone.url, sdk)
    assert type(failure.value) is ProviderError
    assert failure.value.retryable


@both_sdks
@pytest.mark.parametrize("said", [b"", b"hello?\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n"])
async def test_a_server_that_speaks_no_http_cannot_be_reached(
    sdk: str, said: bytes
) -> None:
    async def hang_up(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.read(1)
        writer.write(said)
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ProviderError, match="cannot be reached") as failure:
            await read(f"http://127.0.0.1:{port}", sdk)
    assert failure.value.retryable


@both_sdks
async def test_a_server_that_says_nothing_at_all_is_a_timeout(sdk: str) -> None:
    gone = asyncio.Event()

    async def listen(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while await reader.read(1000):
            pass
        writer.close()
        gone.set()

    async with await asyncio.start_server(listen, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ProviderTimeout) as failure:
            await read(f"http://127.0.0.1:{port}", sdk, IMPATIENT)
        await asyncio.wait_for(gone.wait(), 10)
    assert failure.value.retryable


@both_sdks
async def test_silence_in_an_answer_is_a_timeout(
    upstream: StandInProvider, sdk: str
) -> None:
    upstream.reply(Reply(b"data: one\n\n", end="hang"))
    with pytest.raises(ProviderTimeout):
        await read(upstream.url, sdk, IMPATIENT)


@both_sdks
@pytest.mark.parametrize("end", ["cut", "hang"])
async def test_an_error_answer_may_break_off_itself(
    upstream: StandInProvider, sdk: str, end: str
) -> None:
    broken = Reply(b'{"err', 500, end="cut" if end == "cut" else "hang")
    upstream.reply(broken)
    with pytest.raises(ProviderError) as failure:
        await read(upstream.url, sdk, IMPATIENT)
    assert failure.value.retryable


# When to come back


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
def test_a_server_may_say_when_to_come_back(
    status: int, headers: Mapping[str, str], expected: float | None
) -> None:
    assert status_error(status, {}, headers).retry_after == expected


def test_it_may_say_so_by_a_date() -> None:
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    retry_after = status_error(429, {}, {"retry-after": moment}).retry_after
    assert retry_after is not None
    assert 58 < retry_after <= 60


@pytest.mark.parametrize(("advice", "expected"), [("true", True), ("false", False)])
@pytest.mark.parametrize("status", [400, 408, 429, 500])
def test_it_may_say_whether_to_come_back_at_all(
    status: int, advice: str, expected: bool
) -> None:
    error = status_error(status, {}, {"x-should-retry": advice})
    assert error.retryable is expected


def test_no_advice_brings_back_a_quota() -> None:
    fields = {"type": "insufficient_quota"}
    error = status_error(429, fields, {"x-should-retry": "true", "retry-after": "1"})
    assert isinstance(error, ProviderRateLimited)
    assert not error.retryable


# Errors told inside a stream


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
def test_without_a_status_the_words_tell_the_kind(body: object, status: int) -> None:
    told = status_error(None, error_fields(body))
    same = status_error(status, {})
    assert type(told) is type(same)
    assert (told.message, told.retryable) == (same.message, same.retryable)


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
def test_what_is_no_such_json_is_an_error(data: bytes) -> None:
    with pytest.raises(ProviderError, match="cannot be read") as failure:
        decode(ANY, data)
    assert failure.value.retryable
    assert json_object(data.decode()) == {}
