"""kill -9 in mid-stream, again and again."""

import asyncio
import os
import random
import signal
import time
from pathlib import Path

import httpx

from bench.faults.client import Stream, http_client
from bench.faults.model import Model, text_of
from bench.faults.servers import AgentServer, Site
from bench.faults.waiting import until
from streaming.testing.sse import Frame

STREAMS = 6
FLUSH_SECONDS = 0.2
#: What a busy machine may add to one flush interval.
SLACK_SECONDS = 3.0


async def kills(site: Site, model: Model, count: int, seed: int) -> dict[str, float]:
    """Kill all of a server with two workers `count` times, at random moments."""
    chance = random.Random(seed)
    server = site.server("--workers", "2")
    await server.astart()
    lost: list[float] = []
    interrupted = 0
    async with http_client() as http:
        for _ in range(count):
            streams = [_ask(http, server, chance, at) for at in range(STREAMS)]
            readers = [asyncio.create_task(stream.read()) for stream in streams]
            await asyncio.sleep(chance.uniform(0.1, 2.5))
            killed_at = time.time()
            server.kill()
            await server.astart()
            for stream in await asyncio.gather(*readers):
                interrupted += stream.outcome == "interrupted"
                lost.append(await _check(http, server, stream, killed_at))
        await _all_usable(http, server)
    assert not model.refused, model.refused[0]
    return {
        "kills": count,
        "streams": len(lost),
        "interrupted": interrupted,
        "ms of the oldest event lost": round(max(lost) * 1000),
    }


async def one_of_two(site: Site, model: Model) -> dict[str, float]:
    """One worker is killed: the other ends its runs, and its own are not disturbed."""
    server = site.server("--workers", "2", RUN_LEASE_SECONDS="2")
    await server.astart()
    async with http_client() as http:
        bodies = [
            {"input": "say 300 every 20", "conversation_id": f"c{at}"}
            for at in range(2 * STREAMS)
        ]
        streams = [Stream(http, server.where, body) for body in bodies]
        readers = [asyncio.create_task(stream.read()) for stream in streams]
        await until(lambda: all(len(stream.events) > 10 for stream in streams))
        killed_at = time.time()
        os.kill(max(server.workers(), key=_open_files), signal.SIGKILL)
        await asyncio.gather(*readers)
        lost = [await _check(http, server, each, killed_at) for each in streams]
        await _all_usable(http, server)
    assert not model.refused, model.refused[0]
    outcomes = [stream.outcome for stream in streams]
    return {
        "streams": len(streams),
        "interrupted": outcomes.count("interrupted"),
        "ms of the oldest event lost": round(max(lost) * 1000),
    }


def _open_files(pid: int) -> int:
    """The busier of two has more connections."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def _ask(
    http: httpx.AsyncClient, server: AgentServer, chance: random.Random, at: int
) -> Stream:
    prompt = f"say {chance.randint(50, 250)} every 10"
    if at % 2:
        prompt = f"nap 2 x {chance.uniform(0, 1):.2f} then {prompt}"
    body = {"input": prompt, "conversation_id": f"c{at}"}
    return Stream(http, server.where, body)


async def _check(
    http: httpx.AsyncClient, server: AgentServer, stream: Stream, killed_at: float
) -> float:
    """Check what a client saw; return how old the oldest was that was lost."""
    stream.check_ids()
    whole = text_of(int(stream.body["input"].split("say ")[1].split()[0]))
    if stream.outcome == "end_turn":
        assert stream.text.removeprefix("Wait. ") == whole
    else:
        assert stream.outcome == "interrupted", stream.events[-2]
    again = Stream(http, server.where, stream.body, run_id=stream.run_id)
    await again.read()
    durable = {event.id: event.raw for event in again.events}
    lost: list[Frame] = []
    for event in stream.events:
        if event.id not in durable:
            lost.append(event)
        assert durable.get(event.id, event.raw) == event.raw, "other bytes, same id"
    age = killed_at - lost[0].arrived if lost else 0.0
    assert age <= FLUSH_SECONDS + SLACK_SECONDS, f"lost what was {age} s old"
    run = await http.get(f"{server.api}/runs/{stream.run_id}")
    assert again.text.endswith(run.json()["output"])
    return age


async def _all_usable(http: httpx.AsyncClient, server: AgentServer) -> None:
    """Each conversation takes a next run, and the model its history."""
    for at in range(STREAMS):
        body = {"input": "say 5 every 0", "conversation_id": f"c{at}"}
        answer = await http.post(f"{server.api}/run", json=body)
        assert answer.status_code == 200, answer.text
        assert answer.json()["output"] == text_of(5)
