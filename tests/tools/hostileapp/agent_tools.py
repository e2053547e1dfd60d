"""Tools that block, hang, and raise exceptions that tools should not raise."""

import asyncio
import ctypes
import sys
import time
from contextlib import suppress
from pathlib import Path

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
async def block_until(path: str) -> str:
    """Block the event loop until a file exists.

    Args:
        path: Path of the file.
    """
    while not Path(path).exists():  # noqa: ASYNC240  (the fault itself)
        time.sleep(0.05)  # noqa: ASYNC251
    return "blocked"


@tool
def hold_the_interpreter() -> str:
    """Hold the interpreter's lock for ten minutes, as an extension in C may."""
    ctypes.PyDLL(None).sleep(600)  # the fault itself
    return ""


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
def query(lock: int) -> str:
    """Keep a connection to PostgreSQL busy until an advisory lock is free.

    Args:
        lock: Number of the lock.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [lock])
    return "queried"
