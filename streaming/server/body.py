"""The body of a request, received within limits before Django sees the request.

Django writes a body of any size to a temporary file before a view can refuse it, and
waits for it without a limit.
"""

import asyncio
from contextlib import suppress
from io import BytesIO

from streaming import conf
from streaming.exceptions import AgentError, BodyTooLarge, RateLimited, RequestTimeout
from streaming.server.clients import Receive, Scope, Send
from streaming.server.refusals import refusal

#: The part of a body that is not counted: large bodies never keep small ones out.
UNCOUNTED_BYTES = 64 * 1024


class BodyMemory:
    """The memory of one process for large request bodies, shared by all requests."""

    def __init__(self) -> None:
        self.held = 0

    def take(self, size: int) -> None:
        """Hold more bytes. Raises `RateLimited` if they exceed the limit."""
        if size > 0 and self.held + size > conf.get().agent_max_bodies_bytes:
            raise RateLimited(
                "This server holds too many large bodies; try again later."
            )
        self.held += size


class RequestBody(BytesIO):
    """A body whose memory is freed when it is read as a whole.

    Django keeps a request, and its body with it, until its response has ended: for
    minutes if the response waits for the end of a run.
    """

    __slots__ = ("_counted", "_memory")

    def __init__(self, memory: BodyMemory) -> None:
        super().__init__()
        self._memory = memory
        self._counted = 0

    def receive(self, piece: bytes) -> int:
        """Append a piece and return the size so far. Raises `RateLimited`."""
        size = self.tell() + len(piece)
        if size > UNCOUNTED_BYTES:
            new = size - UNCOUNTED_BYTES - self._counted
            self._memory.take(new)
            self._counted += new
        self.write(piece)
        return size

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next bytes; free the memory when the end is reached by that."""
        data = super().read(size)
        if size is None or not 0 <= size <= len(data):
            self.free()
        return data

    def close(self) -> None:
        """Free the memory and close the body; may be called again."""
        if not self.closed:
            self.free()
        super().close()

    def free(self) -> None:
        """Drop all bytes."""
        self.seek(0)
        self.truncate()
        if self._counted:
            self._memory.take(-self._counted)
            self._counted = 0


def too_large(limit: int) -> BodyTooLarge:
    """Return the error of a body that exceeds a limit in bytes."""
    return BodyTooLarge(f"The body must have at most {limit} bytes.")


async def receive_body(
    scope: Scope, receive: Receive, memory: BodyMemory
) -> RequestBody | None:
    """Return the body of a request, or None if the client disconnected before its end.

    Raises `BodyTooLarge` as soon as the announced or the received size is too large,
    `RateLimited` if the process holds too many large bodies, and `RequestTimeout`.
    """
    body = RequestBody(memory)
    is_whole = False
    try:
        async with asyncio.timeout(conf.get().request_read_timeout_seconds):
            is_whole = await _fill(body, _announced_size(scope), receive)
    except TimeoutError:
        raise RequestTimeout from None
    finally:
        if not is_whole:
            body.close()
    if not is_whole:
        return None
    body.seek(0)
    return body


async def refuse(error: AgentError, scope: Scope, receive: Receive, send: Send) -> None:
    """Send the error as the response: Django never sees a request with such a body."""
    status, headers, body = refusal(error, scope)
    sent = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    if scope["http_version"] == "2":
        await _discard(receive)
    elif isinstance(error, RequestTimeout):  # the rest of the body may never arrive
        sent.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": sent})
    await send({"type": "http.response.body", "body": body})


async def _discard(receive: Receive) -> None:
    """Receive the rest of a body, within the time limit, and keep nothing of it.

    hypercorn drops an HTTP/2 connection, with the other requests on it, when a body
    goes on after its response.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(conf.get().request_read_timeout_seconds):
            while (await receive()).get("more_body", False):
                pass


async def _fill(body: RequestBody, announced: int, receive: Receive) -> bool:
    """Receive a body; return False if the client disconnected before its end."""
    limit = conf.get().agent_max_body_bytes
    size, more = announced, True
    while more and size <= limit:
        message = await receive()
        if message["type"] == "http.disconnect":
            return False
        size = body.receive(message.get("body", b""))
        more = message.get("more_body", False)
    if size > limit:
        raise too_large(limit)
    return True


def _announced_size(scope: Scope) -> int:
    """Return the `Content-Length`, or 0 without one."""
    value = dict(scope["headers"]).get(b"content-length", b"")
    return int(value) if value.isdigit() else 0
