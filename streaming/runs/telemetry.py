"""The telemetry of a service: its gauges, the export of metrics, and the tracer."""

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from contextvars import Context
from functools import partial

from streaming.app_options import AgentConf
from streaming.runs.executors.base import Executor
from streaming.runs.scrapes import directory, scrape
from streaming.runs.worker import Worker
from streaming.runs.worker_rows import Load, WorkerReport
from streaming.storage.connections import close_connections, with_fresh_connection
from streaming.storage.database import Database
from streaming.telemetry import exporter, metrics, tracing
from streaming.telemetry.address import AddressInUse, MetricsAddress

logger = logging.getLogger(__name__)

#: The thread that exports the last spans, and its time.
TRACES, FLUSH_SECONDS = "traces", 3.0

_installing = threading.Lock()


class ServiceTelemetry:
    """The telemetry of one service, from construction to `aclose`."""

    def __init__(
        self, worker: Worker, executor: Executor, conf: AgentConf, database: Database
    ) -> None:
        self._worker = worker
        self._executor = executor
        self._conf = conf
        self._database = database
        self._open = ExitStack()
        self._address: MetricsAddress | None = None
        self._is_serving = False
        self._draining: asyncio.Task[None] | None = None
        agents = worker.agents
        for gauge, read in (
            (metrics.EXECUTING_RUNS, lambda: float(len(worker.executions))),
            (metrics.DRAINING, lambda: float(worker.draining)),
            (metrics.ABANDONED_TOOL_CALLS, lambda: float(agents.abandoned_tool_calls)),
        ):
            self._open.enter_context(gauge.read_from(read))
        if conf.traces:
            _install_tracer(has_content=conf.trace_content)

    def report(self, drain: Callable[[], Coroutine[None, None, None]]) -> WorkerReport:
        """Return the reports of this process; an operator's request calls `drain`.

        The process then stays, without runs, until it is restarted.
        """
        loop = asyncio.get_running_loop()

        def begin() -> None:
            self._draining = loop.create_task(drain(), context=Context())

        on_drain = partial(loop.call_soon_threadsafe, begin)
        worker = self._worker
        return WorkerReport(
            worker.name, worker.timings, self.load, on_drain, self.ensure_address
        )

    def serve(self) -> None:
        """Answer scrapes from now on, if the settings say so."""
        if self._is_serving:
            return
        self._is_serving = True
        if self._conf.has_metrics:
            exporter.shared.open(directory(self._conf))
            self._open.callback(exporter.shared.close)
            self.ensure_address()

    def load(self) -> Load | None:
        """Return the work of the process; None if it executes no runs."""
        executing = len(self._worker.executions)
        if not (self._executor.executes_queued or executing):
            return None
        return Load(executing, metrics.OPEN_STREAMS.held_count)

    def ensure_address(self) -> None:
        """Listen on the address of the settings, unless another process does."""
        address = self._conf.metrics_address
        if not (self._is_serving and address) or self._address:
            return
        host, _, port = address.rpartition(":")
        respond = partial(_respond, self._conf)
        try:
            self._address = MetricsAddress(host.strip("[]"), int(port), respond)
        except AddressInUse:
            return
        except (OSError, OverflowError) as error:
            logger.error("metrics not served at %s: %s", address, error)
            return
        self._open.callback(self._address.close)

    async def aclose(self) -> None:
        """Give up the gauges and the export, and export the last spans."""
        self._open.close()
        if self._conf.traces:
            flush = partial(tracing.tracer().flush, FLUSH_SECONDS)
            await self._database.call_in(TRACES, flush)


def _install_tracer(*, has_content: bool) -> None:
    """Have this process record traces; its event loops share one tracer."""
    from streaming.telemetry.otel import make_tracer  # needs the extra `otel`

    with _installing:
        if isinstance(tracing.tracer(), tracing.NoTracer):
            tracing.install(make_tracer(has_content=has_content))


def _respond(conf: AgentConf, accept: str) -> tuple[bytes, str]:
    """Answer a scrape in a thread that has no connection of its own."""
    try:
        return with_fresh_connection(scrape, conf, accept)
    finally:
        close_connections()
