"""The state of the database's schema."""

import logging

from django.db import Error
from django.db.migrations.executor import MigrationExecutor

from streaming.storage import database
from streaming.storage.alias import app_connection
from streaming.storage.errors import describe

logger = logging.getLogger(__name__)


def missing() -> list[str]:
    """Return the migrations of installed apps that the app's database lacks."""
    executor = MigrationExecutor(app_connection())
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [str(migration) for migration, _ in plan]


async def report_missing() -> None:
    """Log the migrations that the database lacks, at the start of a server."""
    try:
        names = await database.execute_read(missing)
    except Error as error:
        logger.warning("migrations not checked: %s", describe(error))
        return
    if names:
        logger.error("migrations missing, run manage.py migrate: %s", ", ".join(names))
