"""Limits of one client: open streams, active runs, and time to read."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from itertools import islice
from typing import Any

import pytest
import uvicorn
from django.core.handlers.asgi import ASGIRequest

from streaming import runs
from streaming.principals import Principal
from streaming.runs import RunRequest
from streaming.server.clients import (
    App,
    ClientConnections,
    Receive,
    Scope,
    Send,
    acquire_stream_slot,
)
from streaming.server.servers import transport_of
from streaming.testing.provider import Reply, StandInProvider
from tests import chat
from tests.client import API, Api
from tests.conftest import ChangeSettings

HANGING = Reply(chat.pieces("x"), end="hang")
SECONDS = 20


@pytest.mark.usefixtures("model")
async def test_a_process_limits_its_open_streams(
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
            # Other requests are not counted, nor are streams that have ended.
            assert (await api.get(f"{API}/runs/{run_id}")).status == 200
            await second.hang_up()
        async with api.open("GET", events) as third:
            await third.until("content")
        assert len(upstream.requests) == 1
        runs.get_service().executor.stop(run_id)
        await first.end()


@pytest.mark.usefixtures("model")
async def test_an_organization_limits_its_active_runs(
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
        # A request with the key of an existing run joins it.
        async with api.open(
            "POST", f"{API}/stream", body, {"idempotency_key": "k"}
        ) as joined:
            await joined.until("content")
        for stream in (first, second):
            runs.get_service().executor.stop(stream.response.headers["x-run-id"])
            await stream.end()
    assert (await api.post(f"{API}/run", body)).json["output"] == "alice"


@pytest.mark.usefixtures("model")
async def test_a_process_limits_its_running_runs(
    api: Api, upstream: StandInProvider, agent_settings: ChangeSettings
) -> None:
    agent_settings(run_max=2)
    upstream.reply(HANGING, HANGING, chat.answer("later"))
    body = {"input": "Hi"}
    key = {"idempotency_key": "k"}
    async with (
        api.open("POST", f"{API}/run", body, key),
        api.open("POST", f"{API}/stream", body) as stream,
    ):
        await stream.until("content")
        async with asyncio.timeout(SECONDS):
            while len(upstream.requests) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        for path in ("run", "stream"):
            refused = await api.post(f"{API}/{path}", body | {"org_id": "another"})
            assert (refused.status, refused.json["code"]) == (429, "rate_limited")
            assert int(refused.headers["retry-after"]) > 0
        # A repeated request joins its run, or is in conflict with it.
        async with api.open("POST", f"{API}/stream", body, key) as joined:
            await joined.until("content")
        conflict = await api.post(f"{API}/run", {"input": "x"}, **key)
        assert conflict.json["code"] == "idempotency_conflict"
        # A run that has ended gives up its place at once.
        runs.get_service().executor.stop(stream.response.headers["x-run-id"])
        await stream.end()
        assert (await api.post(f"{API}/run", body)).json["output"] == "later"
        for run_id in [*runs.get_service().worker.executions]:
            runs.get_service().executor.stop(run_id)


@pytest.mark.usefixtures("model", "api")
async def test_a_run_takes_one_place_from_its_request_to_its_end(
    upstream: StandInProvider, agent_settings: ChangeSettings
) -> None:
    agent_settings(run_max=3)
    upstream.reply(HANGING)
    service = runs.get_service()
    request = RunRequest(input="Hi", principal=Principal("default"))
    starting = asyncio.ensure_future(service.begin(request))
    free = set()
    while not starting.done():
        await asyncio.sleep(0)  # one turn of the event loop
        free.add(service.worker.free_places)
    assert free <= {3, 2}
    service.executor.stop(starting.result().run.id)


@pytest.mark.usefixtures("model")
async def test_requests_that_arrive_together_do_not_exceed_the_limit(
    api: Api, upstream: StandInProvider, agent_settings: ChangeSettings
) -> None:
    agent_settings(run_max=3)
    go_on = asyncio.Event()
    answer = Reply.of([chat.pieces("x"), chat.ending()], held=go_on)
    upstream.reply(*[answer] * 3)
    tasks = [asyncio.create_task(api.run("Hi")) for _ in range(10)]
    async with asyncio.timeout(SECONDS):
        for refused in islice(asyncio.as_completed(tasks), 7):
            assert (await refused).status == 429
    go_on.set()
    responses = await asyncio.gather(*tasks)
    assert sorted(r.status for r in responses) == [200] * 3 + [429] * 7
    assert len(upstream.requests) == 3


@asynccontextmanager
async def served(app: App, **options: Any) -> AsyncIterator[int]:  # noqa: ANN401
    """Serve `app` by a real uvicorn and yield its port."""
    options = {"lifespan": "off", **options}
    config = uvicorn.Config(app, port=0, log_config=None, **options)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # The system would otherwise buffer megabytes before a send blocks.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        serving = asyncio.create_task(server.serve([listener]))
        yield listener.getsockname()[1]
        server.should_exit = True
        async with asyncio.timeout(SECONDS):
            await serving


class Flood:
    """An application that sends without end and records its client's disconnect."""

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


async def test_a_client_that_does_not_read_is_disconnected(
    agent_settings: ChangeSettings,
) -> None:
    agent_settings(stream_send_timeout_seconds=0.5)
    flood = Flood()
    async with served(ClientConnections(flood)) as port:
        _, writer = await ask(port)
        async with asyncio.timeout(SECONDS):
            await flood.gone.wait()
        # The buffers of both sides limit the number of sends.
        assert 0 < flood.sent < 1_000
        writer.close()


async def test_a_client_that_reads_slowly_is_not(
    agent_settings: ChangeSettings,
) -> None:
    agent_settings(stream_send_timeout_seconds=1.5)
    flood = Flood()
    async with served(ClientConnections(flood)) as port:
        reader, writer = await ask(port)
        for _ in range(60):
            await reader.read(1_000_000)
            await asyncio.sleep(0.05)
        assert not flood.gone.is_set()
        writer.close()
        async with asyncio.timeout(SECONDS):
            await flood.gone.wait()


async def test_all_clients_are_disconnected_at_once(
    agent_settings: ChangeSettings,
) -> None:
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
        transport = transport_of(send.__self__._send)  # type: ignore[attr-defined]
        assert transport
        connection = transport.get_extra_info("socket")
        option = socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT
        told.append(connection.getsockopt(*option))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async with served(ClientConnections(app)) as port:
        reader, writer = await ask(port)
        assert b" 204 " in await reader.readline()
        writer.close()
    assert told == [7000]


async def test_the_error_reaches_a_server_without_a_transport(
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
        scope = {"type": "http", "http_version": "1.1"}
        await ClientConnections(app)(scope, receive, stuck)
