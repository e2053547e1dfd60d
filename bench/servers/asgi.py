"""What the servers without a framework share: a request's question, an answer's end."""

import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

HEADERS = [(b"content-type", b"text/event-stream; charset=utf-8")]

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Answer = Callable[[str, Callable[[bytes], Awaitable[None]]], Awaitable[None]]


def application(answer: Answer) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """An ASGI application of one endpoint: `answer` gets the question and `write`."""

    async def asked(scope: Scope, receive: Receive, send: Send) -> None:
        async def write(body: bytes) -> None:
            await send({"type": "http.response.body", "body": body, "more_body": True})

        if scope["type"] != "http":
            return
        question = json.loads(await _body(receive))["input"]
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        await answer(question, write)
        await send({"type": "http.response.body", "body": b""})

    return asked


def frame(event: str, **fields: object) -> str:
    """An event such as ours."""
    data = {"type": event, "timestamp": int(time.time() * 1000), **fields}
    return f"event: {event}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"


async def _body(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body
