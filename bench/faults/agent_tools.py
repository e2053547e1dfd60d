"""Tools of the servers under test, found as those of any app."""

import asyncio

from streaming.tools import tool


@tool
async def nap(seconds: float) -> str:
    """Do nothing for a while.

    Args:
        seconds: How long.
    """
    await asyncio.sleep(seconds)
    return "rested"
