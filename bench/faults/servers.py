"""A server under test, with its database: started, killed, stopped, started again."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from bench.faults.databases import ROOT, database, is_locked
from bench.faults.model import Model
from bench.processes import free_port

START_SECONDS = 90


class Server:
    """uvicorn with some workers, on a port and a database that it keeps."""

    def __init__(self, directory: Path, *options: str, **environment: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.api = f"{self.url}/api/v1/agent"
        self.log = directory / f"server-{self.port}.log"
        self._options = options
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process that was started; with workers, their parent."""
        assert self._process, "not started"
        return self._process.pid

    def workers(self) -> list[int]:
        """The processes that its first process started to serve."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        commands = {int(c): Path(f"/proc/{c}/cmdline") for c in children.split()}
        return [pid for pid, at in commands.items() if b"spawn_main" in at.read_bytes()]

    def where(self) -> str:
        """Its API's URL."""
        return self.api

    async def start(self) -> None:
        """Return when it is ready."""
        command = ["-m", "uvicorn", "agentsite.asgi:application", "--port"]
        await asyncio.to_thread(self._start, [*command, str(self.port)])
        await self.until_ready()

    def _start(self, command: list[str]) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *command, *self._options],
                cwd=ROOT,
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def until_ready(self) -> None:
        """Return when it says that it is ready."""
        deadline = time.monotonic() + START_SECONDS
        async with httpx.AsyncClient(trust_env=False) as client:
            while time.monotonic() < deadline and self.is_running:
                with suppress(httpx.HTTPError):
                    if (await client.get(f"{self.url}/ready")).is_success:
                        return
                await asyncio.sleep(0.05)
        raise AssertionError(f"not ready: {self.log.read_text()[-5000:]}")

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process is not None and self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to its first process."""
        if self.is_running:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """kill -9 it and all its workers, and wait until they are gone."""
        if self._process:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    async def end(self, seconds: float) -> float:
        """Wait for its end; how long that took."""
        started = time.monotonic()
        while self.is_running:
            assert time.monotonic() - started < seconds, "it does not end"
            await asyncio.sleep(0.02)
        return time.monotonic() - started


class Site:
    """A database, and the servers that share it."""

    def __init__(self, directory: Path, database_url: str, model: Model) -> None:
        self.directory = directory
        self.database_url = database_url
        kept = ("PATH", "HOME", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")
        self._environment = {
            **{name: os.environ[name] for name in kept if name in os.environ},
            "DJANGO_SETTINGS_MODULE": "bench.faults.settings",
            "DATA_DIR": str(directory),
            "DATABASE_URL": database_url,
            "LLM_PROVIDER": "openai",
            "OPENAI_API": "chat",
            "OPENAI_API_KEY": "none",
            "OPENAI_BASE_URL": model.url,
            "LLM_MODEL": "stand-in",
            "LLM_MAX_RETRIES": "0",
            "RUN_LEASE_SECONDS": "4",
            "EVENT_FLUSH_MS": "200",
        }
        self._servers: list[Server] = []

    def server(self, *options: str, **environment: str) -> Server:
        """A server that is not started yet."""
        variables = {**self._environment, **environment}
        server = Server(self.directory, *options, **variables)
        self._servers.append(server)
        return server

    def through(self, database_url: str) -> None:
        """Let the servers to come reach the database another way."""
        self._environment["DATABASE_URL"] = database_url

    async def stand_still(self, server: Server) -> None:
        """Suspend a server, but not while it keeps others from the database.

        Nobody could write then, for as long as it stands: no server can help that.
        """
        server.signal(signal.SIGSTOP)
        while await asyncio.to_thread(is_locked, self.directory, self.database_url):
            server.signal(signal.SIGCONT)
            await asyncio.sleep(0.01)
            server.signal(signal.SIGSTOP)

    def close(self) -> None:
        """Kill what still runs."""
        for server in self._servers:
            server.kill()


@contextmanager
def site(model: Model, postgres_url: str = "") -> Iterator[Site]:
    """A site on SQLite, or in a database of its own on the PostgreSQL at a URL."""
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


async def two(site: Site, **environment: str) -> tuple[Server, Server]:
    """Two servers of one process each, started."""
    one, other = site.server(**environment), site.server(**environment)
    await asyncio.gather(one.start(), other.start())
    return one, other
