"""Tools that record when they begin, and one that never ends."""

import asyncio
import os
import time
from contextlib import suppress
from pathlib import Path

from streaming.tools import tool


def begin(seconds: int) -> None:
    """Append a call to the trace."""
    with Path(os.environ["TRACE"]).open("a") as trace:
        trace.write(f"{seconds}\n")


@tool(timeout=1000)
def slow_write(seconds: int) -> str:
    """Write something, slowly."""
    begin(seconds)
    time.sleep(seconds)
    return str(seconds)


@tool(timeout=1000, repeatable=True)
def slow_read(seconds: int) -> str:
    """Read something, slowly."""
    begin(seconds)
    time.sleep(seconds)
    return str(seconds)


@tool(timeout=1000)
def held_read(seconds: int) -> str:
    """Read something when the test has made a file beside the trace."""
    begin(seconds)
    while not Path(f"{os.environ['TRACE']}.go").exists():
        time.sleep(0.02)
    return "read"


@tool(timeout=0.1)
async def never_end(seconds: int) -> None:
    """Ignore each cancellation, and wait for a thread that cannot be ended."""
    begin(seconds)
    sleeping = asyncio.get_running_loop().run_in_executor(None, time.sleep, seconds)
    while not sleeping.done():
        with suppress(asyncio.CancelledError):
            await asyncio.shield(sleeping)
