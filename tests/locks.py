"""Rows that a transaction of another connection has locked."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from django.db import connection, transaction
from django.db.models import QuerySet

from tests.writer import PATIENCE


@asynccontextmanager
async def locked(rows: "QuerySet[Any, Any]") -> AsyncIterator[None]:
    """Lock rows in a thread, on PostgreSQL: SQLite locks the whole database."""
    begun, end = threading.Event(), threading.Event()

    def lock() -> None:
        try:
            with transaction.atomic():
                assert list(rows.select_for_update())
                begun.set()
                assert end.wait(PATIENCE)
        finally:
            connection.close()

    locking = asyncio.create_task(asyncio.to_thread(lock))
    assert await asyncio.to_thread(begun.wait, PATIENCE)
    try:
        yield
    finally:
        end.set()
        await locking
