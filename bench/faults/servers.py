"""Servers under test and the database that they share."""

import asyncio
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.faults.databases import ROOT, database, is_locked
from bench.faults.model import Model
from streaming.testing.provider import StandInProvider
from streaming.testing.server import Server, clean_environment

UVICORN = (
    *(sys.executable, "-m", "uvicorn", "agentsite.asgi:application"),
    *("--port", "{port}"),
)


def variables(
    directory: Path, database_url: str, model: StandInProvider
) -> dict[str, str]:
    """Return the environment variables of servers whose model is the stand-in."""
    return {
        "DJANGO_SETTINGS_MODULE": "bench.more_apps",
        "MORE_APPS": "bench.faults",
        "DATA_DIR": str(directory),
        "DATABASE_URL": database_url,
        "AUTHENTICATION": "streaming.auth.open",
        "LLM_PROVIDER": "openai",
        "OPENAI_API": "chat",
        "OPENAI_API_KEY": "none",
        "OPENAI_BASE_URL": model.url,
        "LLM_MODEL": "stand-in",
        "LLM_MAX_RETRIES": "0",
        "RUN_LEASE_SECONDS": "4",
        "EVENT_FLUSH_MS": "200",
        "BOOKINGS": str(directory / "bookings"),
    }


class AgentServer(Server):
    """uvicorn with some workers, on a port and a database that it keeps."""

    @property
    def api(self) -> str:
        """The URL of the API."""
        return f"{self.url}/api/v1/agent"

    def where(self) -> str:
        """Return the URL of the API, for clients that ask before each request."""
        return self.api

    def workers(self) -> list[int]:
        """Return the processes that the first process started to serve."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        commands = {int(c): Path(f"/proc/{c}/cmdline") for c in children.split()}
        return [pid for pid, at in commands.items() if b"spawn_main" in at.read_bytes()]


Pair = tuple[AgentServer, AgentServer]


class Site:
    """A database, and the servers that share it."""

    def __init__(self, directory: Path, database_url: str, model: Model) -> None:
        self.directory = directory
        self.database_url = database_url
        self._environment = variables(directory, database_url, model)
        self._servers: list[AgentServer] = []
        #: The servers of `two`, by the variables of their environment.
        self.pairs: dict[frozenset[tuple[str, str]], Pair] = {}

    def server(self, *options: str, **changes: str) -> AgentServer:
        """Return a server that is not started yet."""
        server = AgentServer(
            [*UVICORN, *options],
            self.directory,
            environment=clean_environment(**{**self._environment, **changes}),
            cwd=ROOT,
            ready="/ready",
        )
        self._servers.append(server)
        return server

    def through(self, database_url: str) -> None:
        """Make servers to come reach the database through another URL."""
        self._environment["DATABASE_URL"] = database_url

    async def stand_still(self, server: AgentServer) -> None:
        """Suspend a server, but not while it holds a lock of the database.

        No server could write for as long as such a process is suspended.
        """
        server.send_signal(signal.SIGSTOP)
        while await asyncio.to_thread(is_locked, self.directory, self.database_url):
            server.send_signal(signal.SIGCONT)
            await asyncio.sleep(0.01)
            server.send_signal(signal.SIGSTOP)

    def close(self) -> None:
        """Kill the servers that still run."""
        for server in self._servers:
            server.kill()


@contextmanager
def site(model: Model, postgres_url: str = "") -> Iterator[Site]:
    """Make a site on SQLite, or in a new database on the PostgreSQL at a URL."""
    directory = Path(tempfile.mkdtemp(prefix="agent-faults-"))
    try:
        with database(directory, postgres_url) as url:
            made = Site(directory, url, model)
            try:
                yield made
            finally:
                made.close()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


async def two(site: Site, **environment: str) -> Pair:
    """Return the site's two servers of one process each, started at the first call."""
    key = frozenset(environment.items())
    if key not in site.pairs:
        one, other = site.server(**environment), site.server(**environment)
        await asyncio.gather(one.astart(), other.astart())
        site.pairs[key] = one, other
    return site.pairs[key]
