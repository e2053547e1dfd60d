"""The start of runs: `python -m bench.fleet.starts`, a minute.

Runs follow each other, each on an idle fleet: executed by the web process that received
the request, and by a worker that another process has told. The time is from the request
to the first text, which the provider sends at once.
"""

import argparse
import asyncio
import time

import httpx

from bench.fleet.cost import paced_fleet
from bench.fleet.processes import Size
from bench.fleet.services import end_at_sigterm
from bench.report import table

PROMPT = {"input": "Send 1 deltas at once.", "org_id": "bench"}
WARM_UP = 10
PAUSE_SECONDS = 0.05
FLEETS = {
    "in the web process": Size(1, 0, "in_process", redis=False),
    "by a worker, NOTIFY": Size(1, 1, redis=False),
    "by a worker, Redis": Size(1, 1),
}


async def starts(size: Size, runs: int) -> list[float]:
    """Return the times until the first text, in ms, in order of size."""
    async with paced_fleet(size) as fleet, httpx.AsyncClient(timeout=60) as client:
        url = f"{fleet.where()}/stream"
        found = [await _first_text(client, url) for _ in range(WARM_UP + runs)]
    return sorted(found[WARM_UP:])


async def _first_text(client: httpx.AsyncClient, url: str) -> float:
    await asyncio.sleep(PAUSE_SECONDS)  # the processes are idle again
    started, taken = time.perf_counter(), 0.0
    async with client.stream("POST", url, json=PROMPT) as response:
        async for line in response.aiter_lines():
            if line == "event: content" and not taken:
                taken = time.perf_counter() - started
    assert taken, "a run without text"
    return taken * 1000


async def _all(runs: int) -> None:
    rows = []
    for name, size in FLEETS.items():
        times = await starts(size, runs)
        shown = (times[len(times) // 2], times[len(times) * 99 // 100], times[-1])
        rows.append((name, *(f"{each:.1f}" for each in shown)))
    print(table(("executed", "p50 ms", "p99 ms", "longest"), rows))


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    end_at_sigterm()
    asyncio.run(_all(parser.parse_args().runs))


if __name__ == "__main__":
    main()
