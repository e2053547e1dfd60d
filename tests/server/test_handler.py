"""The request handler: cancellation, signals, threads and connections of requests."""

import asyncio
import gc
import logging
import threading
import time
import weakref
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, ClassVar

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.cache.backends.locmem import LocMemCache
from django.core.handlers.asgi import ASGIRequest
from django.core.signals import request_finished, request_started
from django.db import Error, connection
from django.http import HttpResponse
from django.test import AsyncClient, override_settings
from django.urls import path

from streaming.models import Organization
from streaming.server.clients import App, ClientConnections, Receive, Scope, Send
from streaming.server.event_stream import EventStream
from streaming.server.handler import Handler
from streaming.server.signals import HOUSEKEEPING
from tests.client import Api
from tests.server.test_clients import served

SECONDS = 20
SCENE = "tests.scene"

#: Where a request can be when its end comes.
MOMENTS = ("view", "head", "frame", "sending", "last")


class Scene:
    """The state that a view shares with its test, through the request's scope."""

    def __init__(self, moment: str = "") -> None:
        self.moment = moment
        self.reached = asyncio.Event()
        #: The parts of the answer that were begun, and those that were cleaned up.
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.request: Callable[[], ASGIRequest | None] = lambda: None
        self.signals: list[str] = []

    async def at(self, moment: str) -> None:
        """Wait for ever if this is the moment."""
        if moment == self.moment:
            self.reached.set()
            await asyncio.Event().wait()

    @asynccontextmanager
    async def part(self, name: str) -> AsyncGenerator[None]:
        self.begun.append(name)
        try:
            yield
        finally:
            self.ended.append(name)

    async def is_reached(self) -> None:
        async with asyncio.timeout(SECONDS):
            await self.reached.wait()

    async def is_cleaned_up(self) -> None:
        async with asyncio.timeout(SECONDS):
            while self.ended != self.begun[::-1]:  # noqa: ASYNC110  (a task does it)
                await asyncio.sleep(0)


def scene_of(request: ASGIRequest) -> Scene:
    scene: Scene = request.scope[SCENE]
    return scene


async def frames(scene: Scene) -> AsyncGenerator[bytes]:
    async with scene.part("frames"):
        await scene.at("head")
        yield b"one"
        await scene.at("frame")
        yield b"two"


async def stream(request: ASGIRequest) -> EventStream:
    scene = scene_of(request)
    scene.request = weakref.ref(request)
    async with scene.part("view"):
        await scene.at("view")
    scene.begun.clear()
    scene.ended.clear()
    response = EventStream(frames(scene), "run")
    response.set_cookie("flavor", "vanilla", httponly=True)
    response.set_cookie("size", "small")
    return response


async def large(request: ASGIRequest) -> EventStream:
    async def content() -> AsyncGenerator[bytes]:
        yield body

    body = request.body
    return EventStream(content(), "run")


async def stubborn(request: ASGIRequest) -> HttpResponse:
    with suppress(asyncio.CancelledError):
        await scene_of(request).at("view")
    return HttpResponse("all the same")


async def echo(request: ASGIRequest) -> HttpResponse:
    length = str(len(request.body))
    return HttpResponse(request.body, headers={"Content-Length": length})


async def cached(request: ASGIRequest) -> HttpResponse:
    return HttpResponse(cache.get("key", "nothing"))


def cached_in_thread(request: ASGIRequest) -> HttpResponse:
    return HttpResponse(cache.get("key", "nothing"))


class Closing(HttpResponse):
    """A response with a `close` of its own."""

    def close(self) -> None:
        Organization.objects.count()
        super().close()


async def closing(request: ASGIRequest) -> HttpResponse:
    return Closing("closing")


def count(request: ASGIRequest) -> HttpResponse:
    """Return the state of the thread's connection, and use it."""
    found = "none" if connection.connection is None else "one"
    Organization.objects.count()
    return HttpResponse(f"{threading.current_thread().name}: {found}")


def count_on_old(request: ASGIRequest) -> HttpResponse:
    response = count(request)
    connection.close_at = time.monotonic() - 1
    return response


