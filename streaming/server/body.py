"""The body of a request, read up to a limit before Django sees the request.

Django writes a body of any size to a temporary file before a view can refuse it.
"""

import msgspec

from streaming import conf
from streaming.exceptions import BodyTooLarge
from streaming.server.clients import Receive, Scope, Send


async def read_body(scope: Scope, receive: Receive) -> bytes | None:
    """Return the body of a request, or None if the client disconnected before its end.

    Raises `BodyTooLarge` as soon as the announced or the received size is too large.
    """
    limit = conf.get().agent_max_body_bytes
    body = bytearray()
    size, more = _announced_size(scope), True
    while more and size <= limit:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        size, more = len(body), message.get("more_body", False)
    if size > limit:
        raise BodyTooLarge(f"The body must have at most {limit} bytes.")
    return bytes(body)


async def refuse(error: BodyTooLarge, send: Send) -> None:
    """Send the error as the response: Django never sees a request with such a body."""
    body = msgspec.json.encode({"error": error.message, "code": error.code})
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    start = {"type": "http.response.start", "status": error.status, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": body})


def _announced_size(scope: Scope) -> int:
    """Return the `Content-Length`, or 0 without one."""
    value = dict(scope["headers"]).get(b"content-length", b"")
    return int(value) if value.isdigit() else 0
