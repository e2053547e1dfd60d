"""The servers that tests start: the site, the container's command, a real nginx."""

import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from bench.faults.databases import database
from streaming.testing.provider import StandInProvider
from streaming.testing.server import Server, clean_environment
from streaming.testing.sse import Frame, read
from tests.available import need
from tests.client import API

ROOT = Path(__file__).resolve().parent.parent
PAUSE_MS = 40
SECONDS = 60
UVICORN = (
    *(sys.executable, "-m", "uvicorn", "agentsite.asgi:application"),
    *("--port", "{port}"),
)
RUNSERVER = (sys.executable, "manage.py", "runserver", "{port}")
READY = "/ready"
STARTED_FROM_PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def site_environment(directory: Path, **variables: str) -> dict[str, str]:
    """Return the environment of a site whose data is in `directory`."""
    own = {
        "PATH": STARTED_FROM_PATH,
        "DJANGO_SETTINGS_MODULE": "agentsite.settings",
        "DATA_DIR": str(directory),
        "DEBUG": "false",
        "SECRET_KEY": "only-for-tests",
        "LLM_PROVIDER": "demo",
        "DEMO_DELAY_MS": "0",
    }
    return clean_environment(**{**own, **variables})


@contextmanager
def serve(directory: Path, **variables: str) -> Iterator[Server]:
    """Serve the site from a migrated database in `directory`."""
    environment = site_environment(directory, **variables)
    with (
        database(directory),
        Server(
            UVICORN, directory, environment=environment, cwd=ROOT, ready=READY
        ) as server,
    ):
        yield server


def model_variables(upstream: StandInProvider) -> dict[str, str]:
    """Return the variables of a site whose model is the stand-in."""
    return {
        "LLM_PROVIDER": "openai",
        "LLM_MODEL": "scripted",
        "LLM_MAX_RETRIES": "0",
        "OPENAI_API": "chat",
        "OPENAI_API_KEY": "none",
        "OPENAI_BASE_URL": upstream.url,
    }


def container_command() -> list[str]:
    """Return the command in the Dockerfile."""
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text().replace("\\\n", "")
    (command,) = re.findall(r"^CMD (\[.+\])$", dockerfile, re.MULTILINE)
    arguments: list[str] = json.loads(command)
    return arguments


@contextmanager
def app(directory: Path, port: int, **variables: str) -> Iterator[Server]:
    """Run the container's command on a port."""
    own = {"PORT": str(port), "DEMO_DELAY_MS": str(PAUSE_MS), **variables}
    environment = site_environment(directory, **own)
    command = container_command()
    with Server(
        command, directory, environment=environment, cwd=ROOT, port=port
    ) as server:
        yield server


@contextmanager
def nginx(directory: Path, conf: str, *ports: int) -> Iterator[str]:
    """Run nginx with a configuration for these ports; yield the URL of the first."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    folders = "".join(f"{kind}_temp_path {directory / kind};\n" for kind in kinds)
    assert conf.count("http {\n") == 1
    path = directory / "nginx.conf"
    path.write_text(conf.replace("http {\n", f"http {{\n{folders}"))
    user = "user root;" if os.geteuid() == 0 else ""
    options = f"daemon off; pid {directory}/nginx.pid; {user}"
    command = [need("nginx"), "-p", str(directory), "-c", str(path), "-g", options]
    # nginx opens its ports in the order of the configuration.
    server = Server(command, directory, environment=clean_environment(), port=ports[-1])
    try:
        server.start()
        yield f"http://127.0.0.1:{ports[0]}"
    finally:
        server.send_signal(signal.SIGTERM)
        server.ends_within(SECONDS)
        server.kill()


class Reader:
    """A client of a stream that reads it frame by frame."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._frames = read(response.iter_bytes())

    def __iter__(self) -> Iterator[Frame]:
        with suppress(httpx.TransportError):
            for frame in self._frames:  # noqa: UP028  (they outlive this iterator)
                yield frame

    def until(self, event: str) -> Frame:
        """Return the next frame of a type."""
        return next(frame for frame in self if frame.event == event)


@contextmanager
def stream(server: Server, prompt: str, **fields: object) -> Iterator[Reader]:
    """Start a run and follow it."""
    body = {"input": prompt, **fields}
    url = f"{server.url}{API}/stream"
    with httpx.stream("POST", url, json=body, timeout=SECONDS) as response:
        yield Reader(response)