def count_on_broken(request: ASGIRequest) -> HttpResponse:
    response = count(request)
    if connection.vendor == "postgresql":
        connection.connection.close()
        with suppress(Error):
            Organization.objects.count()
    else:  # a file's does not break, but can be left in an unexpected state
        connection.set_autocommit(False)
    return response


urlpatterns = [
    path(f"api/{view.__name__}", view)
    for view in (
        stream,
        large,
        stubborn,
        echo,
        cached,
        cached_in_thread,
        closing,
        count,
        count_on_old,
        count_on_broken,
    )
]


@pytest.fixture(autouse=True)
def _these_views() -> Iterator[None]:
    with override_settings(ROOT_URLCONF=__name__):
        yield


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Check that no warning is logged."""
    yield
    logged = caplog.get_records("call")
    assert [r.getMessage() for r in logged if r.levelno > logging.INFO] == []


class Signals:
    """Receivers of the request signals, in a thread and on the event loop."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    async def on_loop(self, signal: object, **_: object) -> None:
        self.sent.append(f"{self._name(signal)} on {self._place()}")

    def in_thread(self, signal: object, **_: object) -> None:
        Organization.objects.count()
        self.sent.append(f"{self._name(signal)} in {self._place()}")

    def _name(self, signal: object) -> str:
        return "started" if signal is request_started else "finished"

    def _place(self) -> str:
        thread = threading.current_thread()
        return "loop" if thread is threading.main_thread() else thread.name


@pytest.fixture
def signals() -> Iterator[Signals]:
    """Receivers on the event loop, which need no thread."""
    told = Signals()
    for signal in (request_started, request_finished):
        signal.connect(told.on_loop)
    yield told
    for signal in (request_started, request_finished):
        signal.disconnect(told.on_loop)
        signal.disconnect(told.in_thread)


class Call:
    """A request that is passed to the handler directly, and its response."""

    def __init__(
        self, name: str, scene: Scene | None = None, *body: bytes, query: bytes = b""
    ) -> None:
        self.scene = scene or Scene()
        self.gone = asyncio.Event()
        self.sent: list[Mapping[str, Any]] = []
        #: Cancellations of the task that remain after the request.
        self.cancelling = -1
        self._body = list(body) or [b""]
        self._scope = {
            "type": "http",
            "method": "POST",
            "path": f"/api/{name}",
            "query_string": query,
            "headers": [(b"host", b"localhost")],
            SCENE: self.scene,
        }

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent[1:])

    async def __call__(self, handler: App | None = None) -> "Call":
        task = asyncio.current_task()
        assert task
        await (handler or Handler(1))(self._scope, self._receive, self._send)
        self.cancelling = task.cancelling()
        return self

    async def _receive(self) -> dict[str, Any]:
        if self._body:
            body = self._body.pop(0)
            more = bool(self._body)
            return {"type": "http.request", "body": body, "more_body": more}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Mapping[str, Any]) -> None:
        self.sent.append(message)
        if message.get("body"):
            await self.scene.at("sending")
        elif message["type"] == "http.response.body":
            await self.scene.at("last")


async def begin(call: Call) -> asyncio.Task[Call]:
    """Return the task of a call that has reached its moment."""
    task = asyncio.create_task(call())
    await call.scene.is_reached()
    return task


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_client_that_disconnects_ends_its_view_and_frames(
    signals: Signals, moment: str
) -> None:
    call = Call("stream", Scene(moment))
    task = await begin(call)
    call.gone.set()
    async with asyncio.timeout(SECONDS):
        await task
    await call.scene.is_cleaned_up()
    assert call.scene.begun == (["view"] if moment == "view" else ["frames"])
    assert call.cancelling == 0
    assert signals.sent == ["started on loop", "finished on loop"]


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("gone", [False, True])
async def test_a_request_that_the_server_cancels_ends_as_cancelled(
    signals: Signals, moment: str, gone: bool
) -> None:
    call = Call("stream", Scene(moment))
    task = await begin(call)
    if gone:  # both at once
        call.gone.set()
    task.cancel()
    async with asyncio.timeout(SECONDS):
        await asyncio.wait([task])
    assert task.cancelled()
    await call.scene.is_cleaned_up()
    assert call.scene.begun == (["view"] if moment == "view" else ["frames"])
    assert signals.sent == ["started on loop", "finished on loop"]


