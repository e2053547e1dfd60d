"""The heads of requests under uvicorn: limits on their time and their size."""

import asyncio
import json
from contextlib import suppress

import pytest
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from streaming.server.clients import Receive, Scope, Send
from streaming.server.request_heads import (
    MAX_HEAD_BYTES,
    LimitedH11Protocol,
    LimitedHttpToolsProtocol,
)
from tests.conftest import ChangeSettings
from tests.server.test_bodies import connection, status_of
from tests.server.test_clients import SECONDS, served

PROTOCOLS = [LimitedHttpToolsProtocol, LimitedH11Protocol]
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n"

each_protocol = pytest.mark.parametrize("protocol", PROTOCOLS, ids=["httptools", "h11"])


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    """Respond to each request; to `/slow` after a while."""
    if scope["path"] == "/slow":
        await asyncio.sleep(1.5)
    headers = [(b"content-length", b"5")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"hello"})


async def rest_of(reader: asyncio.StreamReader) -> bytes:
    """Return all that arrives until the server closes the connection."""
    async with asyncio.timeout(SECONDS):
        with suppress(ConnectionResetError):
            return await reader.read()
    return b""


@each_protocol
async def test_a_head_that_does_not_end_is_refused(
    agent_settings: ChangeSettings, protocol: type[asyncio.Protocol]
) -> None:
    agent_settings(request_read_timeout_seconds=0.3)
    async with (
        served(hello, http=protocol) as port,
        connection(port, GET + b"X-Slow: ") as (reader, writer),
    ):
        for _ in range(5):  # bytes that arrive do not extend the time
            writer.write(b"a")
            await asyncio.sleep(0.02)
        assert await status_of(reader) == 408
        head, _, body = (await rest_of(reader)).partition(b"\r\n\r\n")
        assert b"connection: close" in head.lower()
        assert json.loads(body)["code"] == "request_timeout"


@each_protocol
async def test_a_connection_without_a_request_is_closed_in_silence(
    agent_settings: ChangeSettings, protocol: type[asyncio.Protocol]
) -> None:
    agent_settings(request_read_timeout_seconds=0.2)
    async with (
        served(hello, http=protocol) as port,
        connection(port, b"") as (reader, _),
    ):
        assert await rest_of(reader) == b""


@each_protocol
async def test_the_second_head_of_a_connection_is_limited_too(
    agent_settings: ChangeSettings, protocol: type[asyncio.Protocol]
) -> None:
    agent_settings(request_read_timeout_seconds=0.3)
    async with (
        served(hello, http=protocol) as port,
        connection(port, GET + b"\r\n") as (reader, writer),
    ):
        assert await status_of(reader) == 200
        await reader.readuntil(b"hello")
        await asyncio.sleep(0.5)  # idle: the keep-alive timeout applies
        writer.write(GET)
        assert await status_of(reader) == 408


@each_protocol
async def test_a_response_may_take_longer_than_a_head(
    agent_settings: ChangeSettings, protocol: type[asyncio.Protocol]
) -> None:
    agent_settings(request_read_timeout_seconds=1)
    slow = GET.replace(b"GET /", b"GET /slow")
    ahead = GET  # the next request, without its end
    async with (
        served(hello, http=protocol) as port,
        connection(port, slow + b"\r\n" + ahead) as (reader, writer),
    ):
        assert await status_of(reader) == 200
        await reader.readuntil(b"hello")
        writer.write(b"\r\n")
        assert await status_of(reader) == 200


@pytest.mark.parametrize("pieces", [1, 50])
@each_protocol
async def test_a_head_that_is_too_large_is_refused(
    protocol: type[asyncio.Protocol], pieces: int
) -> None:
    # h11 accepts a larger head that arrives in one piece.
    limit = MAX_HEAD_BYTES * (1 if protocol is LimitedHttpToolsProtocol else 16)
    size = limit // pieces + 200
    headers = [b"X-%d: %s\r\n" % (n, b"a" * size) for n in range(pieces)]
    expected = 431 if protocol is LimitedHttpToolsProtocol else 400
    async with (
        served(hello, http=protocol) as port,
        connection(port, GET) as (reader, writer),
    ):
        for header in headers:
            writer.write(header)
            await asyncio.sleep(0)
        writer.write(b"\r\n")
        assert await status_of(reader) == expected


@each_protocol
async def test_a_client_that_sends_a_head_without_an_end_is_disconnected(
    protocol: type[asyncio.Protocol],
) -> None:
    async with (
        served(hello, http=protocol) as port,
        connection(port, GET + b"X-Long: ") as (_, writer),
    ):
        with suppress(ConnectionError):
            async with asyncio.timeout(SECONDS):
                while True:
                    writer.write(b"a" * 10_000)
                    await writer.drain()
                    await asyncio.sleep(0.001)


@each_protocol
async def test_a_head_below_the_limit_is_accepted(
    protocol: type[asyncio.Protocol],
) -> None:
    large = b"X-Large: " + b"a" * (MAX_HEAD_BYTES - 200) + b"\r\n\r\n"
    async with (
        served(hello, http=protocol) as port,
        connection(port, GET + large) as (reader, _),
    ):
        assert await status_of(reader) == 200


@each_protocol
async def test_what_is_not_http_gets_json(protocol: type[asyncio.Protocol]) -> None:
    async with (
        served(hello, http=protocol) as port,
        connection(port, b"\x16\x03\x01\x02\x00nonsense\r\n\r\n") as (
            reader,
            _,
        ),
    ):
        assert await status_of(reader) == 400
        _, _, body = (await rest_of(reader)).partition(b"\r\n\r\n")
        assert json.loads(body)["code"] == "invalid_request"


def test_the_protocols_are_those_of_uvicorn() -> None:
    assert issubclass(LimitedHttpToolsProtocol, HttpToolsProtocol)
    assert issubclass(LimitedH11Protocol, H11Protocol)
