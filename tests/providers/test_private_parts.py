"""The parts of aiohttp, httpx2 and the SDKs that their documentation does not promise.

They are used in `http_transport` and `streaming_response` only. One test for each use:
its failure names the part, the library and the consequence.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import httpx2
import pytest
from aiohttp.client_proto import ResponseHandler
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from streaming.providers import http_transport
from streaming.providers.http_transport import (
    BodyEncodingError,
    aiohttp_response,
    http_client,
)
from streaming.testing.provider import Reply, StandInProvider
from tests.providers.calls import count_calls

EVENT = b"data: one\n\n"
OPEN = Reply(EVENT, end="hang")


def anthropic(url: str, http: httpx2.AsyncClient) -> AsyncAnthropic:
    return AsyncAnthropic(api_key="k", base_url=url, max_retries=0, http_client=http)


def openai(url: str, http: httpx2.AsyncClient) -> AsyncOpenAI:
    return AsyncOpenAI(api_key="k", base_url=url, max_retries=0, http_client=http)


Sdk = Callable[[str, httpx2.AsyncClient], Any]
SDKS: Mapping[str, Sdk] = {"anthropic": anthropic, "openai": openai}
both_sdks = pytest.mark.parametrize("sdk", SDKS)


@asynccontextmanager
async def opened(
    upstream: StandInProvider, reply: Reply = OPEN
) -> AsyncIterator[aiohttp.ClientResponse]:
    """The response to a request of our HTTP client, its body still to be read."""
    upstream.reply(reply)
    async with (
        http_client(10.0) as client,
        client.stream("POST", upstream.url, content=b"{}") as response,
    ):
        yield aiohttp_response(response)


def connection_of(response: aiohttp.ClientResponse) -> ResponseHandler:
    """The connection that a response is read from."""
    assert response.connection is not None
    assert response.connection.protocol is not None
    return response.connection.protocol


async def post(
    upstream: StandInProvider, sdk: str, client: httpx2.AsyncClient | None = None
) -> httpx2.Response:
    """Post through an SDK as `send_request` does."""
    upstream.reply(Reply(EVENT))
    http = client or http_client(10.0)
    async with SDKS[sdk](upstream.url, http) as vendor:
        response: httpx2.Response = await vendor.post(
            "/path",
            cast_to=httpx2.Response,
            content=b'{"a":  1}',
            options={"headers": {"x-extra": "yes"}},
            stream=True,
        )
        if isinstance(response, httpx2.Response):
            await response.aclose()
        return response


# aiohttp


async def test_the_connector_makes_connections_with_its_factory(
    upstream: StandInProvider,
) -> None:
    async with opened(upstream) as response:
        connection = connection_of(response)
    assert type(connection) is http_transport._Connection, (
        "aiohttp: TCPConnector._factory no longer makes the connections. "
        "http_transport._Connector sets it in vain, and each chunk of a response "
        "costs a needless call of the parser."
    )


async def test_the_connector_knows_its_event_loop() -> None:
    async with aiohttp.TCPConnector() as connector:
        loop = getattr(connector, "_loop", None)
    assert loop is asyncio.get_running_loop(), (
        "aiohttp: TCPConnector._loop is no longer the event loop. "
        "http_transport._Connector passes it to each connection: none can be opened."
    )


async def test_a_connection_is_made_with_its_event_loop_alone() -> None:
    try:
        connection = ResponseHandler(loop=asyncio.get_running_loop())
    except TypeError as error:
        pytest.fail(
            f"aiohttp: ResponseHandler(loop=…) is no longer how a connection is made "
            f"({error}). http_transport._Connector does so: none can be opened."
        )
    assert not connection.connected


async def test_a_connection_notes_that_reading_is_paused(
    upstream: StandInProvider,
) -> None:
    async with opened(upstream) as response:
        connection = connection_of(response)
        states = [getattr(connection, "_reading_paused", None)]
        connection.pause_reading()
        states.append(getattr(connection, "_reading_paused", None))
        connection.resume_reading()
        states.append(getattr(connection, "_reading_paused", None))
    assert states == [False, True, False], (
        "aiohttp: ResponseHandler._reading_paused no longer tells whether reading is "
        "paused. http_transport._Connection relies on it: a response that was paused "
        "would never be resumed."
    )


async def test_aiohttp_resumes_reading_after_each_chunk(
    upstream: StandInProvider,
) -> None:
    async with opened(upstream) as response:
        with count_calls(http_transport._Connection.resume_reading) as calls:
            assert await response.content.readany() == EVENT
    assert calls["resume_reading"], (
        "aiohttp: StreamReader no longer calls ResponseHandler.resume_reading after "
        "each chunk. http_transport._Connection intercepts that call: it either has "
        "another name, and costs as before, or http_transport._Connection can go."
    )


async def test_an_undecodable_body_has_its_own_exception(
    upstream: StandInProvider,
) -> None:
    gzip = {"content-encoding": "gzip"}
    broken = Reply(b"this is not gzip", headers=gzip)
    async with opened(upstream, broken) as response:
        with pytest.raises(Exception) as failure:
            await response.content.readany()
    root: BaseException = failure.value
    while root.__cause__:
        root = root.__cause__
    assert isinstance(root, BodyEncodingError), (
        "aiohttp: http_exceptions.ContentEncodingError is no longer the root cause "
        "when a body cannot be decoded. errors.map_stream_error reports such a "
        "response as incomplete instead of unreadable."
    )


# The SDKs over httpx2


@both_sdks
async def test_an_sdk_passes_the_connect_timeout_on(
    upstream: StandInProvider, sdk: str
) -> None:
    timeouts: list[object] = []

    async def record(request: httpx2.Request) -> None:
        timeouts.append(request.extensions.get("timeout"))

    client = http_client(7.5)
    client.event_hooks = {"request": [record]}
    await post(upstream, sdk, client)
    expected = {"connect": 7.5, "read": None, "write": None, "pool": None}
    assert timeouts == [expected], (
        f"{sdk} or httpx2: Request.extensions['timeout'] no longer holds the timeouts "
        f"of the HTTP client. http_transport._Transport reads 'connect' there: "
        f"connecting has another timeout, or each request fails."
    )


@both_sdks
async def test_an_sdk_returns_the_unread_response(
    upstream: StandInProvider, sdk: str
) -> None:
    response = await post(upstream, sdk)
    assert type(response) is httpx2.Response, (
        f"{sdk}: post(cast_to=httpx2.Response, stream=True) no longer returns the "
        f"httpx2.Response itself. streaming_response.send_request cannot find "
        f"aiohttp's response under it."
    )
    assert not response.is_stream_consumed, (
        f"{sdk}: post(stream=True) reads the response before it returns. "
        f"streaming_response.read_deltas would find no events."
    )
    inner = response.extensions.get(http_transport._EXTENSION)
    assert isinstance(inner, aiohttp.ClientResponse), (
        f"{sdk} or httpx2: Response.extensions of the transport are lost. "
        f"http_transport.aiohttp_response finds aiohttp's response there."
    )


@both_sdks
async def test_an_sdk_sends_encoded_content_unchanged(
    upstream: StandInProvider, sdk: str
) -> None:
    await post(upstream, sdk)
    request = upstream.requests[0]
    assert request.body == b'{"a":  1}', (
        f"{sdk}: post(content=bytes) no longer sends the bytes as they are. "
        f"streaming_response.send_request encodes the request's body itself."
    )
    assert request.headers["content-type"] == "application/json", (
        f"{sdk}: post(content=bytes) no longer declares JSON. Providers reject the "
        f"requests of streaming_response.send_request."
    )


@both_sdks
async def test_an_sdk_adds_headers_of_the_options(
    upstream: StandInProvider, sdk: str
) -> None:
    await post(upstream, sdk)
    headers = upstream.requests[0].headers
    assert headers.get("x-extra") == "yes", (
        f"{sdk}: post(options={{'headers': …}}) no longer adds headers. "
        f"streaming_response.send_request sends beta headers that way: models with "
        f"thinking fail or think without them."
    )
    assert "k" in headers.get("x-api-key", "") + headers.get("authorization", ""), (
        f"{sdk}: post() no longer authenticates the request. "
        f"streaming_response.send_request leaves that to it."
    )
