"""The servers that tests start: the site, the container's command, proxies."""

import getpass
import json
import os
import re
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from bench.faults.databases import database
from bench.fleet.nginx import nginx_server
from streaming.testing.provider import StandInProvider
from streaming.testing.server import Server, clean_environment, free_port
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
HYPERCORN = (
    *(sys.executable, "-m", "hypercorn", "agentsite.asgi:application"),
    *("--bind", "127.0.0.1:{port}", "--graceful-timeout", "20"),
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
        "AUTHENTICATION": "streaming.auth.open",
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
        "OPENAI_API_KEY": "sk-stand-in",
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
        # The port is open before a worker serves: the first request waits for one.
        httpx.get(server.url + READY, timeout=SECONDS)
        yield server


@contextmanager
def nginx(directory: Path, conf: str, *ports: int) -> Iterator[str]:
    """Run nginx with a configuration for these ports; yield the URL of the first."""
    # nginx opens its ports in the order of the configuration.
    server = nginx_server(need("nginx"), directory, conf, ports[-1])
    try:
        server.start()
        yield f"http://127.0.0.1:{ports[0]}"
    finally:
        server.send_signal(signal.SIGTERM)
        server.ends_within(SECONDS)
        server.kill()
        server.check_log()


def fenced(page: str, language: str) -> list[str]:
    """Return the code blocks of a language on a page of docs/, without their fences."""
    text = (ROOT / "docs" / page).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@contextmanager
def pgbouncer(database_url: str, *, pool_size: int) -> Iterator[tuple[Server, str]]:
    """Run PgBouncer as docs/deployment.md configures it; yield it and its URL.

    All differences are the addresses, the size of the pool, and the user's password,
    which a PostgreSQL that trusts its clients does not ask for.
    """
    url = urlsplit(database_url)
    port, password = free_port(), url.password or "only-for-tests"
    name, user = url.path.removeprefix("/"), url.username or getpass.getuser()
    [ini] = fenced("deployment.md", "ini")
    # Readable for the user as which it runs: it refuses to run as root.
    with tempfile.TemporaryDirectory() as made:
        directory = Path(made)
        directory.chmod(0o755)
        users = directory / "userlist.txt"
        users.write_text(f'"{user}" "{password}"\n')
        for written, used in (
            ("agent = ", f"{name} = "),
            (
                "host=127.0.0.1 port=5432",
                f"host={url.hostname} port={url.port or 5432}",
            ),
            ("dbname=agent", f"dbname={name}"),
            ("listen_port = 6432", f"listen_port = {port}"),
            ("/etc/pgbouncer/userlist.txt", str(users)),
            ("default_pool_size = 20", f"default_pool_size = {pool_size}"),
        ):
            assert ini.count(written) == 1
            ini = ini.replace(written, used)
        path = directory / "pgbouncer.ini"
        path.write_text(f"{ini}unix_socket_dir =\n")
        as_user = ["--user", "nobody"] if os.geteuid() == 0 else []
        command = [need("pgbouncer"), *as_user, str(path)]
        environment = clean_environment()
        with Server(command, directory, environment=environment, port=port) as server:
            yield server, f"postgresql://{user}:{password}@127.0.0.1:{port}/{name}"


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
