"""The contract of the stand-in provider: replies are sent as they are scripted."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest

from streaming.testing.provider import Reply, Request, StandInProvider
from tests.client import SECONDS

PIECES = (b"one ", b"two ", b"three")
BODY = b"".join(PIECES)


@asynccontextmanager
async def response_of(upstream: StandInProvider) -> AsyncIterator[httpx2.Response]:
    async with (
        httpx2.AsyncClient(timeout=SECONDS) as client,
        client.stream("POST", f"{upstream.url}/v1?x=1", json={"a": 1}) as response,
    ):
        yield response


async def test_replies_are_sent_in_line_and_requests_recorded(
    upstream: StandInProvider,
) -> None:
    upstream.reply(Reply(b"{}", 429, headers={"retry-after": "7"}), Reply(BODY))
    async with httpx2.AsyncClient(timeout=SECONDS) as client:
        answers = [
            await client.post(f"{upstream.url}/v1?x=1", json={"n": number})
            for number in range(3)
        ]
    assert [answer.status_code for answer in answers] == [429, 200, 599]
    assert answers[0].headers["retry-after"] == "7"
    assert answers[1].content == BODY
    assert answers[1].headers["content-type"] == "text/event-stream"
    request = upstream.requests[1]
    assert (request.method, request.path, request.json) == ("POST", "/v1?x=1", {"n": 1})
    assert request.headers["content-type"] == "application/json"
    assert (upstream.connections, upstream.active) == (1, 0)
    assert not upstream.gone.is_set()
    upstream.reset()
    assert upstream.requests == []


@pytest.mark.parametrize(
    "reply",
    [
        Reply(BODY),
        Reply(BODY, chunk_size=2),
        Reply(BODY, chunk_size=1, delay=0),
        Reply(BODY, cuts=[3, 9], delay=0.001),
        Reply(BODY, gzip=True, chunk_size=3, delay=0),
        Reply.of(PIECES, delay=0),
        Reply.of([BODY.upper()], delay=0, stamp=bytes.lower),
        Reply(),
    ],
)
async def test_the_body_is_whole_however_it_is_cut(
    upstream: StandInProvider, reply: Reply
) -> None:
    upstream.reply(reply)
    async with response_of(upstream) as response:
        body = b"".join([chunk async for chunk in response.aiter_bytes()])
    assert body == (BODY if reply.body else b"")


async def test_each_piece_has_a_delay_before_it(upstream: StandInProvider) -> None:
    upstream.reply(Reply.of(PIECES, delay=0.05))
    started = time.monotonic()
    async with response_of(upstream) as response:
        assert await response.aread() == BODY
    assert time.monotonic() - started >= 0.15


async def test_held_pieces_wait(upstream: StandInProvider) -> None:
    held = asyncio.Event()
    upstream.reply(Reply.of(PIECES, held=held))
    async with response_of(upstream) as response:
        pieces = response.aiter_bytes()
        assert await anext(pieces) == PIECES[0]
        assert upstream.active == 1
        held.set()
        assert b"".join([piece async for piece in pieces]) == b"".join(PIECES[1:])
    assert not upstream.gone.is_set()


@pytest.mark.parametrize("end", ["cut", "reset"])
async def test_a_reply_may_break_off(upstream: StandInProvider, end: str) -> None:
    upstream.reply(Reply(BODY, end="cut" if end == "cut" else "reset"))
    with pytest.raises(httpx2.TransportError):
        async with response_of(upstream) as response:
            await response.aread()
    assert not upstream.gone.is_set()
    assert upstream.active == 0


@pytest.mark.parametrize(
    "reply", [Reply(BODY, end="hang"), Reply.of(PIECES, held=asyncio.Event())]
)
async def test_a_client_that_disconnects_is_noticed(
    upstream: StandInProvider, reply: Reply
) -> None:
    upstream.reply(reply)
    async with response_of(upstream) as response:
        assert await anext(response.aiter_bytes())
        assert (upstream.gone.is_set(), upstream.active) == (False, 1)
    await asyncio.wait_for(upstream.gone.wait(), SECONDS)
    assert upstream.active == 0


async def test_replies_may_follow_from_requests() -> None:
    def echo(request: Request) -> Reply:
        return Reply(request.body)

    async with (
        StandInProvider(echo, keep_requests=False) as upstream,
        response_of(upstream) as response,
    ):
        assert await response.aread() == b'{"a":1}'
        assert upstream.requests == []


async def test_a_slow_reader_holds_a_long_reply_back(upstream: StandInProvider) -> None:
    piece = b"x" * 100_000
    upstream.reply(Reply.of([piece] * 300, delay=0))
    async with response_of(upstream) as response:
        pieces = response.aiter_bytes()
        size = len(await anext(pieces))
        await asyncio.sleep(0.1)  # it would have sent everything in this time
        assert upstream.active == 1
        async for more in pieces:
            size += len(more)
    assert size == 300 * len(piece)
