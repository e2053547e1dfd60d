"""Requests that race, in two processes that share a database."""

import asyncio
import random
from functools import partial

import httpx

from bench.faults.client import Stream, http_client
from bench.faults.model import Model, text_of
from bench.faults.readers import raw
from bench.faults.servers import AgentServer, Site, two
from bench.faults.waiting import until


async def identical_posts(site: Site, model: Model, rounds: int) -> dict[str, float]:
    """Ten equal POSTs with one Idempotency-Key make one run and ten equal streams."""
    servers = await two(site)
    async with http_client() as http:
        for turn in range(rounds):
            before = len(model.requests)
            body = {"input": f"say {20 + turn} every 10", "org_id": f"o{turn}"}
            streams = [
                Stream(http, servers[at % 2].where, body, key=f"k{turn}")
                for at in range(10)
            ]
            await asyncio.gather(*(stream.read() for stream in streams))
            assert len(model.requests) == before + 1
            for stream in streams:
                assert raw(stream.events) == raw(streams[0].events)
                assert stream.text == text_of(20 + turn)
            url = f"{servers[turn % 2].api}/stream"
            other = await http.post(
                url, json=body | {"input": "x"}, headers={"Idempotency-Key": f"k{turn}"}
            )
            assert (other.status_code, other.json()["code"]) == (
                409,
                "idempotency_conflict",
            )
    return {"rounds": rounds}


async def one_conversation(site: Site, rounds: int) -> dict[str, float]:
    """Of those that race for a conversation one wins; the others are told its run."""
    servers = await two(site)
    async with http_client() as http:
        for turn in range(rounds):
            body = {"input": "hang", "conversation_id": f"c{turn % 3}"}
            answers = await asyncio.gather(
                *(_post(http, servers[at % 2], body) for at in range(4))
            )
            won = [run_id for status, run_id in answers if status == 200]
            assert len(won) == 1, answers
            assert [a for a in answers if a[0] != 200] == [(409, won[0])] * 3, answers
            url = f"{servers[turn % 2].api}/runs/{won[0]}"
            assert (await http.post(f"{url}/cancel")).status_code == 202
            winner = Stream(http, servers[turn % 2].where, body, won[0])
            await winner.read()
            assert winner.outcome == "cancelled"
    return {"rounds": rounds}


async def cancel_at_the_end(site: Site, rounds: int, seed: int) -> dict[str, float]:
    """Cancel, twice, about when a run ends: it ends one way or the other, for all."""
    chance = random.Random(seed)
    servers = await two(site)
    cancelled = 0
    async with http_client() as http:
        for turn in range(rounds):
            body = {"input": "say 20 every 5", "conversation_id": f"c{turn % 3}"}
            stream = Stream(http, servers[0].where, body)
            reading = asyncio.create_task(stream.read())
            await asyncio.sleep(chance.uniform(0.02, 0.25))
            await until(partial(_has_run, stream))
            urls = [f"{s.api}/runs/{stream.run_id}/cancel" for s in servers]
            answers = await asyncio.gather(*map(http.post, [*urls, *urls]))
            assert {a.status_code for a in answers} <= {200, 202}, answers
            await reading
            stream.check_ids()
            assert stream.outcome in ("end_turn", "cancelled")
            cancelled += stream.outcome == "cancelled"
            again = Stream(http, servers[1].where, body, stream.run_id)
            await again.read()
            assert raw(again.events) == raw(stream.events)
            state = (await http.get(f"{servers[1].api}/runs/{stream.run_id}")).json()
            assert state["execution_summary"]["stop_reason"] == stream.outcome
            assert state["output"] == stream.text
    return {"rounds": rounds, "cancelled": cancelled}


async def delete_in_mid_run(site: Site, rounds: int, seed: int) -> dict[str, float]:
    """A conversation is deleted where its run is not: 204, and all readers are told."""
    chance = random.Random(seed)
    servers = await two(site, EVENT_FLUSH_MS="5")
    async with http_client() as http:
        for turn in range(rounds):
            body = {"input": "say 2000 every 2", "conversation_id": f"c{turn % 3}"}
            stream = Stream(http, servers[0].where, body)
            reading = asyncio.create_task(stream.read_once())
            await until(partial(_has_run, stream))
            await asyncio.sleep(chance.uniform(0, 0.2))
            url = f"{servers[1].api}/conversations/{body['conversation_id']}"
            assert (await http.delete(url)).status_code == 204
            assert (await http.get(url)).status_code == 404
            await reading
            assert stream.ended, "a reader was not told"
            stream.check_ids()
    return {"rounds": rounds}


async def _post(
    http: httpx.AsyncClient, server: AgentServer, body: object
) -> tuple[int, str]:
    """Start a stream and leave; the status, and the run it was or is to join."""
    async with http.stream("POST", f"{server.api}/stream", json=body) as response:
        if response.status_code == 200:
            return 200, response.headers["X-Run-Id"]
        await response.aread()
        return response.status_code, response.json().get("run_id", response.text)


def _has_run(stream: Stream) -> bool:
    return bool(stream.run_id)