@pytest.mark.usefixtures("quiet")
async def test_a_view_that_ignores_its_cancellation_leaves_the_task_uncancelled(
    signals: Signals,
) -> None:
    call = Call("stubborn", Scene("view"))
    task = await begin(call)
    call.gone.set()
    async with asyncio.timeout(SECONDS):
        await task
    assert call.body == b"all the same"
    assert call.cancelling == 0
    assert signals.sent == ["started on loop", "finished on loop"]


@pytest.mark.usefixtures("quiet")
async def test_a_client_that_disconnects_within_the_body_makes_no_request(
    signals: Signals,
) -> None:
    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": b"half", "more_body": True},
        {"type": "http.disconnect"},
    ]
    call = Call("echo")
    await Handler(1)(call._scope, receive, call._send)
    assert not call.sent
    assert not signals.sent


@asynccontextmanager
async def site(scene: Scene) -> AsyncGenerator[int]:
    """A real server of these views; its port."""
    app = ClientConnections(Handler(1))

    async def with_scene(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, SCENE: scene}, receive, send)

    async with served(with_scene) as port:
        yield port


def request_of(name: str, body: bytes = b"", length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    head = f"POST /api/{name} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {size}"
    return head.encode() + b"\r\n\r\n" + body


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("moment", ["view", "head", "frame"])
async def test_a_real_connection_that_breaks_ends_its_view_and_frames(
    signals: Signals, moment: str
) -> None:
    scene = Scene(moment)
    async with site(scene) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request_of("stream"))
        await scene.is_reached()
        writer.close()
        await scene.is_cleaned_up()
    assert scene.begun == (["view"] if moment == "view" else ["frames"])
    assert signals.sent == ["started on loop", "finished on loop"]


@pytest.mark.usefixtures("quiet")
async def test_a_real_connection_may_break_in_the_middle_of_the_body(
    signals: Signals,
) -> None:
    async with site(Scene()) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request_of("echo", b"half", length=8))
        await writer.drain()
        writer.close()
        await writer.wait_closed()
    assert not signals.sent


@pytest.mark.usefixtures("quiet")
async def test_a_connection_serves_one_request_after_the_other(
    signals: Signals,
) -> None:
    async with site(Scene()) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for answer in (b"first", b"second"):
            writer.write(request_of("echo", answer))
            assert await _answer(reader) == answer
        writer.write(request_of("echo", b"third") + request_of("echo", b"at once"))
        assert [await _answer(reader) for _ in range(2)] == [b"third", b"at once"]
        writer.close()
    assert signals.sent.count("started on loop") == 4
    assert signals.sent.count("finished on loop") == 4


