"""The processes of a fleet: nginx, web processes, workers, PostgreSQL and Redis."""

import asyncio
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bench.faults import servers
from bench.faults.databases import ROOT, new_database
from bench.faults.proxy import Proxy, proxy
from bench.faults.servers import UVICORN, AgentServer
from bench.fleet import services
from bench.fleet.nginx import deployed_conf, nginx_server
from bench.fleet.services import Postgres, Redis
from streaming.testing.provider import StandInProvider
from streaming.testing.server import Server, clean_environment, free_port
from tests.available import nginx_path

WORKER = (sys.executable, "manage.py", "agent_worker")
#: The line of a worker that has started.
WORKER_READY = "Executing runs of"
#: The timeouts of the exercise; those of production are longer.
DRAIN_SECONDS = 2
END_SECONDS = 60
#: The last characters of the log of a process that does not end.
LOG_CHARS = 20_000


@dataclass(frozen=True)
class Size:
    """The number of processes of each kind, and the executor of runs."""

    webs: int = 2
    workers: int = 2
    executor: str = "procrastinate"
    redis: bool = True
    lease_seconds: float = 4


class Worker(Server):
    """A process that executes runs and serves no requests: its log says it is ready."""

    _starts = 0

    def launch(self) -> None:
        """Start the worker and return at once."""
        self._starts = self._count() + 1
        super().launch()

    def is_ready(self) -> bool:
        """Return whether the worker has said so since its launch."""
        return self._count() >= self._starts

    def _count(self) -> int:
        return self.log.read_text().count(WORKER_READY) if self.log.exists() else 0


class Fleet:
    """Web processes behind nginx, and workers, on services of their own.

    Each web process reaches the database through a proxy of its own, which can stall.
    """

    def __init__(self, size: Size, directory: Path, postgres: Postgres) -> None:
        self.size = size
        self.directory = directory
        self.postgres = postgres
        self.redis: Redis | None = None
        self.webs: list[AgentServer] = []
        self.workers: list[Worker] = []
        self.proxies: list[Proxy] = []
        self.nginx: Server
        self.database_url = ""

    @property
    def servers(self) -> list[Server]:
        """The processes that have the project's code."""
        return [*self.webs, *self.workers]

    @property
    def executing(self) -> list[Server]:
        """The processes that execute runs."""
        return [*(self.workers or self.webs)]

    def where(self) -> str:
        """Return the URL of the API behind nginx."""
        return f"{self.nginx.url}/api/v1/agent"

    def bookings(self) -> list[str]:
        """Return the tickets that the tool `book` has been executed for."""
        path = self.directory / "bookings"
        return path.read_text().split() if path.exists() else []

    async def restart(self, server: Server) -> None:
        """Restart a process as systemd does, and wait until it is ready.

        Raises RuntimeError with the stacks of a process that does not end.
        """
        server.send_signal(signal.SIGTERM)
        try:
            await server.wait_for_end(END_SECONDS)
        except TimeoutError:
            server.send_signal(signal.SIGABRT)  # faulthandler writes the stacks
            await server.wait_for_end(END_SECONDS)
            log = server.log.read_text()[-LOG_CHARS:]
            raise RuntimeError(f"process {server.pid} did not end:\n{log}") from None
        await server.astart()

    async def kill(self, server: Server) -> None:
        """Kill a process, and start it again at once."""
        server.kill()
        await server.astart()

    def close(self) -> None:
        """Kill all processes; report a secret in a log."""
        for server in [*self.servers, self.nginx]:
            server.kill()
        for server in self.servers:
            server.check_log()


@asynccontextmanager
async def serving(
    size: Size, model: StandInProvider, **variables: str
) -> AsyncIterator[Fleet]:
    """Start a fleet whose model is the stand-in, with further environment variables."""
    directory = Path(tempfile.mkdtemp(prefix="agent-fleet-"))
    try:
        async with AsyncExitStack() as stack:
            postgres = stack.enter_context(services.postgres())
            fleet = Fleet(size, directory, postgres)
            if size.redis:
                fleet.redis = stack.enter_context(services.redis())
            fleet.database_url = new_database(
                postgres.database_url, RUN_EXECUTOR=size.executor
            )
            await _make(fleet, model, variables, stack)
            stack.callback(fleet.close)
            await start_all([*fleet.servers, fleet.nginx])
            yield fleet
    finally:
        shutil.rmtree(directory, ignore_errors=True)


async def start_all(servers: Iterable[Server]) -> None:
    """Start processes together, and wait until all are ready."""
    await asyncio.gather(*(server.astart() for server in servers))


async def _make(
    fleet: Fleet,
    model: StandInProvider,
    changes: Mapping[str, str],
    stack: AsyncExitStack,
) -> None:
    size = fleet.size
    environment = {
        **servers.variables(fleet.directory, fleet.database_url, model),
        "SECRET_KEY": "only-for-the-exercise",
        "RUN_EXECUTOR": size.executor,
        "RUN_LEASE_SECONDS": f"{size.lease_seconds:g}",
        "DRAIN_SECONDS": str(DRAIN_SECONDS),
        "PYTHONFAULTHANDLER": "1",
        **changes,
    }
    if fleet.redis:
        environment["REDIS_URL"] = fleet.redis.redis_url
    for _ in range(size.webs):
        way = await stack.enter_async_context(proxy(fleet.postgres.port))
        fleet.proxies.append(way)
        fleet.webs.append(_web(fleet, environment, way.port))
    fleet.workers += [_worker(fleet, environment) for _ in range(size.workers)]
    if not (program := nginx_path()):
        raise RuntimeError("no nginx on this machine")
    port = free_port()
    conf = deployed_conf(port, [web.port for web in fleet.webs])
    fleet.nginx = nginx_server(program, fleet.directory, conf, port)


def _web(
    fleet: Fleet, environment: Mapping[str, str], database_port: int
) -> AgentServer:
    options = ("--timeout-keep-alive", "75", "--timeout-graceful-shutdown", "20")
    return AgentServer(
        [*UVICORN, *options],
        fleet.directory,
        environment=clean_environment(
            **{**environment, "DATABASE_URL": _url(fleet, database_port, "web")}
        ),
        cwd=ROOT,
        ready="/ready",
    )


def _worker(fleet: Fleet, environment: Mapping[str, str]) -> Worker:
    url = _url(fleet, fleet.postgres.port, "worker")
    clean = clean_environment(**{**environment, "DATABASE_URL": url})
    return Worker([*WORKER], fleet.directory, environment=clean, cwd=ROOT)


def _url(fleet: Fleet, port: int, role: str) -> str:
    """Return the URL of the database on a port, for a role that PostgreSQL shows."""
    url = urlsplit(fleet.database_url)
    there = f"{url.username}@127.0.0.1:{port}"
    return url._replace(netloc=there, query=f"application_name={role}").geturl()
