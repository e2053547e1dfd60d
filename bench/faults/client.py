"""A client that resumes by itself, the way a correct one does."""

import asyncio
import json
import random
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

import httpx

#: Nothing that is right takes as long.
SECONDS = 120.0


@dataclass(frozen=True)
class Event:
    """What one frame said, and when it came (time.time())."""

    id: str
    type: str
    data: str
    at: float

    @property
    def number(self) -> int:
        """Its number in the run."""
        return int(self.id.rpartition(":")[2])

    @property
    def json(self) -> dict[str, Any]:
        """The data, read."""
        found: dict[str, Any] = json.loads(self.data)
        return found


@dataclass
class Stream:
    """A run as one client sees it, over as many connections as it takes."""

    http: httpx.AsyncClient
    #: Where to send the next request: a server's API.
    api: Callable[[], str]
    body: dict[str, Any]
    run_id: str = ""
    events: list[Event] = field(default_factory=list)
    connections: int = 0
    #: What went wrong last.
    trouble: str = ""
    key: str = field(default_factory=lambda: uuid.uuid4().hex)

    async def read(self) -> "Stream":
        """Read to `done`, however often the connection breaks."""
        deadline = time.monotonic() + SECONDS
        while not self.ended:
            if time.monotonic() > deadline:
                raise AssertionError(f"no end of {self.run_id}: {self.trouble}")
            try:
                await self.read_once()
            except httpx.HTTPError as error:
                self.trouble = repr(error)
            if not self.ended:
                await asyncio.sleep(random.uniform(0.05, 0.3))
        return self

    async def read_once(self, most: int = 0) -> None:
        """Read over one connection, until it ends or `most` events have come."""
        async with self._request() as response:
            if response.status_code in (429, 502, 503, 500):
                self.trouble = f"{response.status_code} {await response.aread()!r}"
                return  # later
            if response.status_code == 204:
                raise AssertionError(f"nothing is left, yet no end: {self.run_id}")
            assert response.status_code == 200, await response.aread()
            self.connections += 1
            self.run_id = response.headers["X-Run-Id"]
            came = 0
            async for event in _events(response):
                if event.id:
                    self.events.append(event)
                    came += 1
                if self.ended or (most and came == most):
                    return

    def _request(self) -> AbstractAsyncContextManager[httpx.Response]:
        headers = {"Last-Event-ID": self.events[-1].id} if self.events else {}
        if self.run_id:
            org = self.body.get("org_id", "default")
            url = f"{self.api()}/runs/{self.run_id}/events?org_id={org}"
            return self.http.stream("GET", url, headers=headers)
        headers["Idempotency-Key"] = self.key
        url = f"{self.api()}/stream"
        return self.http.stream("POST", url, json=self.body, headers=headers)

    @property
    def ended(self) -> bool:
        """Whether the last event came."""
        return bool(self.events) and self.events[-1].type == "done"

    @property
    def text(self) -> str:
        """What was said."""
        said = (e.json["content"] for e in self.events if e.type == "content")
        return "".join(said)

    @property
    def outcome(self) -> str:
        """How it ended: the reason, or the error's code."""
        last = self.events[-2].json["metadata"]
        return str(last.get("stop_reason") or last.get("code"))

    def check_ids(self) -> None:
        """No id twice, none out of order, none of another run."""
        numbers = [event.number for event in self.events]
        assert numbers == sorted(set(numbers)), f"ids of {self.run_id}: {numbers}"
        assert {e.id.partition(":")[0] for e in self.events} == {self.run_id}


async def _events(response: httpx.Response) -> AsyncIterator[Event]:
    rest = b""
    async for chunk in response.aiter_bytes():
        *blocks, rest = (rest + chunk).split(b"\n\n")
        for block in blocks:
            if not block.startswith(b":"):
                lines = (line.partition(": ") for line in block.decode().split("\n"))
                fields = {name: value for name, _, value in lines}
                yield Event(
                    fields.get("id", ""), fields["event"], fields["data"], time.time()
                )


def http_client() -> httpx.AsyncClient:
    """Without a limit of connections; silent for as long as a heartbeat may take."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
    timeout = httpx.Timeout(30.0, connect=10.0)
    return httpx.AsyncClient(limits=limits, timeout=timeout, trust_env=False)
