"""Fixtures for runs that procrastinate executes."""

from collections.abc import Iterator

import pytest
from django.db import connection


@pytest.fixture
def job_tables(transactional_db: None) -> Iterator[int]:
    """Delete all jobs after a test; Django does not empty tables of other packages.

    The value is the process of PostgreSQL for the connection that does it.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        [own] = cursor.fetchone()
        yield own
        cursor.execute("DELETE FROM procrastinate_jobs")
        cursor.execute("DELETE FROM procrastinate_workers")
