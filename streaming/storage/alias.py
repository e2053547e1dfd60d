"""The database that holds the app's tables: one alias for all statements.

The routers of a project choose it, as for any model. Statements that the ORM does not
build use it too, and so do transactions.
"""

from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper

from streaming.models import Run


def app_alias() -> str:
    """Return the alias of the app's database."""
    alias: str = router.db_for_write(Run)
    return alias


def app_connection() -> BaseDatabaseWrapper:
    """Return the calling thread's connection to the app's database."""
    return connections[app_alias()]
