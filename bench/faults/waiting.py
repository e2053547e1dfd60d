"""Waiting for the work of another task or process."""

import asyncio
from collections.abc import Callable

SECONDS = 60.0


async def until(condition: Callable[[], bool], seconds: float = SECONDS) -> None:
    """Return once a condition holds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  (another task changes it)
            await asyncio.sleep(0.02)
