"""Two tools that record when they begin."""

import os
import time
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
