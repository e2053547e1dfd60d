"""The built wheel, and environments in which it is installed."""

import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from streaming.testing.server import clean_environment
from tests.available import need
from tests.servers import ROOT

UV = (sys.executable, "-m", "uv")
#: The versions of Django that this Python can have.
DJANGO = ("5.2", "6.1") if sys.version_info >= (3, 12) else ("5.2",)
SECONDS = 300
#: Packages of the tested applications, servers and databases, beside the wheel's own.
ALSO = (
    "channels>=4.2",
    "gunicorn>=23",
    "hypercorn>=0.18",
    "psycopg[binary]>=3.2.4",
)

MakeVenv = Callable[[str], Path]


def installing_environment(**variables: str) -> dict[str, str]:
    """Return a clean environment that can reach the index as this process can."""
    prefixes = ("UV_", "SSL_", "HTTP_", "HTTPS_", "NO_PROXY", "ALL_PROXY")
    network = {n: v for n, v in os.environ.items() if n.upper().startswith(prefixes)}
    return clean_environment(**network, **variables)


def run(command: list[str] | tuple[str, ...], cwd: Path, **variables: str) -> str:
    """Run a command to its end and return its output; fail with it otherwise."""
    ended = subprocess.run(
        command,
        cwd=cwd,
        env=installing_environment(**variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
    )
    assert ended.returncode == 0, f"{command}:\n{ended.stdout}"
    return ended.stdout


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from the checkout."""
    need("pypi")
    directory = tmp_path_factory.mktemp("agent-stream") / "dist"
    run([*UV, "build", "--quiet", "--wheel", "--out-dir", str(directory)], ROOT)
    [built] = directory.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def make_venv(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> MakeVenv:
    """Make one environment for each version of Django, with the wheel in it."""

    @cache
    def make(django: str) -> Path:
        directory = tmp_path_factory.mktemp(f"django-{django}")
        venv = directory / "venv"
        run([*UV, "venv", "--quiet", "--python", sys.executable, str(venv)], directory)
        python = str(venv / "bin" / "python")
        packages = [str(wheel), f"django=={django}.*", *ALSO]
        command = ["pip", "install", "--quiet", "--python", python, *packages]
        run([*UV, *command], directory)
        return venv

    return make
