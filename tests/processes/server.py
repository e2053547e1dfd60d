"""Real servers as real processes, and the clients that read from them."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx

from tests.client import API, Frame

ROOT = Path(__file__).resolve().parents[2]
NOT_INHERITED = ("DATABASE_URL", "DJANGO_SETTINGS_MODULE", "TEST_DATABASE_URL")
SECONDS = 60
UVICORN = ("-m", "uvicorn", "agentsite.asgi:application", "--port", "{port}")
RUNSERVER = ("manage.py", "runserver", "{port}")

LONG = "count to 5000"


class Process:
    """A server that can be started again on the same port and data."""

    def __init__(self, directory: Path, *command: str, **environment: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = directory / "log"
        inherited = {k: v for k, v in os.environ.items() if k not in NOT_INHERITED}
        self._environment = {**inherited, "DATA_DIR": str(directory), **environment}
        self._command = [argument.format(port=self.port) for argument in command]
        self._processes: list[subprocess.Popen[bytes]] = []

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        return self._run("manage.py", *arguments)

    def run(self) -> subprocess.CompletedProcess[bytes]:
        """Run to the end."""
        return self._run(*self._command)

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=self._environment,
            capture_output=True,
            timeout=SECONDS,
        )

    def start(self) -> None:
        """Return when it is ready."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *self._command],
                cwd=ROOT,
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
                # A shell's background job ignores Ctrl+C, and its children would too.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        self._processes.append(process)
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/ready").is_success:
                    return
            time.sleep(0.05)  # polled: only its answers tell that it is ready
        raise AssertionError(self.log.read_text())

    def send(self, number: signal.Signals) -> None:
        """Signal it and all its children, as a terminal does."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._processes[-1].pid, number)

    def terminate(self) -> None:
        """SIGTERM to the first process alone, as systemd and Docker do."""
        self._processes[-1].terminate()

    def ends_within(self, seconds: float) -> bool:
        try:
            self._processes[-1].wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        if self._processes:
            self.send(signal.SIGKILL)
            self._processes[-1].wait()


Start = Callable[..., Process]


class Reader:
    """A client of a stream, frame by frame."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._bytes = response.iter_bytes()
        self._rest = b""

    def __iter__(self) -> Iterator[Frame]:
        with contextlib.suppress(httpx.TransportError):
            for chunk in self._bytes:
                *frames, self._rest = (self._rest + chunk).split(b"\n\n")
                yield from (Frame.parse(f) for f in frames if not f.startswith(b":"))

    def until(self, event: str) -> Frame:
        return next(frame for frame in self if frame.event == event)


@contextlib.contextmanager
def stream(server: Process, prompt: str, **fields: object) -> Iterator[Reader]:
    body = {"input": prompt, **fields}
    url = f"{server.url}{API}/stream"
    with httpx.stream("POST", url, json=body, timeout=SECONDS) as response:
        yield Reader(response)
