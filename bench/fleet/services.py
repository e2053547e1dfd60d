"""A PostgreSQL and a Redis of the exercise's own, which can be killed and restarted."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg

from streaming.testing.server import Server, clean_environment, free_port

#: Where Debian keeps the programs of PostgreSQL's servers, outside of the PATH.
DEBIAN = "usr/lib/postgresql/*/bin"
USER = "agent"
#: Sessions of all processes of a fleet.
CONNECTIONS = 300
NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
END_SECONDS = 60


def postgres_programs() -> Path | None:
    """Return the directory of `initdb` and `postgres`, None where there is none."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    versions = [path for path in Path("/").glob(DEBIAN) if (path / "initdb").exists()]
    return max(versions, key=lambda path: int(path.parent.name), default=None)


class Postgres(Server):
    """A PostgreSQL cluster in a directory of its own, open to this machine alone.

    If it is not `durable`, it loses data in a crash of the machine, and waits for no
    disk.
    """

    def __init__(
        self, directory: Path, programs: Path, *, durable: bool = True
    ) -> None:
        # The server refuses to run as root.
        as_user: tuple[str, ...] = ()
        if os.geteuid() == 0:
            shutil.chown(directory, "postgres", "postgres")
            as_user = (
                "setpriv",
                "--reuid=postgres",
                "--regid=postgres",
                "--init-groups",
            )
        data = directory / "data"
        subprocess.run(
            [
                *as_user,
                *(programs / "initdb", "--pgdata", data, "--no-sync"),
                *("--auth", "trust", "--username", USER, "--encoding", "UTF8"),
            ],
            cwd=directory,
            check=True,
            capture_output=True,
        )
        options = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": str(CONNECTIONS),
            # A shutdown waits so long for connections that come then and send nothing.
            "authentication_timeout": "5s",
            **({} if durable else NOT_DURABLE),
        }
        port = free_port()
        settings = [f"--{name}={value}" for name, value in options.items()]
        super().__init__(
            [
                *(*as_user, str(programs / "postgres"), "-D", str(data)),
                *("-p", str(port), *settings),
            ],
            directory,
            environment=clean_environment(),
            cwd=directory,
            port=port,
        )

    @property
    def database_url(self) -> str:
        """The URL of a database that always exists."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/postgres"

    def is_ready(self) -> bool:
        """Return whether the server takes connections; it refuses them at first."""
        try:
            psycopg.connect(self.database_url, connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop: SIGINT ends sessions and writes a checkpoint, SIGQUIT does neither."""
        self.send_signal(how)
        if not self.ends_within(END_SECONDS):
            raise RuntimeError(f"PostgreSQL did not end: {self.log.read_text()}")


class Redis(Server):
    """A Redis that stores nothing on disk."""

    def __init__(self, directory: Path, program: str = "redis-server") -> None:
        command = [program, "--port", "{port}", "--bind", "127.0.0.1", "--save", ""]
        super().__init__(
            [*command, "--dir", str(directory)],
            directory,
            environment=clean_environment(),
            cwd=directory,
        )

    @property
    def redis_url(self) -> str:
        """The URL for `REDIS_URL`."""
        return f"redis://127.0.0.1:{self.port}/0"

    def stop(self) -> None:
        """Stop as an operator does."""
        self.send_signal(signal.SIGTERM)
        if not self.ends_within(END_SECONDS):
            raise RuntimeError(f"Redis did not end: {self.log.read_text()}")


@contextmanager
def postgres(*, durable: bool = True) -> Iterator[Postgres]:
    """Run a PostgreSQL in a temporary directory."""
    if not (programs := postgres_programs()):
        raise RuntimeError("no programs of a PostgreSQL server on this machine")
    directory = Path(tempfile.mkdtemp(prefix="agent-postgres-"))
    try:
        with Postgres(directory, programs, durable=durable) as server:
            yield server
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def redis() -> Iterator[Redis]:
    """Run a Redis in a temporary directory."""
    directory = Path(tempfile.mkdtemp(prefix="agent-redis-"))
    try:
        with Redis(directory) as server:
            yield server
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def end_at_sigterm() -> None:
    """Have SIGTERM end this process like Ctrl+C does, with all that it has started."""
    signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGINT))


def transactions(database_url: str) -> int:
    """Return the number of transactions that have written so far, in the cluster."""
    query = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
    return _number(database_url, query)


def _number(database_url: str, query: str) -> int:
    with psycopg.connect(database_url) as connection:
        row: Sequence[int] | None = connection.execute(query).fetchone()
    assert row
    return int(row[0])
