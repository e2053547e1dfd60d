"""Servers as they are deployed: the container's own command, and a real nginx."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.available import need

ROOT = Path(__file__).resolve().parent.parent
PAUSE_MS = 40


def container_command() -> list[str]:
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text().replace("\\\n", "")
    (command,) = re.findall(r"^CMD (\[.+\])$", dockerfile, re.MULTILINE)
    arguments: list[str] = json.loads(command)
    return arguments


def agent_environment(directory: Path, **variables: str) -> dict[str, str]:
    """The environment of a server whose data is in `directory`."""
    return os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "DJANGO_SETTINGS_MODULE": "agentsite.settings",
        "DATA_DIR": str(directory),
        "DATABASE_URL": "",
        "DEMO_DELAY_MS": str(PAUSE_MS),
        **variables,
    }


@contextmanager
def app(
    directory: Path, port: int, **variables: str
) -> Iterator[subprocess.Popen[bytes]]:
    environment = agent_environment(directory, PORT=str(port), **variables)
    with subprocess.Popen(container_command(), cwd=ROOT, env=environment) as process:
        try:
            wait_for_port(port, process)
            yield process
        finally:
            process.kill()


@contextmanager
def nginx(directory: Path, conf: str, *ports: int) -> Iterator[str]:
    """nginx with a configuration that listens on these ports; the first one's URL."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    folders = "".join(f"{kind}_temp_path {directory / kind};\n" for kind in kinds)
    assert conf.count("http {\n") == 1
    path = directory / "nginx.conf"
    path.write_text(conf.replace("http {\n", f"http {{\n{folders}"))
    user = "user root;" if os.geteuid() == 0 else ""
    options = f"daemon off; pid {directory}/nginx.pid; {user}"
    command = [need("nginx"), "-p", str(directory), "-c", str(path), "-g", options]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            for port in ports:
                wait_for_port(port, process)
            yield f"http://127.0.0.1:{ports[0]}"
        finally:
            process.terminate()


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        assert process.poll() is None, "ended at its start"
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)  # polled: no system tells that somebody listens now
    raise TimeoutError(f"nobody listens on {port}")
