"""The ceiling of any server: events from bare ASGI, with no provider behind them."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from bench.servers import asgi
from bench.upstream import ASKED

EVENT = (
    "event: content\n"
    'data: {{"type":"content","is_final":false,"timestamp":1,'
    '"content":"#{:03}{} "}}\n\n'
)
EVENTS = [EVENT.format(number, "").encode() for number in range(1000)]
DONE = asgi.frame("done", is_final=True).encode()


async def answer(question: str, write: Callable[[bytes], Awaitable[None]]) -> None:
    """One send an event."""
    asked = ASKED.match(question.encode())
    assert asked, question
    deltas = int(asked[1])
    if asked["pace"]:
        await _paced(deltas, float(asked["pace"]) / 1000, write)
    else:
        for event in EVENTS[:deltas]:
            await write(event)
    await write(DONE)


async def _paced(
    deltas: int, pace: float, write: Callable[[bytes], Awaitable[None]]
) -> None:
    due = time.monotonic()
    for number in range(deltas):
        stamp = f"@{time.monotonic_ns() // 1000:016}"
        await write(EVENT.format(number, stamp).encode())
        due += pace
        await asyncio.sleep(due - time.monotonic())


application = asgi.application(answer)
