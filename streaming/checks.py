"""What an operator can set wrongly without noticing, as checks of `manage.py check`.

Their ids stay what they are: `SILENCED_SYSTEM_CHECKS` may name them.
"""

from collections.abc import Iterator, Sequence

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import connections
from django.utils.module_loading import import_string

from streaming import conf

#: Where gunicorn, Kubernetes and Docker Compose files kill a process that was told to
#: end, as they are most often set.
USUAL_GRACE_SECONDS = 30
#: Where proxies cut a silent stream, as most are set at first.
USUAL_READ_TIMEOUT_SECONDS = 60


def register_checks() -> None:
    """Have Django run them."""
    register(check_settings)
    register(check_database, Tags.database)


def check_settings(
    app_configs: Sequence[AppConfig] | None, **_: object
) -> list[CheckMessage]:
    """Settings that are valid each, but not together with the world around."""
    return [*_atomic_requests(), *_sync_middleware(), *_times(), *_pool()]


def check_database(
    app_configs: Sequence[AppConfig] | None,
    databases: Sequence[str] | None = None,
    **_: object,
) -> list[CheckMessage]:
    """W004: SQLite needs its write-ahead log, or each write stops every reader."""
    return [
        Warning(
            f"The journal of SQLite is {mode!r} and not a write-ahead log.",
            hint="A network file system cannot hold one: put DATA_DIR on a local disk,"
            " or use PostgreSQL (DATABASE_URL).",
            id="streaming.W004",
        )
        for mode in map(_journal, databases or ())
        if mode not in ("wal", "")
    ]


def _journal(alias: str) -> str:
    """How SQLite writes; empty where it is another database."""
    connection = connections[alias]
    if connection.vendor != "sqlite":
        return ""
    with connection.cursor() as cursor:
        [mode] = cursor.execute("PRAGMA journal_mode").fetchone()
    return str(mode)


def _atomic_requests() -> Iterator[CheckMessage]:
    if settings.DATABASES["default"].get("ATOMIC_REQUESTS"):
        message = "ATOMIC_REQUESTS is set, which async views cannot have."
        hint = "Leave it out: each function here is a transaction of its own."
        yield Error(message, hint=hint, id="streaming.E001")


def _pool() -> Iterator[CheckMessage]:
    options = conf.get()
    threads = options.database_read_threads + options.request_threads + 1
    pool = settings.DATABASES["default"].get("OPTIONS", {}).get("pool")
    if isinstance(pool, dict) and pool.get("max_size", threads) < threads:
        message = (
            f"DATABASE_POOL_SIZE is {pool['max_size']}, and {threads} threads may want"
            " a connection at once: some wait, and give up after a while."
        )
        hint = "Raise it, or lower DATABASE_READ_THREADS and REQUEST_THREADS."
        yield Warning(message, hint=hint, id="streaming.W005")


def _sync_middleware() -> Iterator[CheckMessage]:
    for path in settings.MIDDLEWARE:
        if not getattr(import_string(path), "async_capable", False):
            message = f"{path} is sync-only: it holds a thread for each open stream."
            hint = "Make it async-capable, or keep the agent's paths out of it."
            yield Warning(message, hint=hint, id="streaming.W001")


def _times() -> Iterator[CheckMessage]:
    options = conf.get()
    if options.drain_seconds >= USUAL_GRACE_SECONDS:
        message = (
            f"DRAIN_SECONDS is {options.drain_seconds:g}: a process manager may kill the"
            " server before its runs have ended and are saved."
        )
        hint = "Let its grace period be longer, and silence this check."
        yield Warning(message, hint=hint, id="streaming.W002")
    if options.stream_heartbeat_seconds >= USUAL_READ_TIMEOUT_SECONDS:
        message = (
            f"STREAM_HEARTBEAT_SECONDS is {options.stream_heartbeat_seconds:g}: most"
            f" proxies cut a stream after {USUAL_READ_TIMEOUT_SECONDS} s of silence."
        )
        hint = "`manage.py check_streaming URL` says whether yours does."
        yield Warning(message, hint=hint, id="streaming.W003")
