"""A writer thread that is kept busy."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from streaming.storage import database

PATIENCE = 60


@asynccontextmanager
async def busy_writer() -> AsyncIterator[None]:
    """Occupy the thread that writes to the database: all other writes wait."""
    begun, end = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        assert end.wait(PATIENCE)

    holding = asyncio.create_task(database.execute_write(hold))
    assert await asyncio.to_thread(begun.wait, PATIENCE)
    try:
        yield
    finally:
        end.set()
        await holding
