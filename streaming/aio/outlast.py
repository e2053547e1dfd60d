"""A wait that a cancellation of the waiting task does not end."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def outlast(future: asyncio.Future[T], on_cancel: Callable[[], object]) -> T:
    """Await a future to its end; a cancellation of this task calls `on_cancel` instead.

    Raises `CancelledError` only if the future itself is cancelled.
    """
    while True:
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or not task.cancelling():
                raise
            task.uncancel()
            on_cancel()
