"""Waiting for what another task or process does."""

import asyncio
from collections.abc import Callable

SECONDS = 60.0


async def until(condition: Callable[[], bool], seconds: float = SECONDS) -> None:
    """Return when it is so."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  (another task changes it)
            await asyncio.sleep(0.02)
