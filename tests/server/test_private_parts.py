"""Contract tests of the private parts that `streaming/server` and `runserver` use."""

import asyncio
import inspect
import multiprocessing
import sys
import threading
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import httpx
import hypercorn.asyncio
import hypercorn.asyncio.run
import hypercorn.config
import hypercorn.run
import pytest
from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.contrib.staticfiles.finders import get_finders
from django.core.handlers.asgi import ASGIHandler, ASGIRequest, get_script_prefix
from django.core.management import call_command
from django.core.signals import request_finished
from django.dispatch import Signal
from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware
from django.test import RequestFactory, override_settings
from django.urls import path
from django.utils import autoreload
from uvicorn import Config

from streaming.exceptions import RateLimited
from streaming.management.commands import runserver
from streaming.server.clients import App, scope_of
from streaming.server.event_stream import EventStream
from streaming.server.refusals import refusal
from streaming.server.request_heads import (
    LimitedH11Protocol,
    LimitedHttpToolsProtocol,
    replace_protocol,
)
from streaming.server.servers import (
    report_alive,
    reset_stream,
    termination_by_parent,
    termination_of,
    transport_of,
    uvicorn_config,
)
from streaming.server.signals import HOUSEKEEPING
from streaming.server.unchunked import without_chunks
from streaming.testing.server import free_port
from tests.client import API, SECONDS
from tests.conftest import ChangeSettings
from tests.private_parts import relies_on
from tests.server.test_clients import ask, served

SCOPE = {
    "type": "http",
    "method": "GET",
    "path": "/page",
    "query_string": b"",
    "headers": [(b"host", b"localhost")],
}


def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(b"x" * 100_000)


urlpatterns = [path("page", page)]


# Signals


def test_live_receivers() -> None:
    signal = Signal()

    def in_thread(**_: object) -> None: ...

    async def on_loop(**_: object) -> None: ...

    def for_others(**_: object) -> None: ...

    signal.connect(in_thread)
    signal.connect(on_loop, sender=HttpRequest)
    signal.connect(for_others, sender=HttpResponse)
    with relies_on(
        "django",
        "Signal._live_receivers(sender)",
        "RequestSignal cannot send request_started and request_finished: each request"
        " fails, or receivers are not called.",
    ):
        assert signal._live_receivers(HttpRequest) == ([in_thread], [on_loop])


@pytest.mark.parametrize("signal", HOUSEKEEPING, ids=["started", "finished"])
def test_housekeeping_receivers(signal: Signal) -> None:
    with relies_on(
        "django",
        "the set of functions that Django connects to request_started and"
        " request_finished",
        "A function that HOUSEKEEPING lacks costs each request a thread hop; one that"
        " Django no longer connects is work that the handler may stop doing.",
    ):
        synchronous, _ = signal._live_receivers(None)
        ours = {each for each in synchronous if each.__module__.startswith("django.")}
        assert ours == HOUSEKEEPING[signal]


# Responses


@pytest.mark.parametrize(
    "response", [HttpResponse(), FileResponse(BytesIO()), StreamingHttpResponse()]
)
def test_response_close(response: HttpResponseBase) -> None:
    closed: list[str] = []
    sent: list[object] = []

    def receive(sender: object, **_: object) -> None:
        sent.append(sender)

    with relies_on(
        "django",
        "HttpResponseBase.close: it calls _resource_closers, sets closed, sends"
        " request_finished",
        "close_without_signal must do all but the last: files or generators stay open.",
    ):
        assert type(response).close is HttpResponseBase.close
        before = set(vars(response)) | {"_handler_class"}
        response._resource_closers.append(lambda: closed.append("closed"))  # type: ignore[attr-defined]
        request_finished.connect(receive)
        try:
            # In a thread of its own: Django's receivers close its connections.
            with ThreadPoolExecutor(1) as thread:
                thread.submit(response.close).result()
        finally:
            request_finished.disconnect(receive)
        assert (closed, sent, response.closed) == (["closed"], [None], True)
        assert response._resource_closers == []  # type: ignore[attr-defined]
        assert set(vars(response)) <= before


async def test_streaming_response_iterator() -> None:
    async def frames() -> AsyncGenerator[bytes]:
        yield b"frame"

    made = frames()
    with relies_on(
        "django",
        "StreamingHttpResponse._iterator",
        "EventStream does not find its frames: streams fail, or their generators are"
        " left to the garbage collector when a client disconnects.",
    ):
        assert aiter(EventStream(made, "run")) is made
    await made.aclose()


