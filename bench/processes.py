"""The processes of a run of the bench, in environments that inherit nothing else."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from streaming.testing.server import Server, clean_environment

ROOT = Path(__file__).resolve().parent.parent


def python(*arguments: str, **environment: str) -> str:
    """Run Python to its end in a clean environment; return its output."""
    return wait_for(start(*arguments, **environment))


def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start Python in a clean environment; see `wait_for`."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=clean_environment(**environment),
        stdout=subprocess.PIPE,
        text=True,
    )


def wait_for(process: subprocess.Popen[str]) -> str:
    """Return what a process printed; raise if it failed."""
    try:
        printed, _ = process.communicate()
    except BaseException:
        process.kill()
        raise
    if process.returncode:
        raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
    return printed


def serving(
    *command: str, directory: Path, environment: Mapping[str, str] | None = None
) -> Server:
    """Return a server of a command with `--port`, which is ready when it listens."""
    variables = clean_environment(**environment or {})
    return Server(
        [*command, "--port", "{port}"], directory, environment=variables, cwd=ROOT
    )


def interpreter_versions(interpreter: Path, packages: Sequence[str]) -> dict[str, str]:
    """Return the versions of packages in another environment."""
    code = (
        "import json, sys; from importlib.metadata import version;"
        "print(json.dumps({name: version(name) for name in sys.argv[1:]}))"
    )
    found = subprocess.check_output([interpreter, "-c", code, *packages], text=True)
    return dict(json.loads(found))


def cpu_seconds(pid: int) -> float:
    """Return the user and system time of a process and all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def status(pid: int, field: str) -> int:
    """Return a number from a process's status: `VmRSS` (kB), `Threads`."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))
