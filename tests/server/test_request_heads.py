"""The heads of requests under uvicorn: limits on their time and their size."""

import asyncio
import json
import socket
from contextlib import suppress

import pytest
import uvloop
from django.test import override_settings
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from streaming.server.clients import Receive, Scope, Send
from streaming.server.handler import Handler
from streaming.server.request_heads import (
    MAX_HEAD_BYTES,
    LimitedH11Protocol,
    LimitedHttpToolsProtocol,
)
from tests.client import API
from tests.conftest import ChangeSettings
from tests.server.test_bodies import connection, status_of
from tests.server.test_clients import SECONDS, served

PROTOCOLS = [LimitedHttpToolsProtocol, LimitedH11Protocol]
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n"

each_protocol = pytest.mark.parametrize("protocol", PROTOCOLS, ids=["httptools", "h11"])


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    """Respond to each request; to `/slow` after a while."""
    if scope["path"] == "/slow":
        await asyncio.sleep(2.1)
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
    # A little less than the response: what is left is the client's time.
    agent_settings(request_read_timeout_seconds=2)
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
    size = MAX_HEAD_BYTES // pieces + 200
    headers = [b"X-%d: %s\r\n" % (n, b"a" * size) for n in range(pieces)]
    async with (
        served(hello, http=protocol) as port,
        connection(port, GET) as (reader, writer),
    ):
        for header in headers:
            writer.write(header)
            await asyncio.sleep(0)
        writer.write(b"\r\n")
        assert await status_of(reader) == 431
        _, _, body = (await rest_of(reader)).partition(b"\r\n\r\n")
        assert json.loads(body)["code"] == "head_too_large"


LARGE = b"X-Large: " + b"a" * (MAX_HEAD_BYTES + 1) + b"\r\n\r\n"


@pytest.mark.parametrize("before", [b"", GET + b"\r\n"], ids=["first", "pipelined"])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@each_protocol
def test_a_large_head_that_arrives_at_once_is_refused(
    protocol: type[asyncio.Protocol], loop: str, before: bytes
) -> None:
    async def exchange() -> bytes:
        async with served(hello, http=protocol) as port:
            # Sent while the event loop waits for it: the server then reads it at once.
            client = socket.create_connection(("127.0.0.1", port))
            client.sendall(before + GET + LARGE)
            reader, writer = await asyncio.open_connection(sock=client)
            received = await rest_of(reader)
            writer.close()
            return received

    factory = uvloop.new_event_loop if loop == "uvloop" else None
    with asyncio.Runner(loop_factory=factory) as runner:
        received = runner.run(exchange())
    assert received.count(b"HTTP/1.1 200 ") == bool(before)
    _, _, refused = received.partition(b"HTTP/1.1 431 ")
    # httptools parses ahead: the response that is being sent is then the last one.
    ahead = before and protocol is LimitedHttpToolsProtocol
    assert ahead or b'"head_too_large"' in refused


ORIGIN = b"Origin: https://page.example\r\n"
#: Refused heads: one that does not end, one that grows too large, one that is.
REFUSED = {
    "timeout": b"X-Slow: ",
    "growing": b"X-Large: " + b"a" * (MAX_HEAD_BYTES + 1),
    "large": LARGE,
}


@override_settings(CORS_ALLOWED_ORIGINS=["https://page.example"])
@pytest.mark.parametrize("name", REFUSED)
@each_protocol
async def test_a_page_on_an_allowed_origin_can_read_the_error(
    protocol: type[asyncio.Protocol],
    name: str,
    agent_settings: ChangeSettings,
) -> None:
    agent_settings(request_read_timeout_seconds=0.3)
    path = f"GET {API}/conversations?x=y HTTP/1.1\r\nHost: localhost\r\n".encode()
    for origin, allowed in ((ORIGIN, True), (ORIGIN.replace(b"page", b"x"), False)):
        async with (
            served(hello, http=protocol) as port,
            connection(port, path + origin + REFUSED[name]) as (reader, _),
        ):
            head, _, body = (await rest_of(reader)).partition(b"\r\n\r\n")
        lines = head.decode().lower().split("\r\n")
        assert ("access-control-allow-origin: https://page.example" in lines) is allowed
        assert "vary: origin" in lines
        assert json.loads(body)["code"] in ("request_timeout", "head_too_large")


@each_protocol
async def test_trailers_never_count_as_headers(
    protocol: type[asyncio.Protocol],
) -> None:
    seen: list[object] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        seen.extend(scope["headers"])
        await hello(scope, receive, send)

    sent = (
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"2\r\nab\r\n0\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n"
    )
    async with (
        served(app, http=protocol) as port,
        connection(port, sent) as (reader, _),
    ):
        assert await status_of(reader) == 200
    assert seen == [(b"host", b"localhost"), (b"transfer-encoding", b"chunked")]


async def test_a_client_that_was_just_refused_does_not_fail_the_shutdown() -> None:
    limit = {"http": LimitedH11Protocol, "h11_max_incomplete_event_size": 1000}
    async with served(hello, **limit) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET + b"X-Large: " + b"a" * 2000 + b"\r\n\r\n")
        assert await status_of(reader) == 431
    writer.close()


