"""A client that resumes by itself, as a correct one does."""

import asyncio
import random
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

import httpx

from streaming.testing.sse import Frame, aread

#: Longer than any correct run takes.
SECONDS = 120.0


@dataclass
class Stream:
    """A run as one client sees it, over as many connections as are needed."""

    http: httpx.AsyncClient
    #: Returns the URL of the API for the next request.
    api: Callable[[], str]
    body: dict[str, Any]
    run_id: str = ""
    events: list[Frame] = field(default_factory=list)
    connections: int = 0
    #: The last failure.
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
            async for event in aread(response.aiter_bytes()):
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
        """True once the last event has arrived."""
        return bool(self.events) and self.events[-1].event == "done"

    @property
    def text(self) -> str:
        """All `content` so far, without that of voided events."""
        texts = (e.data["content"] for e in valid(self.events) if e.event == "content")
        return "".join(texts)

    @property
    def outcome(self) -> str:
        """The reason of the end, or the code of the error."""
        last = self.events[-2].data["metadata"]
        return str(last.get("stop_reason") or last.get("code"))

    def check_ids(self) -> None:
        """Check that ids ascend and are of this run."""
        numbers = [event.number for event in self.events]
        assert numbers == sorted(set(numbers)), f"ids of {self.run_id}: {numbers}"
        assert {e.id.partition(":")[0] for e in self.events} == {self.run_id}


def valid(events: Sequence[Frame]) -> list[Frame]:
    """Return the events without those that a later attempt of the run has voided."""
    found: list[Frame] = []
    for event in events:
        if event.event == "restarted":
            after = event.data["metadata"]["discard_after"]
            found = [earlier for earlier in found if earlier.number <= after]
        found.append(event)
    return found


def http_client() -> httpx.AsyncClient:
    """Return a client without a limit of connections; reads may take 30 seconds."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
    timeout = httpx.Timeout(30.0, connect=10.0)
    return httpx.AsyncClient(limits=limits, timeout=timeout, trust_env=False)
