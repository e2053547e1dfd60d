"""Django as an ASGI application, with additions for long streams and bare servers.

* A shutdown that streams can see: servers wait for open streams before they send
  `lifespan.shutdown`, so the signal itself starts the draining of runs.
* Static files from an ASGI branch, which needs no synchronous middleware.
* Limits on the heads and bodies of requests, which servers do not have.
"""

import asyncio
import gc
import logging
import signal
import threading
from types import FrameType

from streaming import conf, runs
from streaming.aio.containment import enable_containment
from streaming.server.clients import ClientConnections, Receive, Scope, Send
from streaming.server.handler import Handler
from streaming.server.path_prefix import with_path_prefix
from streaming.server.request_heads import limit_heads
from streaming.server.static_files import with_static_files
from streaming.storage import database, migrations

logger = logging.getLogger(__name__)

#: Thresholds of the garbage collector's three generations: new objects before a
#: collection of the first, and collections of each before one of the next.
GC_THRESHOLDS = (5_000, 20, 20)
#: Time for clients to read their last events, after all runs have ended.
LINGER_SECONDS = 1.0


def make_application(*, development: bool = False) -> "Lifecycle":
    """Return the complete application; nothing outside of it changes until it starts.

    In development, static files are read at each request, and a shutdown does not wait
    for runs.
    """
    django = Handler(conf.get().request_threads)
    site = with_path_prefix(with_static_files(django, autorefresh=development))
    app = ClientConnections(site)
    return Lifecycle(app, 0.0 if development else conf.get().drain_seconds)


def tune_gc() -> None:
    """Exclude all present objects from garbage collection, and collect less often.

    A collection stops every stream, and the objects of imported modules are a hundred
    times as many as those of a stream.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


class Lifecycle:
    """The application from its server's start until its end.

    At the start, which is the first event of any kind, the garbage collector is tuned
    and the signal handlers are chained. The first signal starts the draining of runs.
    """

    def __init__(self, app: ClientConnections, drain_seconds: float) -> None:
        self._app = app
        self._drain_seconds = drain_seconds
        self._loop: asyncio.AbstractEventLoop | None = None
        self._draining: asyncio.Task[None] | None = None
        self._schema_check: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._loop is None:
            self._start()
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close"})  # before it is accepted: 403
        else:
            await self._app(scope, receive, send)

    def begin_shutdown(self) -> None:
        """Start draining; may be called from any thread."""
        if self._loop:
            self._loop.call_soon_threadsafe(self._begin_draining)

    def _start(self) -> None:
        self._loop = asyncio.get_running_loop()
        runs.get_service()
        enable_containment(self._loop)
        self._schema_check = asyncio.create_task(migrations.report_missing())
        tune_gc()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._chain_signal(number)

    def _chain_signal(self, number: signal.Signals) -> None:
        """Start draining at the signal, then call the server's handler."""
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
        """End the runs, then drop the remaining clients, which servers wait for."""
        await runs.get_service().drain(self._drain_seconds)
        await asyncio.sleep(LINGER_SECONDS)
        self._app.abort()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        limit_heads(send)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await runs.aclose()
        database.close()
        await send({"type": "lifespan.shutdown.complete"})
