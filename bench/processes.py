"""The processes of a run: started on free ports, ended whatever happens."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 60


@dataclass(frozen=True)
class Server:
    """One that listens on a port of localhost."""

    pid: int
    port: int


def python(*arguments: str, **environment: str) -> str:
    """Run Python to its end in a clean environment; what it printed."""
    return wait_for(start(*arguments, **environment))


def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start Python in a clean environment; see `wait_for`."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=clean(environment),
        stdout=subprocess.PIPE,
        text=True,
    )


def wait_for(process: subprocess.Popen[str]) -> str:
    """What a process printed, when it has ended well."""
    try:
        printed, _ = process.communicate()
    except BaseException:
        process.kill()
        raise
    if process.returncode:
        raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
    return printed


@contextmanager
def serving(
    *command: str, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Run a command with `--port`, until the block ends."""
    port = free_port()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--port", str(port)],
            cwd=ROOT,
            env=clean(environment or {}),
            stdout=output,
            stderr=output,
        )
    try:
        _wait_until_listening(process, port, log)
        yield Server(process.pid, port)
    finally:
        process.kill()
        process.wait()


def clean(own: Mapping[str, str]) -> dict[str, str]:
    """An environment that inherits nothing that could change what is measured."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {**kept, **own}


def interpreter_versions(interpreter: Path, packages: Sequence[str]) -> dict[str, str]:
    """The versions of packages in another environment."""
    code = (
        "import json, sys; from importlib.metadata import version;"
        "print(json.dumps({name: version(name) for name in sys.argv[1:]}))"
    )
    told = subprocess.check_output([interpreter, "-c", code, *packages], text=True)
    return dict(json.loads(told))


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, all its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def status(pid: int, field: str) -> int:
    """A number from a process's status: `VmRSS` (kB), `Threads`."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _wait_until_listening(
    process: subprocess.Popen[bytes], port: int, log: Path
) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)  # polled: no system tells that somebody listens now
    raise RuntimeError(f"{process.args!r} did not start:\n{log.read_text()}")
