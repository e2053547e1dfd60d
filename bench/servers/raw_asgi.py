"""The ceiling: the events of a stream from bare ASGI, with no provider behind them."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

DELTAS = int(os.environ["DELTAS"])
PACE = float(os.environ["PACE_MS"]) / 1000
EVENT = (
    b"event: content\n"
    b'data: {"type":"content","is_final":false,"timestamp":1,"content":"word0 "}\n\n'
)
DONE = b'event: done\ndata: {"type":"done","is_final":true,"timestamp":1}\n\n'
HEADERS = [(b"content-type", b"text/event-stream; charset=utf-8")]

Send = Callable[[dict[str, Any]], Awaitable[None]]


async def application(scope: dict[str, Any], receive: object, send: Send) -> None:
    """One send an event."""
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    for _ in range(DELTAS):
        await send({"type": "http.response.body", "body": EVENT, "more_body": True})
        if PACE:
            await asyncio.sleep(PACE)
    await send({"type": "http.response.body", "body": DONE})
