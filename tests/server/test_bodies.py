"""The bodies of requests: limits on their size, their time, and their memory in all."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from django.test import override_settings

from bench.faults.waiting import until
from streaming import runs
from streaming.exceptions import RateLimited
from streaming.server.body import UNCOUNTED_BYTES, BodyMemory, RequestBody, receive_body
from streaming.server.handler import Handler
from tests.client import API, Api
from tests.conftest import ChangeSettings
from tests.server.test_clients import SECONDS, served

HEAD = (
    f"POST {API}/run HTTP/1.1\r\nHost: localhost\r\n"
    "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
)


@asynccontextmanager
async def connection(
    port: int, sent: bytes
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Open a connection and send the beginning of a request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    try:
        yield reader, writer
    finally:
        writer.close()


async def status_of(reader: asyncio.StreamReader) -> int:
    async with asyncio.timeout(SECONDS):
        return int((await reader.readline()).split()[1])


@pytest.mark.parametrize("http", ["h11", "httptools"])
async def test_a_body_that_does_not_arrive_is_refused(
    api: Api, agent_settings: ChangeSettings, http: str
) -> None:
    agent_settings(request_read_timeout_seconds=0.3)
    async with (
        served(Handler(1), http=http) as port,
        connection(port, (HEAD % 100).encode() + b'{"input":') as (
            reader,
            _,
        ),
    ):
        assert await status_of(reader) == 408
        rest = await asyncio.wait_for(reader.read(), SECONDS)  # it is closed
        assert b'"request_timeout"' in rest


async def test_a_body_that_arrives_slowly_but_in_time_is_accepted(
    api: Api, agent_settings: ChangeSettings
) -> None:
    agent_settings(request_read_timeout_seconds=5)
    body = b'{"input":"2 + 2"}'
    async with served(Handler(1)) as port:
        head = (HEAD % len(body)).encode()
        async with connection(port, head) as (reader, writer):
            for byte in body:
                writer.write(bytes([byte]))
                await asyncio.sleep(0.02)
            assert await status_of(reader) == 200


async def test_large_bodies_share_a_limit_and_small_ones_are_not_counted(
    api: Api, agent_settings: ChangeSettings
) -> None:
    agent_settings(agent_max_bodies_bytes=1_000_000)
    announced = (HEAD % 900_000).encode()
    part = b'{"input":"2 + 2","x":"' + b"a" * 700_000
    handler = Handler(1)
    async with served(handler) as port:
        async with connection(port, announced + part) as (first, writer):
            counted = len(part) - UNCOUNTED_BYTES
            await until(lambda: handler._bodies.held >= counted)
            async with connection(port, announced + part) as (second, _):
                assert await status_of(second) == 429
                assert b"rate_limited" in await second.read(10_000)
            small = b'{"input":"2 + 2","x":"' + b"a" * (UNCOUNTED_BYTES - 100) + b'"}'
            head = (HEAD % len(small)).encode()
            async with connection(port, head + small) as (third, _):
                assert await status_of(third) == 200
            writer.write(b"a" * (900_000 - len(part) - 2) + b'"}')
            assert await status_of(first) == 200
        async with connection(port, announced + part) as (fourth, writer):
            writer.write(b"a" * (900_000 - len(part) - 2) + b'"}')
            assert await status_of(fourth) == 200


@pytest.mark.parametrize("ending", ["whole", "disconnected", "too large", "late"])
async def test_memory_is_given_back(
    agent_settings: ChangeSettings, ending: str
) -> None:
    agent_settings(request_read_timeout_seconds=0.05, agent_max_body_bytes=300_000)
    memory = BodyMemory()
    part = {"type": "http.request", "body": b"x" * 200_000, "more_body": True}
    messages = [part]

    async def receive() -> Any:  # noqa: ANN401
        if messages:
            return messages.pop(0)
        assert memory.held == 200_000 - UNCOUNTED_BYTES
        match ending:
            case "whole":
                return {"type": "http.request", "body": b"y"}
            case "disconnected":
                return {"type": "http.disconnect"}
            case "too large":
                return part
            case _:
                await asyncio.sleep(SECONDS)

    body: RequestBody | None = None
    try:
        body = await receive_body({"headers": []}, receive, memory)
    except Exception as error:
        assert ending in ("too large", "late"), error
    if ending == "whole":
        assert body
        assert memory.held > 0
        assert body.read() == b"x" * 200_000 + b"y"
        assert body.read() == b""
    assert memory.held == 0


async def test_a_body_can_be_read_in_parts(agent_settings: ChangeSettings) -> None:
    memory = BodyMemory()
    body = RequestBody(memory)
    body.receive(b"a" * 100_000)
    body.receive(b"b" * 100_000)
    body.seek(0)
    assert body.read(100_000) == b"a" * 100_000
    assert memory.held == 200_000 - UNCOUNTED_BYTES
    assert body.read(None) == b"b" * 100_000
    assert memory.held == 0
    body.free()
    assert memory.held == 0


def test_the_limit_is_exact(agent_settings: ChangeSettings) -> None:
    agent_settings(agent_max_bodies_bytes=10_000)
    memory = BodyMemory()
    memory.take(10_000)
    with pytest.raises(RateLimited):
        memory.take(1)
    memory.take(-10_000)
    assert memory.held == 0


@override_settings(CORS_ALLOWED_ORIGINS=["https://page.example"])
@pytest.mark.parametrize("http", ["h11", "httptools"])
@pytest.mark.parametrize(
    ("length", "code"),
    [(100, "request_timeout"), (99_999_999, "body_too_large"), (900, "rate_limited")],
)
async def test_a_page_on_an_allowed_origin_can_read_the_error(
    agent_settings: ChangeSettings, http: str, length: int, code: str
) -> None:
    busy = code == "rate_limited"
    agent_settings(request_read_timeout_seconds=0.3, agent_max_bodies_bytes=1024)
    body = b"a" * (UNCOUNTED_BYTES + 2000) if busy else b"{"
    length = len(body) if busy else length
    for origin, allowed in (
        ("https://page.example", True),
        ("https://x.example", False),
    ):
        head = (HEAD % length).replace("Host:", f"Origin: {origin}\r\nHost:")
        async with (
            served(Handler(1), http=http) as port,
            connection(port, head.encode() + body) as (reader, _),
        ):
            received = await asyncio.wait_for(reader.readuntil(b"}"), SECONDS)
        sent = received.decode().lower()
        assert code in sent
        assert (f"access-control-allow-origin: {origin}" in sent) is allowed
        assert "vary: origin" in sent
        assert ("access-control-expose-headers" in sent) is allowed


@override_settings(CORS_ALLOWED_ORIGINS=["https://page.example"])
async def test_a_url_that_is_not_utf_8_is_refused_in_json() -> None:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def send(message: Any) -> None:  # noqa: ANN401  (ASGI)
        sent.append(message)

    scope = {  # uvicorn refuses such a request itself
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": f"{API}/conversations",
        "query_string": b"search=\xff",
        "headers": [(b"origin", b"https://page.example")],
    }
    await Handler(1)(scope, receive, send)
    assert sent[0]["status"] == 400
    headers = {name.lower(): value for name, value in sent[0]["headers"]}
    assert headers[b"access-control-allow-origin"] == b"https://page.example"
    assert b'"invalid_request"' in sent[1]["body"]


@override_settings(CORS_ALLOWED_ORIGINS=["https://page.example"])
async def test_a_page_on_an_allowed_origin_can_read_that_the_server_drains(
    api: Api,
) -> None:
    await runs.get_service().drain(0)
    body = b'{"input":"2 + 2"}'
    head = (HEAD % len(body)).replace("Host:", "Origin: https://page.example\r\nHost:")
    async with (
        served(Handler(1)) as port,
        connection(port, head.encode() + body) as (reader, _),
    ):
        received = await asyncio.wait_for(reader.readuntil(b"}"), SECONDS)
    assert received.startswith(b"HTTP/1.1 503 ")
    assert b"access-control-allow-origin: https://page.example" in received.lower()


@override_settings(MIDDLEWARE=[])
async def test_a_project_without_cors_sends_no_such_headers() -> None:
    head = (HEAD % 99_999_999).replace("Host:", "Origin: https://page.example\r\nHost:")
    async with (
        served(Handler(1)) as port,
        connection(port, head.encode()) as (reader, _),
    ):
        received = await asyncio.wait_for(reader.readuntil(b"}"), SECONDS)
    assert received.startswith(b"HTTP/1.1 413 ")
    assert b"access-control" not in received.lower()
