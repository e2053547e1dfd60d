"""SIGTERM with many open streams; a process that is stopped for too long."""

import asyncio
import signal

from bench.faults.client import Stream, http_client
from bench.faults.model import Model, text_of
from bench.faults.readers import raw
from bench.faults.servers import Site, two
from bench.faults.waiting import until

DRAIN_SECONDS = 3
#: What a run says that is to end within that time.
FEW = 40
#: For the last words, the last writes, and a busy machine.
AFTER_DRAIN_SECONDS = 60


async def terminate(site: Site, count: int) -> dict[str, float]:
    """SIGTERM under two workers: those that end in time do, the others are told."""
    server = site.server(
        *("--workers", "2", "--timeout-graceful-shutdown", "30"),
        DRAIN_SECONDS=str(DRAIN_SECONDS),
    )
    await server.astart()
    async with http_client() as http:
        prompts = [f"say {FEW} every 20", "say 5000 every 50", "hang"]
        streams = [
            Stream(http, server.where, {"input": prompts[at % 3]})
            for at in range(count)
        ]
        reading = [asyncio.create_task(stream.read_once()) for stream in streams]
        await until(lambda: all(stream.events for stream in streams))
        server.send_signal(signal.SIGTERM)
        took = await server.wait_for_end(DRAIN_SECONDS + AFTER_DRAIN_SECONDS)
        await asyncio.gather(*reading)
    for stream in streams:
        assert stream.ended, "a reader was not told"
        assert stream.outcome in ("end_turn", "shutting_down")
        stream.check_ids()
    ended = [stream for stream in streams if stream.outcome == "end_turn"]
    assert all(stream.text == text_of(FEW) for stream in ended)
    await server.astart()
    async with http_client() as http:
        for stream in streams[::10]:
            again = Stream(http, server.where, stream.body, stream.run_id)
            await again.read()
            assert raw(again.events) == raw(stream.events)
    return {"streams": count, "ended in time": len(ended), "seconds": round(took, 1)}


async def suspend(site: Site, model: Model) -> dict[str, float]:
    """A process that stands still longer than its lease has lost its runs.

    Another ends them. When the first goes on it writes nothing more, and its readers
    are told; a run of the other in the same conversation is not disturbed.
    """
    one, other = await two(site, RUN_LEASE_SECONDS="2")
    async with http_client() as http:
        body = {"input": "say 2000 every 10", "conversation_id": "c"}
        here = Stream(http, one.where, body)
        reading = asyncio.create_task(here.read_once())
        await until(lambda: len(here.events) > 50)
        there = Stream(http, other.where, body, here.run_id)
        await there.read_once(most=1)
        await site.stand_still(one)
        try:
            await there.read()
            assert there.outcome == "interrupted"
            next_body = {"input": "nap 1 x 3 then say 20 every 5"} | {
                "conversation_id": "c"
            }
            following = Stream(http, other.where, next_body)
            reading_next = asyncio.create_task(following.read())
            await until(lambda: bool(following.events))
        finally:
            one.send_signal(signal.SIGCONT)
        await reading
        assert (here.ended, here.outcome) == (True, "interrupted")
        here.check_ids()
        there.check_ids()
        await reading_next
        assert following.text == "Wait. " + text_of(20)
        await until(lambda: model.active == 0)
        seen = {event.id: event.raw for event in there.events}
        for event in here.events[:-2]:
            assert seen.get(event.id, event.raw) == event.raw
    assert not model.refused, model.refused[0]
    return {"events before": len(here.events)}
