"""Django as an ASGI application, with additions for long streams and bare servers.

* A shutdown that streams can see: servers wait for open streams before they send
  `lifespan.shutdown`, so the signal itself starts the draining of runs.
* Static files from an ASGI branch, which needs no synchronous middleware.
* Limits on the heads and bodies of requests, which servers do not have.
"""

import asyncio
import gc
import logging

from uvicorn import Config

from streaming import conf, runs
from streaming.server.clients import ClientConnections, Receive, Scope, Send
from streaming.server.handler import Handler
from streaming.server.path_prefix import with_path_prefix
from streaming.server.process_end import limit_end
from streaming.server.request_heads import replace_protocol
from streaming.server.servers import (
    is_daphne,
    report_alive,
    termination_by_parent,
    termination_of,
    uvicorn_config,
)
from streaming.server.shutdown import Shutdown
from streaming.server.static_files import with_static_files
from streaming.storage import migrations

logger = logging.getLogger(__name__)

#: Thresholds of the garbage collector's three generations: new objects before a
#: collection of the first, and collections of each before one of the next.
GC_THRESHOLDS = (5_000, 20, 20)
DAPHNE = (
    "daphne is for development only: its streams have no back-pressure, so that one"
    " client that does not read fills the memory, and it ends runs without a drain."
    " Use uvicorn, gunicorn or hypercorn."
)


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


class Lifecycle(Shutdown):
    """The application from its server's start until its end.

    At the start, which is the first event of any kind, the garbage collector is tuned
    and the signal handlers are chained. The first sign of a shutdown starts the
    draining of runs: a signal, uvicorn's report or hypercorn's event (a worker that is
    recycled has only these), or else the shutdown of the lifespan.
    """

    def __init__(self, app: ClientConnections, drain_seconds: float) -> None:
        super().__init__(drain_seconds)
        self._app = app
        self._is_watching = False
        self._uvicorn: Config | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._loop is None:
            self._start(send)
        if scope["type"] == "lifespan":
            return await self._lifespan(receive, send)
        if not self._is_watching:
            self._is_watching = True
            if wait := termination_of(send):
                self._create_task(self._drain_when_terminated(wait))
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close"})  # before it is accepted: 403
        else:
            await self._app(scope, receive, send)

    def _start(self, send: Send) -> None:
        self._loop = asyncio.get_running_loop()
        runs.get_service()
        self._create_task(migrations.report_missing())
        tune_gc()
        if is_daphne(send):
            logger.warning(DAPHNE)
        self.chain_signals()

    def _enter_draining(self) -> None:
        super()._enter_draining()
        if self._uvicorn:
            self._create_task(report_alive(self._uvicorn))

    def _drop_clients(self) -> None:
        self._app.abort()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        if config := uvicorn_config(send):
            self._uvicorn = config
            replace_protocol(config, self.begin_shutdown)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if not self._draining:  # no client is connected
            self._enter_draining()
        await self._close()
        is_recycled = self._uvicorn and self._uvicorn.limit_max_requests
        if is_recycled or termination_by_parent():  # no signal ends such a process
            limit_end()
        await send({"type": "lifespan.shutdown.complete"})
