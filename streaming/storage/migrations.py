"""The state of the database's schema."""

from django.db import connection
from django.db.migrations.executor import MigrationExecutor


def are_applied() -> bool:
    """Return true if no migration of an installed app is missing in the database."""
    executor = MigrationExecutor(connection)
    return not executor.migration_plan(executor.loader.graph.leaf_nodes())
