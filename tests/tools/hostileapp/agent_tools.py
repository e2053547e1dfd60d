"""Tools that block, hang, and raise exceptions that tools should not raise."""

import asyncio
import sys
import time
from contextlib import suppress

from django.db import connection

from streaming.tools import tool


class PanicException(BaseException):
    """As an extension in Rust raises it: no `Exception`."""


@tool
async def block(seconds: float) -> str:
    """Block the event loop.

    Args:
        seconds: Duration.
    """
    time.sleep(seconds)  # noqa: ASYNC251  (the fault itself)
    return "blocked"


@tool
async def swallow() -> str:
    """Ignore each cancellation."""
    while True:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)


@tool
def hang() -> str:
    """Hang in a thread."""
    time.sleep(600)  # the fault itself
    return ""


@tool
async def leave() -> str:
    """Raise SystemExit on the event loop."""
    sys.exit(3)


@tool
async def leave_in_a_task() -> str:
    """Raise SystemExit in a task of its own."""

    async def work() -> None:
        sys.exit(3)

    await asyncio.gather(work(), asyncio.sleep(0.01))
    return ""


@tool
def leave_in_a_thread() -> str:
    """Raise SystemExit in a thread."""
    sys.exit(3)


@tool
async def interrupt() -> str:
    """Raise KeyboardInterrupt on the event loop."""
    raise KeyboardInterrupt


@tool
def interrupt_in_a_thread() -> str:
    """Raise KeyboardInterrupt in a thread."""
    raise KeyboardInterrupt


@tool
async def panic() -> str:
    """Raise an exception that is no Exception."""
    raise PanicException


@tool
def panic_in_a_thread() -> str:
    """Raise an exception that is no Exception, in a thread."""
    raise PanicException


@tool
async def close() -> str:
    """Raise GeneratorExit on the event loop."""
    raise GeneratorExit


@tool
async def cancel_itself() -> str:
    """Cancel the task in which it runs."""
    task = asyncio.current_task()
    assert task
    task.cancel()
    await asyncio.sleep(60)
    return ""


@tool
def cancel_in_a_thread() -> str:
    """Raise CancelledError in a thread."""
    raise asyncio.CancelledError


@tool
async def cancel_tasks(of: str) -> str:
    """Cancel all tasks of a coroutine.

    Args:
        of: Part of the coroutine's name.
    """
    for task in asyncio.all_tasks():
        if of in str(task.get_coro()):
            task.cancel()
    await asyncio.sleep(60)
    return ""


@tool
def query(seconds: float) -> str:
    """Keep a database connection busy.

    Args:
        seconds: Duration.
    """
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT pg_sleep(%s)", [seconds])
        else:
            cursor.execute("SELECT 1")
            time.sleep(seconds)  # SQLite has no function that waits
    return "queried"