def test_gzip_asks_for_the_encoding() -> None:
    async def frames() -> AsyncGenerator[bytes]:
        yield b"frame"

    stream = EventStream(frames(), "run")
    request = RequestFactory().get("/", HTTP_ACCEPT_ENCODING="gzip")
    with relies_on(
        "django",
        "GZipMiddleware: it skips a response whose has_header('Content-Encoding')",
        "Streams are compressed frame by frame, and clients show only the first.",
    ):
        response = GZipMiddleware(lambda request: stream)(request)
        assert response is stream
        assert "Content-Encoding" not in response.headers


# Handler


@override_settings(ROOT_URLCONF=__name__)
async def test_handler_steps() -> None:
    sent: list[Any] = []

    async def send(message: object) -> None:
        sent.append(message)

    with relies_on(
        "django",
        "ASGIHandler.create_request, run_get_response, send_response, chunk_size",
        "The handler cannot serve requests.",
    ):
        handler = ASGIHandler()
        request, refusal = handler.create_request(SCOPE, BytesIO(b"body"))
        assert isinstance(request, ASGIRequest)
        assert refusal is None
        assert request.read() == b"body"
        response = await handler.run_get_response(request)
        await handler.send_response(response, send)
        assert [message["type"] for message in sent] == [
            "http.response.start",
            *["http.response.body"] * 2,
        ]
        assert len(sent[1]["body"]) == handler.chunk_size == 2**16
        bad, refusal = handler.create_request(
            SCOPE | {"query_string": b"\xff"}, BytesIO()
        )
        assert bad is None
        assert refusal and refusal.status_code == 400


@override_settings(ROOT_URLCONF=__name__)
async def test_handler_registers_the_request_with_the_response() -> None:
    with relies_on(
        "django",
        "BaseHandler: it appends request.close to the response's _resource_closers",
        "EventStream.release_request fails, and with it every stream; or each stream"
        " keeps its request in memory.",
    ):
        handler = ASGIHandler()
        request, _ = handler.create_request(SCOPE, BytesIO())
        assert request
        response = await handler.run_get_response(request)
        assert request.close in response._resource_closers  # type: ignore[attr-defined]


def test_script_prefix_of_a_scope() -> None:
    with relies_on(
        "django",
        "django.core.handlers.asgi.get_script_prefix",
        "Under a root path, or at all, no request is served.",
    ):
        assert get_script_prefix({"root_path": "/mounted"}) == "/mounted"
        assert get_script_prefix({}) == ""


def test_scope_of_a_request() -> None:
    with relies_on(
        "django",
        "ASGIRequest.scope",
        "Open streams are not counted; the self-test does not see the HTTP version.",
    ):
        scope = {**SCOPE, "mark": "x"}
        assert scope_of(ASGIRequest(scope, BytesIO())) == scope
        assert scope_of(RequestFactory().get("/")) == {}


def test_static_file_finders() -> None:
    with relies_on(
        "django",
        "staticfiles.finders.get_finders, and the finders' storages with their location"
        " and prefix",
        "The page's scripts and styles are not served.",
    ):
        storages = [
            storage
            for finder in get_finders()
            for storage in finder.storages.values()  # type: ignore[attr-defined]
        ]
        assert any(storage.exists("streaming/favicon.svg") for storage in storages)
        assert all(storage.location for storage in storages)


async def test_thread_sensitive_context() -> None:
    with (
        relies_on(
            "asgiref",
            "ThreadSensitiveContext(executor=…)",
            "Each request starts threads of its own, and an open stream holds one.",
        ),
        ThreadPoolExecutor(1) as executor,
    ):
        expected = executor.submit(threading.get_ident).result()
        for _ in range(2):
            async with ThreadSensitiveContext(executor=executor):
                assert await sync_to_async(threading.get_ident)() == expected


# uvicorn


@pytest.mark.parametrize("http", ["h11", "httptools"])
async def test_transport_of_uvicorn(http: str) -> None:
    found: list[object] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
        found.append(transport_of(send))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    under_test: App = app
    with relies_on(
        "uvicorn",
        "send: a method of an object with the connection's transport",
        "A client that does not read is never disconnected, and one that vanished is"
        " noticed after a quarter of an hour.",
    ):
        async with served(under_test, http=http) as port:
            reader, writer = await ask(port)
            assert b" 204 " in await reader.readline()
            writer.close()
        assert isinstance(found[0], asyncio.Transport)
        assert callable(found[0].abort)


PROTOCOLS = {"httptools": LimitedHttpToolsProtocol, "h11": LimitedH11Protocol}


