"""A server of our own: a real process, with its own database and configuration."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.upstream import Upstream

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60
LOG_CHARS = 4000
#: What the tests' own settings put there; the server reads its environment afresh.
NOT_INHERITED = ("DATABASE_URL", "DJANGO_SETTINGS_MODULE", "TEST_DATABASE_URL")


@dataclass
class Server:
    """A running one."""

    url: str
    process: subprocess.Popen[bytes]


@contextmanager
def serve(directory: Path, **environment: str) -> Iterator[Server]:
    """Migrate a database in `directory`, serve, and stop in the end."""
    inherited = {k: v for k, v in os.environ.items() if k not in NOT_INHERITED}
    env = {**inherited, "DATA_DIR": str(directory), **environment}
    migrate = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
    subprocess.run(migrate, cwd=ROOT, env=env, check=True)
    port = _free_port()
    command = [sys.executable, "-m", "uvicorn", "agentsite.asgi:application"]
    with (directory / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--port", str(port), "--timeout-graceful-shutdown", "1"],
            cwd=ROOT,
            env=env,
            stdout=log,
            stderr=log,
        )
    server = Server(f"http://127.0.0.1:{port}", process)
    try:
        _wait_until_ready(server, directory / "server.log")
        yield server
    finally:
        process.kill()
        process.wait()


def to(upstream: Upstream) -> dict[str, str]:
    """The environment in which a server's model is `upstream`."""
    return {
        "LLM_PROVIDER": "openai",
        "LLM_MODEL": "scripted",
        "LLM_MAX_RETRIES": "0",
        "OPENAI_API": "chat",
        "OPENAI_API_KEY": "none",
        "OPENAI_BASE_URL": upstream.url,
    }


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _wait_until_ready(server: Server, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.process.poll() is None:
        if _is_ready(server):
            return
        time.sleep(0.1)
    raise RuntimeError(f"the server did not start:\n{log.read_text()[-LOG_CHARS:]}")


def _is_ready(server: Server) -> bool:
    try:
        return httpx.get(f"{server.url}/ready").is_success
    except httpx.TransportError:
        return False
