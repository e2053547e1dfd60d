"""Clients that stream through a fleet, run after run."""

import asyncio
import sys
import time
import traceback
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import httpx

from bench.faults.client import Stream, http_client
from bench.faults.waiting import until
from bench.fleet.browsers import Browsers
from bench.fleet.comparison import PACE_MS, Comparison, Event, Prompt, Seen
from bench.fleet.processes import Fleet
from streaming.testing.sse import Frame

#: A busy machine may need so long until all clients have events again.
SECONDS = 120.0


def events_of(frames: Sequence[Frame]) -> list[Event]:
    """Return frames as events."""
    return [Event(f.number, f.event, f.text, f.arrived) for f in frames]


class Load:
    """Clients of a fleet, each with one run at a time, within an `async with`."""

    def __init__(
        self, fleet: Fleet, clients: int, browsers: int, run_seconds: float
    ) -> None:
        self._fleet = fleet
        self._clients = clients
        self._run_seconds = run_seconds
        self._numbers = int(run_seconds * 1000 / PACE_MS)
        self._browsers = Browsers(fleet.where(), browsers, self._numbers)
        self._current: dict[int, Stream] = {}
        self._seen: list[Seen] = []
        self._stopped = False
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._http = http_client()
        await self._browsers.start()
        self._tasks = [
            asyncio.create_task(self._client(number)) for number in range(self._clients)
        ]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._browsers.kill()
        await self._http.aclose()

    async def until_streaming(self) -> None:
        """Return when each client has received an event from now on, in any run."""
        now = time.time()
        waiting = set(range(self._clients))

        def is_streaming() -> bool:
            waiting.difference_update([n for n in waiting if self._last_event(n) > now])
            return not waiting

        await until(is_streaming, SECONDS)

    def _last_event(self, number: int) -> float:
        stream = self._current.get(number)
        return stream.events[-1].arrived if stream and stream.events else 0.0

    async def finish(self) -> list[Seen]:
        """Have the clients end after their current runs; return all that they saw."""
        self._stopped = True
        browsers = asyncio.create_task(self._browsers.finish())
        await asyncio.gather(*self._tasks)
        return [*self._seen, *await browsers]

    async def _client(self, number: int) -> None:
        # Not all in the same phase of their runs, as clients of a service are not.
        await asyncio.sleep(self._run_seconds * number / self._clients)
        while not self._stopped:
            prompt = Prompt.make(self._numbers, with_tools=number % 2 == 0)
            stream = Stream(self._http, self._fleet.where, prompt.body)
            asked_at, trouble = time.time(), ""
            self._current[number] = stream
            try:
                await stream.read()
            except Exception as error:  # counted as a lost run
                trouble = repr(error)
                traceback.print_exc(file=sys.stderr)
            events = events_of(stream.events)
            seen = Seen("sse", stream.run_id, prompt, asked_at, events, trouble)
            self._seen.append(seen)


async def compare(fleet: Fleet, all_seen: Sequence[Seen]) -> Comparison:
    """Compare what clients saw with the logs, read again through nginx."""
    found = Comparison()
    async with http_client() as http:
        for seen in all_seen:
            found.add(seen, await _logged(http, fleet, seen))
    return found


async def _logged(http: httpx.AsyncClient, fleet: Fleet, seen: Seen) -> list[Event]:
    if not seen.run_id:
        return []
    replay = Stream(http, fleet.where, {}, run_id=seen.run_id)
    return events_of((await replay.read()).events)