@pytest.mark.parametrize("http", PROTOCOLS)
async def test_lifespan_of_uvicorn(http: str) -> None:
    found: list[type] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
        if scope["type"] == "lifespan":
            await receive()
            config = uvicorn_config(send)
            assert config
            replace_protocol(config, lambda: None)
            await send({"type": "lifespan.startup.complete"})
            return
        found.append(type(send.__self__.on_response.__self__))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    with relies_on(
        "uvicorn",
        "send of the lifespan: a method of an object with the configuration, whose"
        " http_protocol_class serves each connection",
        "The heads of requests are limited neither in time nor in size.",
    ):
        async with served(app, http=http, lifespan="on") as port:
            reader, writer = await ask(port)
            assert b" 204 " in await reader.readline()
            writer.close()
        assert found == [PROTOCOLS[http]]


@pytest.mark.parametrize("http", PROTOCOLS)
async def test_protocols_of_uvicorn(http: str, agent_settings: ChangeSettings) -> None:
    agent_settings(request_read_timeout_seconds=0.2)

    async def app(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    under_test: App = app
    with relies_on(
        "uvicorn",
        "HttpToolsProtocol (on_message_begin, on_headers_complete, url, headers,"
        " _should_upgrade) and H11Protocol (conn): both with send_400_response, cycle"
        " and transport",
        "Heads of requests are not limited, or complete ones are refused.",
    ):
        async with served(under_test, http=PROTOCOLS[http]) as port:
            connect = b"CONNECT host:80 HTTP/1.1\r\nhost: host\r\n\r\n"
            for sent, expected in (
                *([(connect, b" 400 ")] if http == "httptools" else ()),
                (b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n", b" 204 "),
                (b"GET / HTTP/1.1\r\n", b" 408 "),
                (b"nonsense\r\n\r\n", b" 400 "),
            ):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(sent)
                assert expected in await reader.readline()
                writer.close()


@pytest.mark.parametrize("http", PROTOCOLS)
async def test_shutdown_of_uvicorn(http: str) -> None:
    told = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
        if scope["type"] == "lifespan":
            await receive()
            config = uvicorn_config(send)
            assert config
            replace_protocol(config, told.set)
            await send({"type": "lifespan.startup.complete"})
            return
        if scope["path"] == "/slow":
            await told.wait()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    with relies_on(
        "uvicorn",
        "Server.shutdown: it calls the shutdown of each connection's protocol",
        "A worker that has served --limit-max-requests does not drain: its streams are"
        " cut, or keep it alive.",
    ):
        async with (
            asyncio.timeout(20),
            served(app, http=http, lifespan="on", limit_max_requests=1) as port,
        ):
            slow, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /slow HTTP/1.1\r\nhost: localhost\r\n\r\n")
            reader, other = await ask(port)
            assert b" 204 " in await reader.readline()
            assert b" 204 " in await slow.readline()
            writer.close()
            other.close()


async def test_reports_of_uvicorn() -> None:
    reports: asyncio.Queue[None] = asyncio.Queue()
    with relies_on(
        "uvicorn",
        "Config.callback_notify",
        "gunicorn kills a worker that drains for longer than its timeout.",
    ):
        config = Config("", callback_notify=lambda: reports.put(None))
        reporting = asyncio.create_task(report_alive(config))
        async with asyncio.timeout(20):
            for _ in range(3):
                await reports.get()
        reporting.cancel()


@pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
async def test_parts_of_hypercorn(http2: bool) -> None:
    found: list[Any] = []
    terminated = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
        if scope["type"] == "lifespan":
            return
        found.append((transport_of(send), termination_of(send)))
        if scope["path"] == "/reset":
            reset_stream(send)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    config = hypercorn.config.Config()
    config.bind = [f"127.0.0.1:{free_port()}"]
    config.errorlog = None
    serving = asyncio.create_task(
        hypercorn.asyncio.serve(app, config, shutdown_trigger=terminated.wait)
    )
    with relies_on(
        "hypercorn",
        "send: a method of a stream that leads to its transport, to the connection of"
        " h2, and to the event of the shutdown",
        "hypercorn does not drain its runs, and stuck clients are never dropped.",
    ):
        transport = httpx.AsyncHTTPTransport(http1=not http2, http2=http2, retries=50)
        url = f"http://{config.bind[0]}"
        async with httpx.AsyncClient(
            transport=transport, base_url=url, timeout=SECONDS
        ) as client:
            assert (await client.get("/")).status_code == 204
            if http2:
                with pytest.raises(httpx.RemoteProtocolError, match="StreamReset"):
                    await client.get("/reset")
                assert (await client.get("/")).status_code == 204
        (found_transport, wait), *_ = found
        assert callable(found_transport.abort)
        terminated.set()
        async with asyncio.timeout(20):
            await wait()
            await serving


async def test_event_of_the_parent_of_hypercorn() -> None:
    """Its workers are processes that have the event among their keyword arguments."""
    with relies_on(
        "hypercorn",
        "multiprocessing: a worker's `_kwargs` has the `shutdown_event`",
        "under Django's own application hypercorn does not drain its runs.",
    ):
        workers = (
            hypercorn.asyncio.run.asyncio_worker,
            hypercorn.asyncio.run.uvloop_worker,
        )
        for worker in workers:
            assert "shutdown_event" in inspect.signature(worker).parameters
        source = inspect.getsource(hypercorn.run)
        assert "ctx.Process(" in source
        assert '"shutdown_event": shutdown_event' in source
        event = threading.Event()
        process: Any = multiprocessing.Process(kwargs={"shutdown_event": event})
        assert termination_by_parent() is None
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(multiprocessing, "current_process", lambda: process)
            wait = termination_by_parent()
        assert wait
        waiting = asyncio.ensure_future(wait())
        await asyncio.sleep(0)
        assert not waiting.done()
        event.set()
        async with asyncio.timeout(20):
            await waiting


def test_cors_middleware() -> None:
    with (
        relies_on(
            "django-cors-headers",
            "CorsMiddleware: a synchronous call with a synchronous function",
            "Pages on other origins cannot read the errors of refused requests.",
        ),
        override_settings(CORS_ALLOWED_ORIGINS=["https://page.example"]),
    ):
        origin = [(b"origin", b"https://page.example")]
        scope = {"method": "GET", "path": f"{API}/run", "headers": origin}
        headers = refusal(RateLimited(), scope).headers
        assert headers["access-control-allow-origin"] == "https://page.example"
        assert headers["Vary"].lower() == "origin"


@pytest.mark.parametrize("http", PROTOCOLS)
async def test_unchunked_response_of_uvicorn(http: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
        send = without_chunks(send)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await send({"type": "http.response.body", "body": b"b"})

    under_test: App = app
    with relies_on(
        "uvicorn",
        "chunked_encoding and expected_content_length behind the send of httptools",
        "HTTP/1.0 clients receive the sizes of chunks in each stream.",
    ):
        async with served(under_test, http=http) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.0\r\n\r\n")
            received = await reader.read()
            writer.close()
        assert received.partition(b"\r\n\r\n")[2] == b"ab"


# runserver


class Recorded(runserver.Command):
    """The command, without a server."""

    def run(self, **options: object) -> None:
        self.received = options


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    command = Recorded()
    call_command(command, "127.0.0.1:9", "--skip-checks")
    yield command


def test_runserver_attributes(recorded: Recorded) -> None:
    with relies_on(
        "django",
        "runserver.Command: handle parses the address and calls run(**options)",
        "manage.py runserver does not start, or on another address.",
    ):
        assert (recorded.addr, recorded.port, recorded.use_ipv6) == (
            "127.0.0.1",
            "9",
            False,
        )
        assert recorded.received["use_reloader"] is True
        assert recorded.received["skip_checks"] is True
        assert recorded.received["is_child"] is False
        assert callable(recorded.check_migrations)


def test_runserver_calls_inner_run() -> None:
    class Inner(runserver.Command):
        def inner_run(self, *args: object, **options: object) -> None:
            called.append(options["use_reloader"])

    called: list[object] = []
    with relies_on(
        "django",
        "runserver.Command.run: without the reloader it calls inner_run",
        "manage.py runserver serves over WSGI, which delays streams until their end.",
    ):
        call_command(Inner(), "127.0.0.1:9", "--noreload", "--skip-checks")
        assert called == [False]


def test_autoreload(monkeypatch: pytest.MonkeyPatch) -> None:
    # A worker process of the test run has no command that could be repeated.
    monkeypatch.setattr(sys, "argv", [autoreload.__file__, "runserver"])
    with relies_on(
        "django",
        "autoreload: raise_last_exception, get_child_arguments, DJANGO_AUTORELOAD_ENV,"
        " exit code 3",
        "manage.py runserver does not restart when code changes.",
    ):
        autoreload.raise_last_exception()
        assert autoreload.DJANGO_AUTORELOAD_ENV == "RUN_MAIN"
        assert all(isinstance(each, str) for each in autoreload.get_child_arguments())
        with pytest.raises(SystemExit) as ended:
            autoreload.trigger_reload("file.py")
        assert ended.value.code == runserver.RELOAD
