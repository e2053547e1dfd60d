"""The connections of the app's own database threads, and their time limits.

Each of these threads keeps one connection of its own. Tools, the admin and other code
of the process share Django's pool, and cannot take the event log's connections.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import local
from typing import ParamSpec, TypeVar

import msgspec
from django.db import Error, close_old_connections, connections, transaction

from streaming.storage.alias import app_alias, app_connection

P = ParamSpec("P")
T = TypeVar("T")

#: Time without use after which a kept connection is tested: a firewall or a failover
#: may have ended it.
IDLE_SECONDS = 5.0

_SET_LIMITS = (
    "SELECT set_config('lock_timeout', %s, true),"
    " set_config('statement_timeout', %s, true)"
)


class Limits(msgspec.Struct, frozen=True):
    """Time limits in seconds that PostgreSQL applies to each statement."""

    lock: float
    statement: float


class _ThreadUse(local):
    """The last use of the calling thread's own connection (time.monotonic())."""

    used_at: float | None = None


_use = _ThreadUse()


def keep_own_connection() -> None:
    """Give the calling thread a connection that belongs to no pool and stays open.

    On SQLite its transactions lock the database when they begin. SQLite does not wait
    for a lock in the middle of a transaction that has read before.
    """
    alias = app_alias()
    shared = connections[alias]
    options = shared.settings_dict["OPTIONS"]
    if options.get("pool"):
        own = shared.copy()
        del own.settings_dict["OPTIONS"]["pool"]
        own.settings_dict["CONN_MAX_AGE"] = None
        connections[alias] = own
        _use.used_at = time.monotonic()
    elif shared.vendor == "sqlite" and "transaction_mode" not in options:
        own = shared.copy()
        own.settings_dict["OPTIONS"]["transaction_mode"] = "IMMEDIATE"
        connections[alias] = own


def close_connections() -> None:
    """Close the calling thread's connections, before its end."""
    with suppress(Error):  # the database is unavailable, and the thread ends anyway
        connections.close_all()


def with_fresh_connection(
    function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Call `function` without connections that are too old or broken; keep none.

    A thread that called `keep_own_connection` keeps its own.
    """
    close_old_connections()
    if _use.used_at is not None and time.monotonic() - _use.used_at > IDLE_SECONDS:
        own = app_connection()
        if own.connection is not None and not own.is_usable():
            own.close()
    try:
        return function(*args, **kwargs)
    finally:
        if _use.used_at is not None:
            _use.used_at = time.monotonic()
        close_old_connections()


@contextmanager
def limited_transaction(limits: Limits) -> Iterator[None]:
    """Open a transaction; on PostgreSQL its statements have time limits."""
    alias = app_alias()
    connection = connections[alias]
    with transaction.atomic(alias):
        if connection.vendor == "postgresql":
            values = [f"{limits.lock * 1000:.0f}", f"{limits.statement * 1000:.0f}"]
            with connection.cursor() as cursor:
                cursor.execute(_SET_LIMITS, values)
        yield


def write_within(
    limits: Limits, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Call `function` in a transaction with time limits."""
    with limited_transaction(limits):
        return function(*args, **kwargs)


def read_within(
    seconds: float, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Call `function`, which only reads; on PostgreSQL its statements have a limit.

    The limit holds within a transaction: a session's would outlive it in a pooler such
    as PgBouncer. SQLite would lock the database for a transaction.
    """
    if app_connection().vendor == "postgresql":
        limits = Limits(seconds, seconds)
        return write_within(limits, function, *args, **kwargs)
    return function(*args, **kwargs)
