"""How much one client may take: of streams, of runs, of the server's patience."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from typing import Any

import pytest
import uvicorn
from django.core.handlers.asgi import ASGIRequest

from streaming import runs
from streaming.server.clients import (
    CONNECTION,
    App,
    ClientConnections,
    Receive,
    Scope,
    Send,
    acquire_stream_slot,
)
from streaming.testing.provider import Reply, StandInProvider
from tests import chat
from tests.client import API, Api
from tests.conftest import ChangeSettings

HANGING = Reply(chat.pieces("x"), end="hang")
SECONDS = 20


@pytest.mark.usefixtures("model")
async def test_a_process_holds_so_many_streams(
    api: Api, upstream: StandInProvider, agent_settings: ChangeSettings
) -> None:
    agent_settings(stream_max_open=2)
    upstream.reply(HANGING)
    body = {"input": "Hi"}
    async with api.open("POST", f"{API}/stream", body) as first:
        await first.until("content")
        run_id = first.response.headers["x-run-id"]
        events = f"{API}/runs/{run_id}/events"
        async with api.open("GET", events) as second:
            await second.until("content")
            for refused in (
                await api.post(f"{API}/stream", body),
                await api.get(events),
            ):
                assert (refused.status, refused.json["code"]) == (
                    429,
                    "too_many_streams",
                )
                assert int(refused.headers["retry-after"]) > 0
            # What is no stream is not counted, and those that have left are not.
            assert (await api.get(f"{API}/runs/{run_id}")).status == 200
            await second.hang_up()
        async with api.open("GET", events) as third:
            await third.until("content")
        assert len(upstream.requests) == 1
        runs.get_service().executor.stop(run_id)
        await first.end()


@pytest.mark.usefixtures("model")
async def test_an_organization_has_so_many_runs_at_once(
    api: Api, upstream: StandInProvider, agent_settings: ChangeSettings
) -> None:
    agent_settings(run_max_per_org=2)
    upstream.reply(HANGING, HANGING, chat.answer("bob"), chat.answer("alice"))
    body = {"input": "Hi", "org_id": "acme"}
    async with (
        api.open("POST", f"{API}/stream", body) as first,
        api.open("POST", f"{API}/stream", body, {"idempotency_key": "k"}) as second,
    ):
        await first.until("content")
        await second.until("content")
        refused = await api.post(f"{API}/run", body)
        assert (refused.status, refused.json["code"]) == (429, "rate_limited")
        assert int(refused.headers["retry-after"]) > 0
        elsewhere = await api.run("Hi", org_id="umbrella")
        assert elsewhere.json["output"] == "bob"
        # Who asks again for a run that is there starts none.
        async with api.open(
            "POST", f"{API}/stream", body, {"idempotency_key": "k"}
        ) as joined:
            await joined.until("content")
        for stream in (first, second):
            runs.get_service().executor.stop(stream.response.headers["x-run-id"])
            await stream.end()
    assert (await api.post(f"{API}/run", body)).json["output"] == "alice"


@asynccontextmanager
async def served(app: App, **options: Any) -> AsyncIterator[int]:  # noqa: ANN401
    """A real uvicorn around `app`; its port."""
    config = uvicorn.Config(app, port=0, lifespan="off", log_config=None, **options)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # Or the system holds megabytes, and much must be read before it takes more.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        serving = asyncio.create_task(server.serve([listener]))
        yield listener.getsockname()[1]
        server.should_exit = True
        async with asyncio.timeout(SECONDS):
            await serving


class Flood:
    """Sends without end, and says when its client has gone."""

    def __init__(self) -> None:
        self.sent = 0
        self.started = asyncio.Event()
        self.gone = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        sending = asyncio.create_task(self._send(send))
        assert (await receive())["type"] == "http.disconnect"
        sending.cancel()
        self.gone.set()

    async def _send(self, send: Send) -> None:
        while True:
            chunk = b"x" * 65_536
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            self.sent += 1
            self.started.set()
            await asyncio.sleep(0)


async def ask(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    plain.setblocking(False)
    await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=plain)
    writer.write(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
    return reader, writer


async def test_a_client_that_does_not_read_is_let_go(
    agent_settings: ChangeSettings,
) -> None:
    agent_settings(stream_send_timeout_seconds=0.5)
    flood = Flood()
    async with served(ClientConnections(flood)) as port:
        _, writer = await ask(port)
        async with asyncio.timeout(SECONDS):
            await flood.gone.wait()
        # What it took until then is bounded by the buffers of both sides.
        assert 0 < flood.sent < 1_000
        writer.close()


async def test_a_client_that_reads_slowly_is_not(
    agent_settings: ChangeSettings,
) -> None:
    agent_settings(stream_send_timeout_seconds=0.5)
    flood = Flood()
    async with served(ClientConnections(flood)) as port:
        reader, writer = await ask(port)
        for _ in range(40):
            await reader.read(1_000_000)
            await asyncio.sleep(0.05)
        assert not flood.gone.is_set()
        writer.close()
        async with asyncio.timeout(SECONDS):
            await flood.gone.wait()


async def test_all_clients_are_let_go_at_once(agent_settings: ChangeSettings) -> None:
    flood = Flood()
    connections = ClientConnections(flood)
    async with served(connections) as port:
        _, writer = await ask(port)
        async with asyncio.timeout(SECONDS):
            await flood.started.wait()
            connections.abort()
            await flood.gone.wait()
        writer.close()


@pytest.mark.skipif(
    not hasattr(socket, "TCP_USER_TIMEOUT"),
    reason="only Linux has the option; elsewhere there is nothing to set",
)
async def test_the_system_watches_over_streams(
    agent_settings: ChangeSettings,
) -> None:
    agent_settings(stream_send_timeout_seconds=7)
    told: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        acquire_stream_slot(ASGIRequest(scope, BytesIO()))
        connection = scope[CONNECTION]._transport.get_extra_info("socket")
        option = socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT
        told.append(connection.getsockopt(*option))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async with served(ClientConnections(app)) as port:
        reader, writer = await ask(port)
        assert b" 204 " in await reader.readline()
        writer.close()
    assert told == [7000]


async def test_where_no_connection_can_be_dropped_the_server_is_told(
    agent_settings: ChangeSettings,
) -> None:
    agent_settings(stream_send_timeout_seconds=0.05)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start"})

    async def stuck(message: object) -> None:
        await asyncio.sleep(SECONDS)

    async def receive() -> dict[str, str]:
        return {"type": "http.request"}

    with pytest.raises(TimeoutError):
        await ClientConnections(app)({"type": "http"}, receive, stuck)
