"""Starlette with sse-starlette's EventSourceResponse over an SDK's typed stream."""

import time
from collections.abc import AsyncIterator

from sse_starlette import EventSourceResponse, JSONServerSentEvent
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from bench.servers.typed import deltas


def _event(type: str, **fields: object) -> JSONServerSentEvent:
    data = {"type": type, "timestamp": int(time.time() * 1000), **fields}
    return JSONServerSentEvent(data, event=type)


async def _events(question: str) -> AsyncIterator[JSONServerSentEvent]:
    async for text in deltas(question):
        yield _event("content", is_final=False, content=text)
    yield _event("done", is_final=True)


async def stream(request: Request) -> EventSourceResponse:
    """Ask, and stream what comes."""
    return EventSourceResponse(_events((await request.json())["input"]))


application = Starlette(
    routes=[Route("/api/v1/agent/stream", stream, methods=["POST"])]
)
