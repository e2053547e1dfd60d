"""A launcher of real servers: started, stopped, killed, and started again.

command = (sys.executable, "-m", "uvicorn", "site.asgi:application", "--port", "{port}")
with Server(command, directory, environment=clean_environment(DEBUG="false")) as server:
    … connect to server.url …
    server.kill()
    server.start()  # on the same port and data
"""

import asyncio
import atexit
import contextlib
import http.client
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from streaming.testing import secrets

START_SECONDS = 90.0
#: Between two looks at a server that starts or stops: no system reports either.
_POLL_SECONDS = 0.02
_LOG_CHARS = 5000
#: Below the ports that systems give to outgoing connections (32768 and above): one of
#: those could take the port between its choice and the server's start.
_PORTS = range(20_000, 32_000)
#: Variables that a clean environment keeps; the last two measure coverage.
_KEPT = ("PATH", "HOME", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")


def free_port() -> int:
    """Return a port that no process listens on, reserved until this process ends.

    The UDP socket of the same number is the reservation: it keeps every other process
    that uses this function away from the port before the server listens on it.
    """
    for port in random.SystemRandom().sample(_PORTS, 1000):
        reservation = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            reservation.bind(("127.0.0.1", port))
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            reservation.close()
            continue
        atexit.register(reservation.close)
        return port
    raise RuntimeError(f"no free port in {_PORTS}")


def clean_environment(**variables: str) -> dict[str, str]:
    """Return an environment that inherits only what a process needs to start."""
    inherited = {**os.environ}
    return {name: inherited[name] for name in _KEPT if name in inherited} | variables


def is_listening(port: int) -> bool:
    """Return whether a process accepts connections on a port of localhost."""
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1", port)) == 0


class Server:
    """A server process with a port of its own, which it keeps when started again.

    `{port}` in the command stands for the port. The server is ready when the path
    `ready` answers with a status below 300 or, where that is empty, when the port
    accepts connections. As a context manager it is started, and killed in the end with
    all its children; its log is then searched for its keys and passwords.
    """

    def __init__(
        self,
        command: Sequence[str],
        directory: Path,
        *,
        environment: Mapping[str, str],
        cwd: Path | None = None,
        ready: str = "",
        port: int = 0,
    ) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = directory / f"server-{self.port}.log"
        self.environment = environment
        self._command = [part.replace("{port}", str(self.port)) for part in command]
        self._cwd = cwd
        self._ready = ready
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.check_log()

    @property
    def pid(self) -> int:
        """The first process, which is the parent of the workers if it has any."""
        return self._started.pid

    @property
    def is_running(self) -> bool:
        """True from the start of the first process to its end."""
        return self._process is not None and self._process.poll() is None

    @property
    def returncode(self) -> int | None:
        """The exit status of the first process, None while it runs."""
        return self._started.poll()

    @property
    def _started(self) -> subprocess.Popen[bytes]:
        assert self._process, "not started"
        return self._process

    def start(self) -> None:
        """Start the server and return when it is ready."""
        self.launch()
        self.wait_until_ready()

    async def astart(self) -> None:
        """Start the server without blocking the event loop."""
        await asyncio.to_thread(self.start)

    def launch(self) -> None:
        """Start the server and return at once."""
        # A shell's background jobs ignore Ctrl+C, and so would their children.
        ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._cwd,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_restore_ctrl_c if ignored else None,
            )

    def wait_until_ready(self) -> None:
        """Return when the server is ready; raise with its log if it never is."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.is_running:
            if self.is_ready():
                return
            time.sleep(_POLL_SECONDS)  # no event tells that a port is open
        log = self.log.read_text()[-_LOG_CHARS:]
        raise RuntimeError(f"{self._command} did not start:\n{log}")

    def is_ready(self) -> bool:
        """Return whether the server is ready now."""
        if not self._ready:
            return is_listening(self.port)
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            client.request("GET", self._ready)
            return client.getresponse().status < 300
        except (OSError, http.client.HTTPException):
            return False
        finally:
            client.close()

    def ensure(self) -> None:
        """Start the server again unless it is ready."""
        if not self.is_ready():
            self.kill()
            self.start()

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Python with arguments in the server's environment to its end."""
        return self._run([sys.executable, *arguments])

    def run_command(self) -> subprocess.CompletedProcess[str]:
        """Run the server's own command to its end, where it must not start."""
        return self._run(self._command)

    def _run(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self._cwd,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
        )

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the first process alone, as systemd and Docker do."""
        if self.is_running:
            os.kill(self.pid, number)

    def send_signal_to_all(self, number: signal.Signals) -> None:
        """Send a signal to all processes of the server, as a terminal does."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def ends_within(self, seconds: float) -> bool:
        """Wait for the end of the first process; return whether it came in time."""
        try:
            self._started.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    async def wait_for_end(self, seconds: float) -> float:
        """Wait for the end without blocking the event loop; return how long it took."""
        started = time.monotonic()
        async with asyncio.timeout(seconds):
            while self.is_running:  # noqa: ASYNC110  (a process reports no end)
                await asyncio.sleep(_POLL_SECONDS)
        return time.monotonic() - started

    def kill(self) -> None:
        """Kill all processes of the server at once; connections stay broken."""
        if self._process:
            self.send_signal_to_all(signal.SIGKILL)
            self._process.wait()

    def check_log(self) -> None:
        """Raise AssertionError if the log contains a key or password of the server."""
        log = self.log.read_text(errors="replace") if self.log.exists() else ""
        found = secrets.leaks_in(log, secrets.of_environment(self.environment))
        assert not found, f"{self.log} contains {', '.join(found)}"


def _restore_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
