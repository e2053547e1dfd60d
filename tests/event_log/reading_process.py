"""A process that follows a run: `python -m tests.event_log.reading_process RUN_ID`.

It prints a line once it waits for events, and the JSON of their numbers at the end.
"""

import asyncio
import json
import os
import sys

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "agentsite.settings")
django.setup()

from streaming import conf  # noqa: E402  (Django's models need its set-up)
from streaming.event_log import DatabaseLog, choose_live  # noqa: E402


async def follow(run_id: str) -> list[int]:
    """Return the numbers of a run's events, as they came."""
    options = conf.get()
    live = choose_live(options.event_live, options.redis_url)
    log = DatabaseLog("reader", 0.2, lambda _: None, live=live)
    numbers: list[int] = []
    async for batch in log.follow(run_id, 0, heartbeat=0.05):
        numbers += [entry.number for entry in batch]
        if not batch:
            print("waiting", flush=True)
    await log.aclose()
    return numbers


if __name__ == "__main__":
    print(json.dumps(asyncio.run(follow(sys.argv[1]))), flush=True)
