"""Checks for `manage.py check`: settings that are valid each, but not in combination.

The ids are stable, since `SILENCED_SYSTEM_CHECKS` may name them.
"""

from collections.abc import Iterator, Sequence

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import connections
from django.utils.module_loading import import_string

from streaming import conf
from streaming.versions import TESTED, installed, read_tested, untested

#: The usual time after which gunicorn, Kubernetes and Docker Compose kill a process
#: that has not ended.
USUAL_GRACE_SECONDS = 30
#: The default time after which most proxies cut a silent stream.
USUAL_READ_TIMEOUT_SECONDS = 60


def register_checks() -> None:
    """Register the checks with Django."""
    register(check_settings)
    register(check_database, Tags.database)
    register(check_versions)


def check_settings(
    app_configs: Sequence[AppConfig] | None, **_: object
) -> list[CheckMessage]:
    """Check the settings against each other and against usual servers and proxies."""
    return [*_atomic_requests(), *_sync_middleware(), *_times(), *_pool()]


def check_database(
    app_configs: Sequence[AppConfig] | None,
    databases: Sequence[str] | None = None,
    **_: object,
) -> list[CheckMessage]:
    """Check that SQLite has a write-ahead log; otherwise each write blocks readers."""
    return [
        Warning(
            f"The journal of SQLite is {mode!r} and not a write-ahead log.",
            hint="A network file system cannot hold one: put DATA_DIR on a local disk,"
            " or use PostgreSQL (DATABASE_URL).",
            id="streaming.W004",
        )
        for mode in map(_journal_mode, databases or ())
        if mode not in ("wal", "")
    ]


def check_versions(
    app_configs: Sequence[AppConfig] | None, **_: object
) -> list[CheckMessage]:
    """Check for libraries newer than the tested ones, whose private parts are used."""
    tested = read_tested(TESTED.read_text())
    return [
        Warning(
            f"{name} {present} is newer than {known}, the newest tested version.",
            hint="Run the contract tests of docs/design/private-parts.md against it.",
            id="streaming.W006",
        )
        for name, present, known in untested(tested, installed(tested))
    ]


def _journal_mode(alias: str) -> str:
    """Return SQLite's journal mode; empty for other databases."""
    connection = connections[alias]
    if connection.vendor != "sqlite":
        return ""
    with connection.cursor() as cursor:
        [mode] = cursor.execute("PRAGMA journal_mode").fetchone()
    return str(mode)


def _atomic_requests() -> Iterator[CheckMessage]:
    if settings.DATABASES["default"].get("ATOMIC_REQUESTS"):
        yield Error(
            "ATOMIC_REQUESTS is set, and async views do not support it.",
            hint="Remove it: each database function of the app is one transaction.",
            id="streaming.E001",
        )


def _sync_middleware() -> Iterator[CheckMessage]:
    for path in settings.MIDDLEWARE:
        if not getattr(import_string(path), "async_capable", False):
            yield Warning(
                f"{path} is sync-only: it holds a thread for each open stream.",
                hint="Make it async-capable, or exclude the agent's paths from it.",
                id="streaming.W001",
            )


def _times() -> Iterator[CheckMessage]:
    options = conf.get()
    if options.drain_seconds >= USUAL_GRACE_SECONDS:
        yield Warning(
            f"DRAIN_SECONDS is {options.drain_seconds:g}: a process manager may kill "
            "the server before its runs have ended and are saved.",
            hint="Set a longer grace period there, and silence this check.",
            id="streaming.W002",
        )
    if options.stream_heartbeat_seconds >= USUAL_READ_TIMEOUT_SECONDS:
        yield Warning(
            f"STREAM_HEARTBEAT_SECONDS is {options.stream_heartbeat_seconds:g}: most "
            f"proxies cut a stream after {USUAL_READ_TIMEOUT_SECONDS} s of silence.",
            hint="`manage.py check_streaming URL` tests whether yours does.",
            id="streaming.W003",
        )


def _pool() -> Iterator[CheckMessage]:
    threads = conf.get().database_threads
    pool = settings.DATABASES["default"].get("OPTIONS", {}).get("pool")
    if isinstance(pool, dict) and pool.get("max_size", threads) < threads:
        yield Warning(
            f"DATABASE_POOL_SIZE is {pool['max_size']}, but {threads} threads use "
            "connections: some will wait for one, and may time out.",
            hint="Raise it, or lower DATABASE_READ_THREADS and REQUEST_THREADS.",
            id="streaming.W005",
        )
