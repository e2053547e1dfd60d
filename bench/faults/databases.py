"""Databases for servers under test: copies of one that was migrated once."""

import atexit
import fcntl
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def database(directory: Path, postgres_url: str = "") -> Iterator[str]:
    """Make a new database: SQLite in a data directory, or on a PostgreSQL.

    Yields its URL, which is empty for SQLite: the settings find it in the directory.
    """
    if not postgres_url:
        shutil.copy(_sqlite_template(), directory / "db.sqlite3")
        yield ""
        return
    name = _new_name()
    _execute(postgres_url, f"CREATE DATABASE {name} TEMPLATE {_template(postgres_url)}")
    try:
        yield _url_of(postgres_url, name)
    finally:
        _drop(postgres_url, name)


def is_locked(directory: Path, url: str) -> bool:
    """Return whether a connection holds the lock of a writing transaction."""
    if url:
        runs = "SELECT FROM streaming_run FOR UPDATE NOWAIT"
        try:
            _execute(url, runs)
        except psycopg.errors.LockNotAvailable:
            return True
        return False
    path = directory / "db.sqlite3"
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as database:
        try:
            database.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
    return False


def share_template(directory: Path) -> None:
    """Keep the template of SQLite in a directory that several processes use."""
    global _shared
    _shared = directory


_shared: Path | None = None


@cache
def _sqlite_template() -> Path:
    directory = _shared
    if directory is None:
        directory = Path(tempfile.mkdtemp(prefix="agent-template-"))
        atexit.register(shutil.rmtree, directory, ignore_errors=True)
    template = directory / "template.sqlite3"
    with (directory / "template.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until it is closed
        if not template.exists():
            _migrate(directory, "")
            (directory / "db.sqlite3").rename(template)
    return template


@cache
def _template(postgres_url: str) -> str:
    name = urlsplit(new_database(postgres_url)).path.removeprefix("/")
    atexit.register(_drop, postgres_url, name)
    return name


def new_database(postgres_url: str, **variables: str) -> str:
    """Make a migrated database on a PostgreSQL, and return its URL.

    The variables are those of the servers. The database is not dropped.
    """
    name = _new_name()
    _execute(postgres_url, f"CREATE DATABASE {name}")
    with tempfile.TemporaryDirectory() as directory:
        _migrate(Path(directory), _url_of(postgres_url, name), **variables)
    return _url_of(postgres_url, name)


def _migrate(directory: Path, database_url: str, **variables: str) -> None:
    there = {"DATA_DIR": str(directory), "DATABASE_URL": database_url}
    if database_url:  # its tables, which servers with another executor do not use
        there["RUN_EXECUTOR"] = "procrastinate"
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "--verbosity", "0"],
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "agentsite.settings",
            **there,
            **variables,
        },
        check=True,
        capture_output=True,
    )


def _new_name() -> str:
    return f"agent_faults_{uuid.uuid4().hex[:12]}"


def _url_of(postgres_url: str, name: str) -> str:
    return urlsplit(postgres_url)._replace(path=f"/{name}").geturl()


def _drop(postgres_url: str, name: str) -> None:
    _execute(postgres_url, f"DROP DATABASE {name} WITH (FORCE)")


def _execute(postgres_url: str, statement: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(statement)
