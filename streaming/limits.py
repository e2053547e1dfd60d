"""How much a client may send: checked while it comes, before Django keeps it.

Django puts a body of any size into a temporary file before a view sees the request.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from streaming import conf
from streaming.exceptions import BodyTooLarge

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class LimitedBodies:
    """Answers 413 to a body that is larger than `max_body_bytes`."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        limit = conf.get().max_body_bytes
        error = BodyTooLarge(f"The body must have at most {limit} bytes.")
        size = 0

        async def receive_limited() -> Mapping[str, Any]:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            # To Django the client is gone: it drops what it has kept so far.
            return message if size <= limit else {"type": "http.disconnect"}

        if _announced(scope) <= limit:
            await self._app(scope, receive_limited, send)
        if max(size, _announced(scope)) > limit:
            await _refuse(error, send)


def _announced(scope: Scope) -> int:
    """The size that the client announces; 0 when it does not."""
    value = dict(scope["headers"]).get(b"content-length", b"")
    return int(value) if value.isdigit() else 0


async def _refuse(error: BodyTooLarge, send: Send) -> None:
    body = msgspec.json.encode({"error": error.message, "code": error.code})
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    start = {"type": "http.response.start", "status": error.status, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": body})