async def _answer(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(SECONDS):
        head = await reader.readuntil(b"\r\n\r\n")
        _, _, length = head.lower().partition(b"content-length: ")
        return await reader.readexactly(int(length.split(b"\r\n")[0]))


async def test_a_stream_holds_no_request() -> None:
    call = Call("stream", Scene("frame"), b"much")
    task = await begin(call)
    gc.collect()
    assert call.scene.request() is None
    call.gone.set()
    await task


async def test_a_stream_begins_with_its_headers_and_cookies() -> None:
    call = await Call("stream")()
    assert (call.status, call.body) == (200, b"onetwo")
    assert call.sent[-1]["more_body"] is False
    headers = call.sent[0]["headers"]
    assert dict(headers)[b"X-Run-Id"] == b"run"
    assert [value for name, value in headers if name == b"Set-Cookie"] == [
        b"flavor=vanilla; HttpOnly; Path=/",
        b"size=small; Path=/",
    ]


async def test_a_large_chunk_is_sent_in_pieces() -> None:
    chunk = bytes(range(256)) * 1000
    call = await Call("large", Scene(), chunk)()
    pieces = [message["body"] for message in call.sent[1:]]
    assert b"".join(pieces) == chunk
    assert max(map(len, pieces)) <= 2**16


async def test_a_body_in_pieces_is_one_body() -> None:
    call = await Call("echo", None, b"one ", b"", b"two ", b"three", b"")()
    assert (call.status, call.body) == (200, b"one two three")


async def test_an_invalid_request_is_refused(signals: Signals) -> None:
    call = await Call("echo", query=b"\xff")()
    assert call.status == 400
    assert signals.sent == ["started on loop", "finished on loop"]


@pytest.mark.usefixtures("transactional_db")
@pytest.mark.parametrize("name", ["echo", "stream", "count"])
async def test_receivers_in_a_thread_and_on_the_loop_are_called_once(
    signals: Signals, name: str
) -> None:
    handler = Handler(1)
    for signal in (request_started, request_finished):
        signal.connect(signals.in_thread)
    assert (await Call(name)(handler)).status == 200
    gone = Call("stream", Scene("view"))
    leaving = asyncio.create_task(gone(handler))
    await gone.scene.is_reached()
    gone.gone.set()
    await leaving
    each = ["started in sync-0-0", "started on loop"]
    each += ["finished in sync-0-0", "finished on loop"]
    assert sorted(signals.sent) == sorted(each * 2)


@pytest.mark.parametrize("name", ["echo", "stream", "cached"])
async def test_a_request_without_synchronous_code_uses_no_thread(name: str) -> None:
    connected = [list(each.receivers) for each in (request_started, request_finished)]
    before = {*threading.enumerate()}  # some of them may end meanwhile
    assert (await Call(name)(Handler(1))).status == 200
    assert {*threading.enumerate()} <= before
    assert connected == [each.receivers for each in (request_started, request_finished)]
    for signal, receivers in HOUSEKEEPING.items():
        alive, _ = signal._live_receivers(None)
        assert receivers <= {*alive}, "Django's own receivers stay connected"


@pytest.mark.usefixtures("transactional_db")
async def test_a_response_may_close_itself_in_a_thread(signals: Signals) -> None:
    request_finished.connect(signals.in_thread)
    assert (await Call("closing")()).body == b"closing"
    assert sorted(signals.sent) == [
        "finished in sync-0-0",
        "finished on loop",
        "started on loop",
    ]


@pytest.mark.usefixtures("transactional_db")
@pytest.mark.parametrize("name", ["count_on_old", "count_on_broken"])
async def test_no_request_finds_a_connection_that_is_old_or_broken(name: str) -> None:
    handler = Handler(1)
    for view in (name, "count", name, "count"):
        call = await Call(view)(handler)
        assert call.status == 200
        if view == "count":
            assert call.body == b"sync-0-0: none"


@pytest.mark.usefixtures("transactional_db")
async def test_requests_share_the_threads_in_turn() -> None:
    handler = Handler(2)
    names = [(await Call("count")(handler)).body.split(b":")[0] for _ in range(4)]
    assert names == [b"sync-0-0", b"sync-1-0"] * 2


@override_settings(ROOT_URLCONF="agentsite.urls")
async def test_a_page_of_the_admin_is_served(api: Api) -> None:
    client = AsyncClient()
    root = await sync_to_async(User.objects.create_superuser)("root")
    await client.aforce_login(root)
    name = settings.SESSION_COOKIE_NAME
    cookie = f"{name}={client.cookies[name].value}"
    page = await api.get("/admin/streaming/run/", cookie=cookie)
    assert (page.status, b"runs" in page.body) == (200, True)


class Noted(LocMemCache):
    """A cache that records its closing."""

    closed: ClassVar[list[str]] = []

    def close(self, **_: object) -> None:
        self.closed.append("closed")


@override_settings(CACHES={"default": {"BACKEND": f"{__name__}.Noted"}})
@pytest.mark.parametrize("name", ["cached", "cached_in_thread"])
async def test_caches_are_closed(name: str) -> None:
    Noted.closed.clear()
    assert (await Call(name)()).body == b"nothing"
    assert Noted.closed == ["closed"]
