"""Responses to HTTP/1.0 clients, which do not know the chunks of HTTP/1.1.

uvicorn's httptools protocol sends a response of unknown length in chunks to any client.
An HTTP/1.0 client takes their sizes for a part of the response.
"""

import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

Message = Mapping[str, Any]
Send = Callable[[Message], Awaitable[None]]


class UnchunkedSend:
    """The `send` of a request whose response ends with the connection."""

    def __init__(self, cycle: Any, send: Send) -> None:  # noqa: ANN401  (uvicorn's)
        self.transport = cycle.transport
        self._cycle = cycle
        self._send = send
        self._unchunked = False

    async def send(self, message: Message) -> None:
        """Send a message; a response of unknown length is sent as it is."""
        cycle = self._cycle
        if message["type"] == "http.response.start":
            names = {name.lower() for name, _ in message["headers"]}
            self._unchunked = b"content-length" not in names
            if self._unchunked:
                cycle.chunked_encoding = False
                cycle.expected_content_length = sys.maxsize
        elif self._unchunked and not message.get("more_body", False):
            # uvicorn compares the length of the last part with the expected one.
            cycle.expected_content_length = len(message.get("body", b""))
        await self._send(message)


def without_chunks(send: Send) -> Send:
    """Return a `send` without chunks if the server would send chunks, else the same."""
    cycle = getattr(send, "__self__", None)
    if hasattr(cycle, "chunked_encoding"):
        return UnchunkedSend(cycle, send).send
    return send
