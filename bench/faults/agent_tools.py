"""Tools of the servers under test, found as those of any app."""

import asyncio
import os

from streaming.tools import tool


@tool
async def nap(seconds: float) -> str:
    """Do nothing for a while.

    Args:
        seconds: How long.
    """
    await asyncio.sleep(seconds)
    return "rested"


@tool
async def book(ticket: str, seconds: float) -> str:
    """Book a ticket, which takes a while.

    Each execution is recorded in the file that BOOKINGS names, before it ends.

    Args:
        ticket: The ticket's name.
        seconds: How long.
    """
    record = os.open(os.environ["BOOKINGS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(record, f"{ticket}\n".encode())  # one write: processes share the file
    os.close(record)
    await asyncio.sleep(seconds)
    return "booked"
