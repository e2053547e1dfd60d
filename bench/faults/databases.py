"""Databases for servers under test: copies of one that was migrated once."""

import atexit
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


@cache
def _sqlite_template() -> Path:
    directory = Path(tempfile.mkdtemp(prefix="agent-template-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    _migrate(directory, "")
    return directory / "db.sqlite3"


@cache
def _template(postgres_url: str) -> str:
    name = _new_name()
    _execute(postgres_url, f"CREATE DATABASE {name}")
    atexit.register(_drop, postgres_url, name)
    with tempfile.TemporaryDirectory() as directory:
        _migrate(Path(directory), _url_of(postgres_url, name))
    return name


def _migrate(directory: Path, database_url: str) -> None:
    there = {"DATA_DIR": str(directory), "DATABASE_URL": database_url}
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "--verbosity", "0"],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "agentsite.settings", **there},
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
