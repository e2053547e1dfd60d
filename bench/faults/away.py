"""The database is away in mid-run: for a while, or for good."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from urllib.parse import urlsplit

import httpx

from bench.faults.client import Stream, http_client
from bench.faults.model import Model, text_of
from bench.faults.proxy import locked, proxy
from bench.faults.readers import raw
from bench.faults.servers import AgentServer, Site, two
from bench.faults.waiting import until

Switch = Callable[[], None]
#: How long SQLite waits for a lock here, so that a lock outlasts it soon.
SQLITE_TIMEOUT_SECONDS = 2
#: What a process may take to end, or to notice, on a busy machine.
END_SECONDS = 90


async def for_a_while(
    site: Site, model: Model, seconds: float, refuse: bool
) -> dict[str, float]:
    """Nothing is lost: the runs end as if nothing had been, in both processes."""
    async with _breakable(site, refuse) as (take_away, bring_back):
        servers = await two(site)
        async with http_client() as http:
            number = int(seconds * 50) + 100
            prompts = [f"say {number} every 20", "nap 2 x 1 then say 200 every 20"]
            streams = [
                Stream(http, servers[at // 4].where, {"input": prompts[at % 2]})
                for at in range(8)
            ]
            reading = [asyncio.create_task(stream.read()) for stream in streams]
            await until(lambda: all(len(stream.events) > 2 for stream in streams))
            elsewhere = [
                Stream(http, servers[1].where, s.body, s.run_id) for s in streams[:4]
            ]
            reading += [asyncio.create_task(stream.read()) for stream in elsewhere]
            await asyncio.sleep(0.5)
            take_away()
            await asyncio.sleep(seconds)
            bring_back()
            await asyncio.gather(*reading)
            for stream in streams:
                assert stream.outcome == "end_turn", stream.events[-2]
                assert stream.text.endswith(
                    text_of(200 if "nap" in stream.body["input"] else number)
                )
                stream.check_ids()
                again = Stream(http, servers[0].where, stream.body, stream.run_id)
                await again.read()
                assert raw(again.events) == raw(stream.events)
            for stream, same in zip(streams, elsewhere, strict=False):
                assert raw(same.events) == raw(stream.events)
    assert not model.refused, model.refused[0]
    return {"seconds": seconds, "streams": len(streams)}


async def for_good(site: Site, model: Model, refuse: bool) -> dict[str, float]:
    """The reader is told, the provider let go; after its return all is usable."""
    async with _breakable(site, refuse) as (take_away, bring_back):
        one, other = await two(site)
        async with http_client() as http:
            body = {"input": "say 10000 every 20", "conversation_id": "c"}
            stream = Stream(http, one.where, body)
            reading = asyncio.create_task(stream.read())
            await until(lambda: len(stream.events) > 50)
            elsewhere = Stream(http, other.where, body, stream.run_id)
            reading_elsewhere = asyncio.create_task(elsewhere.read_once())
            await until(lambda: len(elsewhere.events) > 50)
            take_away()
            started = time.monotonic()
            await asyncio.wait_for(reading, 120)
            took = time.monotonic() - started
            if site.database_url:  # SQLite is read even then, and the reader waits
                await asyncio.wait_for(reading_elsewhere, 120)
                url = f"{other.api}/runs/{stream.run_id}"
                answer = await http.get(url, timeout=60)
                assert answer.status_code == 503
                assert "database" in answer.json()["error"]
            assert stream.outcome == "database_unavailable"
            assert "database" in stream.events[-2].data["error"]
            stream.check_ids()
            await until(lambda: model.active == 0)
            bring_back()
            await reading_elsewhere
            await elsewhere.read()
            assert elsewhere.outcome == "interrupted"
            elsewhere.check_ids()
            again = Stream(http, other.where, body, stream.run_id)
            await again.read()
            assert raw(again.events) == raw(elsewhere.events)
            seen = {event.id: event.raw for event in again.events}
            for event in stream.events:
                assert seen.get(event.id, event.raw) == event.raw
            for server in (one, other):
                await asyncio.to_thread(server.wait_until_ready)
                following = Stream(
                    http,
                    server.where,
                    {"input": "say 5 every 0", "conversation_id": "c"},
                )
                await following.read()
                assert following.text == text_of(5)
    assert not model.refused, model.refused[0]
    return {"seconds until the reader was told": round(took, 1)}


async def stalled(site: Site, model: Model) -> dict[str, float]:
    """A database that says nothing delays no probe, and not the end of the process."""
    async with _breakable(site, refuse=False) as (take_away, bring_back):
        server = site.server(DRAIN_SECONDS="0")
        await server.astart()
        async with http_client() as http:
            stream = Stream(http, server.where, {"input": "say 10000 every 20"})
            reading = asyncio.create_task(stream.read_once())
            await until(lambda: len(stream.events) > 10)
            take_away()
            await until_unready(http, server)
            probed = time.monotonic()
            states = await asyncio.gather(*(_probe(http, server) for _ in range(8)))
            probed = time.monotonic() - probed
            assert set(states) == {503}, states
            server.send_signal(signal.SIGTERM)
            took = await server.wait_for_end(END_SECONDS)
            await asyncio.gather(reading, return_exceptions=True)
            bring_back()
        stream.check_ids()
        assert stream.outcome == "database_unavailable"
    return {"s of a probe": round(probed, 1), "s to the end": round(took, 1)}


async def until_unready(http: httpx.AsyncClient, server: AgentServer) -> None:
    """Return when a server says that it is not ready."""
    async with asyncio.timeout(END_SECONDS):
        while await _probe(http, server) == 200:  # noqa: ASYNC110  (a process's state)
            await asyncio.sleep(0.1)


async def _probe(http: httpx.AsyncClient, server: AgentServer) -> int:
    return (await http.get(f"{server.url}/ready")).status_code


@asynccontextmanager
async def _breakable(site: Site, refuse: bool) -> AsyncIterator[tuple[Switch, Switch]]:
    """How to take the database away, and to bring it back.

    It is refused, or it stalls: what is asked of it is neither done nor refused.
    """
    if site.database_url:
        async with proxy(urlsplit(site.database_url).port or 5432) as way:
            url = urlsplit(site.database_url)
            login, at, _ = url.netloc.rpartition("@")
            there = url._replace(netloc=f"{login}{at}127.0.0.1:{way.port}")
            site.through(there.geturl())
            yield (way.refuse if refuse else way.stall), way.mend
    else:
        path = site.directory / "db.sqlite3"
        patience = SQLITE_TIMEOUT_SECONDS if refuse else 600
        site.through(f"sqlite:///{path}?timeout={patience}")
        with ExitStack() as held:
            yield (lambda: held.enter_context(locked(path))), held.close
