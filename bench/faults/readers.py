"""Many readers of one run, in two processes, coming and going."""

import asyncio
import random
import time
from collections.abc import Sequence

import httpx

from bench.faults.client import Stream, http_client
from bench.faults.model import text_of
from bench.faults.servers import AgentServer, Site, two
from bench.faults.waiting import until
from streaming.testing.sse import Frame


def raw(events: Sequence[Frame]) -> list[bytes]:
    """Return the bytes of the events, whenever they arrived."""
    return [event.raw for event in events]


async def cut_points(site: Site) -> dict[str, float]:
    """Resume at every cut point of a run, from the process that ran it and another."""
    servers = await two(site)
    async with http_client() as http:
        body = {"input": "nap 2 x 0.1 then say 40 every 5"}
        whole = await Stream(http, servers[0].where, body).read()
        for cut in range(len(whole.events)):
            for server in servers:
                resumed = _again(http, server, whole, cut)
                await resumed.read()
                assert raw(resumed.events) == raw(whole.events), f"cut at {cut}"
            resent = _again(http, servers[cut % 2], whole, cut)
            if cut:
                resent.run_id = ""  # the POST is sent again, with the last id
                await resent.read()
                assert raw(resent.events) == raw(whole.events), f"cut at {cut}"
        end = {"Last-Event-ID": whole.events[-1].id}
        for server in servers:
            url = f"{server.api}/runs/{whole.run_id}/events"
            assert (await http.get(url, headers=end)).status_code == 204
    return {"cut points": len(whole.events)}


async def fifty(site: Site, count: int = 50) -> dict[str, float]:
    """Readers of one run, half of them in another process, see the same bytes."""
    servers = await two(site)
    async with http_client() as http:
        body = {"input": "nap 1 x 0.2 then say 200 every 10"}
        first = Stream(http, servers[0].where, body)
        reading = asyncio.create_task(first.read())
        await until(lambda: len(first.events) > 5)
        others = [_again(http, servers[at % 2], first, 0) for at in range(count - 1)]
        await asyncio.gather(*(other.read() for other in others))
        await reading
    for other in others:
        assert raw(other.events) == raw(first.events)
        assert other.connections == 1
    return {"readers": count, "events of each": len(first.events)}


async def come_and_go(
    site: Site, seconds: float, count: int, seed: int
) -> dict[str, float]:
    """Readers that join and leave at random end with the same bytes."""
    chance = random.Random(seed)
    servers = await two(site)
    async with http_client() as http:
        number = int(seconds * 50)
        body = {"input": f"say {number} every 20"}
        whole = Stream(http, servers[0].where, body)
        reading = asyncio.create_task(whole.read())
        await until(lambda: bool(whole.events))

        async def wander(stream: Stream) -> Stream:
            deadline = time.monotonic() + 10 * seconds + 60
            while not stream.ended:
                assert time.monotonic() < deadline, f"no end of {stream.run_id}"
                await stream.read_once(most=chance.randint(1, number // 3))
                await asyncio.sleep(chance.uniform(0, seconds / 20))
            return stream

        wanderers = [
            Stream(http, lambda: chance.choice(servers).api, body, run_id=whole.run_id)
            for _ in range(count)
        ]
        await asyncio.gather(*map(wander, wanderers))
        await reading
    assert whole.text == text_of(number)
    for stream in wanderers:
        assert raw(stream.events) == raw(whole.events)
    joined = sum(stream.connections for stream in wanderers)
    return {"readers": count, "connections": joined, "events": len(whole.events)}


def _again(
    http: httpx.AsyncClient, server: AgentServer, whole: Stream, cut: int
) -> Stream:
    """Another reader, which has the events before a cut."""
    seen = list(whole.events[:cut])
    return Stream(http, server.where, whole.body, whole.run_id, seen)
