"""Connections of the app's own for PostgreSQL's LISTEN and NOTIFY."""

from typing import Any

import psycopg

from streaming.storage.alias import app_connection

#: The name of these connections in `pg_stat_activity`.
APPLICATION = "agent-stream live"
#: The channel of the live path; an empty notification on it has no effect.
CHANNEL = "streaming_live"
#: Parameters of Django's that are objects of its synchronous connections.
_OF_DJANGO = ("cursor_factory", "context")


def connection_parameters() -> dict[str, Any]:
    """Return the parameters of a further connection to the app's database."""
    parameters = dict(app_connection().get_connection_params())
    for name in _OF_DJANGO:
        parameters.pop(name, None)
    return {"application_name": APPLICATION, **parameters, "autocommit": True}


def notifications_arrive(seconds: float) -> bool:
    """Return whether a session receives a notification of another one in time.

    A pooler of transactions, such as PgBouncer, accepts LISTEN and delivers nothing.
    """
    parameters = connection_parameters()
    with (
        psycopg.connect(**parameters) as listening,
        psycopg.connect(**parameters) as sending,
    ):
        listening.execute(f"LISTEN {CHANNEL}")
        sending.execute(f"NOTIFY {CHANNEL}")
        return any(True for _ in listening.notifies(timeout=seconds, stop_after=1))
