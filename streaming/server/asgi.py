"""Django as an ASGI application, with what Django lacks for long streams.

* Shutdown that streams can see: servers wait for open streams before they tell the
  application anything, so the signal itself starts the draining of runs.
* Static files from an ASGI branch, so that no sync middleware is needed for them.
"""

import asyncio
import gc
import logging
import signal
import threading
from types import FrameType
from typing import Any, cast

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from servestatic import ServeStaticASGI

from streaming import conf, runs
from streaming.server.clients import App, ClientConnections, Receive, Scope, Send
from streaming.server.handler import Handler
from streaming.storage import database

logger = logging.getLogger(__name__)

STATIC_MAX_AGE_SECONDS = 60
#: New objects that are one collection's worth, and its generations: see `gc`.
COLLECT_AFTER = (5_000, 20, 20)
#: What clients may take, once no run is under way any more, to read what is left.
LINGER_SECONDS = 1.0


def make_application(*, development: bool = False) -> "Lifecycle":
    """The whole application.

    In development static files are read anew at each request, and at the end nobody
    waits for runs.
    """
    django = Handler(conf.get().request_threads)
    app = ClientConnections(with_static_files(django, autorefresh=development))
    return Lifecycle(app, 0.0 if development else conf.get().drain_seconds)


def with_static_files(app: App, *, autorefresh: bool) -> App:
    """Serve what the staticfiles app finds; no collectstatic is needed."""
    static: Any = ServeStaticASGI(
        app,
        autorefresh=autorefresh,
        max_age=0 if autorefresh else STATIC_MAX_AGE_SECONDS,
        allow_all_origins=False,
    )
    for finder in get_finders():
        for storage in getattr(finder, "storages", {}).values():
            prefix = f"{settings.STATIC_URL}{getattr(storage, 'prefix', None) or ''}"
            static.add_files(storage.location, prefix)
    return cast(App, static)


def tune_gc() -> None:
    """Have the garbage collector look at what is new, and less often.

    It stops everything, and what was imported is a hundred times what a stream holds.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


class Lifecycle:
    """Starts with the server, drains at its first signal, leaves nothing open."""

    def __init__(self, app: ClientConnections, drain_seconds: float) -> None:
        self._app = app
        self._drain_seconds = drain_seconds
        self._loop: asyncio.AbstractEventLoop | None = None
        self._draining: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._loop is None:
            self._start()
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            await self._app(scope, receive, send)

    def begin_shutdown(self) -> None:
        """Start draining; may be called from any thread."""
        if self._loop:
            self._loop.call_soon_threadsafe(self._begin_draining)

    def _start(self) -> None:
        self._loop = asyncio.get_running_loop()
        runs.executor()
        tune_gc()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._chain_signal(number)

    def _chain_signal(self, number: signal.Signals) -> None:
        """Drain when the signal comes, then do what the server does with it."""
        previous = signal.getsignal(number)

        def handle(signum: int, frame: FrameType | None) -> None:
            self.begin_shutdown()
            if callable(previous):
                previous(signum, frame)

        signal.signal(number, handle)

    def _begin_draining(self) -> None:
        if self._draining is None:
            self._draining = asyncio.create_task(self._drain())

    async def _drain(self) -> None:
        """End the runs, then what still waits for a client: servers wait for ever."""
        await runs.executor().drain(self._drain_seconds)
        await asyncio.sleep(LINGER_SECONDS)
        self._app.abort()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await runs.aclose()
        database.close()
        await send({"type": "lifespan.shutdown.complete"})
