"""A server of our own: a real process, with its own database and configuration."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from bench.processes import free_port
from streaming.testing.provider import StandInProvider

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60
LOG_CHARS = 4000
#: What the tests' own settings put there; the server reads its environment afresh.
NOT_INHERITED = ("DATABASE_URL", "DJANGO_SETTINGS_MODULE", "TEST_DATABASE_URL")


class Server:
    """A real process; started again, it has the same port and database."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        inherited = {k: v for k, v in os.environ.items() if k not in NOT_INHERITED}
        self._env = {**inherited, "DATA_DIR": str(directory), **environment}
        self._log = directory / "server.log"
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self.manage("migrate", "--verbosity", "0")

    def manage(self, *arguments: str) -> str:
        """What a management command says."""
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self._env,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout

    def start(self) -> None:
        """Start, and wait until it is ready."""
        command = [sys.executable, "-m", "uvicorn", "agentsite.asgi:application"]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--port", str(self._port)],
                cwd=ROOT,
                env=self._env,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            if self._is_ready():
                return
            time.sleep(0.1)  # polled: only its answers tell that it is ready
        said = self._log.read_text()[-LOG_CHARS:]
        raise RuntimeError(f"the server did not start:\n{said}")

    def ensure(self) -> None:
        """Start it again, unless it is as well as after its start."""
        if not self._is_ready():
            self.kill()
            self.start()

    def kill(self) -> None:
        """End it without a word, and leave its connections broken."""
        self.process.kill()
        self.process.wait()

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/ready").is_success
        except httpx.TransportError:
            return False


@contextmanager
def serve(directory: Path, **environment: str) -> Iterator[Server]:
    """Migrate a database in `directory`, serve, and stop in the end."""
    server = Server(directory, environment)
    server.start()
    try:
        yield server
    finally:
        server.kill()


def to(upstream: StandInProvider) -> dict[str, str]:
    """The environment in which a server's model is `upstream`."""
    return {
        "LLM_PROVIDER": "openai",
        "LLM_MODEL": "scripted",
        "LLM_MAX_RETRIES": "0",
        "OPENAI_API": "chat",
        "OPENAI_API_KEY": "none",
        "OPENAI_BASE_URL": upstream.url,
    }
