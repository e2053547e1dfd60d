"""A client of the API that drives the ASGI application directly.

Unlike `httpx.ASGITransport` it returns a stream piece by piece, and a test can
disconnect in the middle or stop reading.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from streaming.models import IS_ACTIVE, Run
from streaming.server.clients import ClientConnections
from streaming.server.handler import Handler
from streaming.testing.sse import Frame, FrameReader, parse

API = "/api/v1/agent"
SECONDS = 20


@dataclass
class Response:
    """An HTTP response; `chunks` are the pieces of its body, as they were sent."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    chunks: list[bytes] = field(default_factory=list)

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def json(self) -> Any:  # noqa: ANN401
        return json.loads(self.body)

    @property
    def is_stream(self) -> bool:
        return self.headers.get("content-type", "").startswith("text/event-stream")

    @property
    def frames(self) -> list[Frame]:
        return parse(self.body)

    @property
    def events(self) -> list[str]:
        return [frame.event for frame in self.frames]

    @property
    def text(self) -> str:
        """Return all `content` of a stream."""
        return "".join(f.data["content"] for f in self.frames if f.event == "content")


class Stream:
    """A request in progress, and its response so far."""

    def __init__(self, body: bytes) -> None:
        self.response = Response()
        self.changed = asyncio.Condition()
        self.gone = asyncio.Event()
        self.task: asyncio.Task[None]
        self._body: bytes | None = body
        self._reader = FrameReader()
        self._frames: list[Frame] = []

    async def receive(self) -> dict[str, Any]:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.response.status = message["status"]
            self.response.headers = {
                name.decode().lower(): value.decode()
                for name, value in message["headers"]
            }
        elif body := message.get("body"):
            self.response.chunks.append(body)
            if self.response.is_stream:
                self._frames += self._reader.feed(body)
        async with self.changed:
            self.changed.notify_all()
        await asyncio.sleep(0)

    async def until(self, event: str, count: int = 1) -> Frame:
        """Wait for the `count`th event of a type."""
        async with asyncio.timeout(SECONDS), self.changed:
            while True:
                found = [f for f in self._frames if f.event == event]
                if len(found) >= count:
                    return found[count - 1]
                await self.changed.wait()

    async def end(self) -> Response:
        """Wait for the end of the response."""
        async with asyncio.timeout(SECONDS):
            await self.task
        return self.response

    async def hang_up(self) -> None:
        """Disconnect the client."""
        self.gone.set()
        async with asyncio.timeout(SECONDS):
            await self.task


class Api:
    """A client of the application."""

    def __init__(self) -> None:
        self._app = ClientConnections(Handler(1))

    async def get(self, path: str, **headers: str) -> Response:
        async with self.open("GET", path, headers=headers) as stream:
            return await stream.end()

    async def delete(self, path: str) -> Response:
        async with self.open("DELETE", path) as stream:
            return await stream.end()

    async def post(self, path: str, body: object = None, **headers: str) -> Response:
        async with self.open("POST", path, body, headers) as stream:
            return await stream.end()

    async def run(self, input: str, **fields: object) -> Response:
        """Send `POST /run`."""
        return await self.post(f"{API}/run", {"input": input, **fields})

    async def stream(self, input: str, **fields: object) -> Response:
        """Send `POST /stream` and wait for its end."""
        return await self.post(f"{API}/stream", {"input": input, **fields})

    @asynccontextmanager
    async def open(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Stream]:
        """Send a request; `body` is sent as JSON unless it is bytes.

        A header's name is written with underscores, as in `last_event_id="…:3"`.
        """
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        stream = Stream(b"" if body is None else content)
        scope = _scope(method, path, content if body is not None else b"", headers)
        call = self._app(scope, stream.receive, stream.send)
        stream.task = asyncio.ensure_future(call)
        try:
            yield stream
        finally:
            await stream.hang_up()


def _scope(
    method: str, path: str, body: bytes, headers: Mapping[str, str] | None
) -> dict[str, Any]:
    sent = {"host": "localhost", "content_length": str(len(body))}
    if method in ("POST", "PATCH"):
        sent["content_type"] = "application/json"
    raw_path, _, query = path.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(raw_path),
        "raw_path": raw_path.encode(),
        "query_string": query.encode(),
        "headers": [
            (name.replace("_", "-").encode(), value.encode())
            for name, value in {**sent, **(headers or {})}.items()
        ],
    }


async def all_runs_end() -> None:
    """Wait until no run is running."""
    async with asyncio.timeout(SECONDS):
        while await Run.objects.filter(IS_ACTIVE).aexists():  # noqa: ASYNC110
            await asyncio.sleep(0.05)