@each_protocol
@pytest.mark.parametrize(
    "head", [b"Content-Length: 9999\r\n", b"Transfer-Encoding: chunked\r\n"]
)
async def test_the_rest_of_a_body_has_a_limit_of_time_after_the_response(
    agent_settings: ChangeSettings, protocol: type[asyncio.Protocol], head: bytes
) -> None:
    agent_settings(request_read_timeout_seconds=0.4)
    post = GET.replace(b"GET", b"POST") + head + b"\r\n"
    async with (
        served(hello, http=protocol) as port,
        connection(port, post) as (reader, writer),
    ):
        assert await status_of(reader) == 200
        await reader.readuntil(b"hello")
        if b"chunked" in head:
            writer.write(b"F000\r\n")
        async with asyncio.timeout(SECONDS):
            closed = asyncio.create_task(rest_of(reader))
            while not closed.done():
                writer.write(b"a")
                await asyncio.sleep(0.05)  # slow, but not silent
        assert closed.result() == b""


@each_protocol
async def test_a_body_that_ends_after_its_response_leaves_the_connection(
    agent_settings: ChangeSettings, protocol: type[asyncio.Protocol]
) -> None:
    agent_settings(request_read_timeout_seconds=1.0)
    post = GET.replace(b"GET", b"POST") + b"Content-Length: 200000\r\n\r\n"
    async with (
        served(hello, http=protocol) as port,
        connection(port, post) as (reader, writer),
    ):
        for _ in range(2):
            assert await status_of(reader) == 200
            await reader.readuntil(b"hello")
            writer.write(b"a" * 100_000)
            await asyncio.sleep(0.1)  # another read of the server
            writer.write(b"a" * 100_000)
            await asyncio.sleep(1.2)  # longer than the limit: idle
            writer.write(post)
        assert await status_of(reader) == 200


@pytest.mark.parametrize(
    ("first", "second"),
    [(b"", b"Upgr"), (GET + b"\r\n", b"")],
    ids=["in pieces", "after another request"],
)
async def test_an_offer_that_cannot_be_ignored_is_refused(
    first: bytes, second: bytes
) -> None:
    """The body would be taken for a request: it could come from another client."""
    head = (
        GET.replace(b"GET", b"POST") + b"Connection: Upgrade\r\nContent-Length: 30\r\n"
    )
    offer = head + b"Upgrade: h2c\r\n\r\n"
    at = offer.rindex(second) + len(second) if second else len(offer)
    async with (
        served(hello, http=LimitedHttpToolsProtocol) as port,
        connection(port, first + offer[:at]) as (reader, writer),
    ):
        if first:
            assert await status_of(reader) == 200
            await reader.readuntil(b"hello")
        await asyncio.sleep(0.1)  # another read of the server
        writer.write(offer[at:])
        await asyncio.sleep(0.1)
        writer.write(GET + b"\r\n")
        left = await rest_of(reader)
        assert left.count(b"HTTP/1.1 ") <= 1
        assert first or b"offers another protocol" in left


async def write_until_disconnected(writer: asyncio.StreamWriter) -> None:
    """Write without an end; fail unless the server disconnects in time."""
    with suppress(ConnectionError):
        async with asyncio.timeout(SECONDS):
            while True:
                writer.write(b"a" * 10_000)
                await writer.drain()
                await asyncio.sleep(0.001)


@each_protocol
async def test_trailers_are_limited_too(protocol: type[asyncio.Protocol]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass

    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with (
        served(app, http=protocol) as port,
        connection(port, head + b"2\r\nab\r\n0\r\nX: ") as (_, writer),
    ):
        await write_until_disconnected(writer)


@each_protocol
async def test_a_client_that_sends_a_head_without_an_end_is_disconnected(
    protocol: type[asyncio.Protocol],
) -> None:
    async with (
        served(hello, http=protocol) as port,
        connection(port, GET + b"X-Long: ") as (_, writer),
    ):
        await write_until_disconnected(writer)


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
async def test_an_offer_of_another_protocol_is_ignored(
    protocol: type[asyncio.Protocol],
) -> None:
    """As Java's client makes it; a body that has the same text is unchanged."""
    bodies: list[bytes] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        bodies.append((await receive())["body"])
        await hello(scope, receive, send)

    body = b"a\r\nUpgrade: h2c\r\n\r\n"
    sent = (
        b"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\n"
        b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    async with (
        served(app, http=protocol) as port,
        connection(port, sent) as (reader, writer),
    ):
        for _ in range(2):
            assert await status_of(reader) == 200
            await reader.readuntil(b"hello")
            writer.write(sent)
    assert bodies[:2] == [body, body]


@each_protocol
async def test_a_body_that_is_not_http_is_refused(
    protocol: type[asyncio.Protocol],
) -> None:
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with (
        served(Handler(1), http=protocol) as port,
        connection(port, head + b"zz\r\n") as (reader, _),
    ):
        assert await status_of(reader) == 400
        _, _, body = (await rest_of(reader)).partition(b"\r\n\r\n")
        assert json.loads(body)["code"] == "invalid_request"


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
