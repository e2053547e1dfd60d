"""Probes: liveness and readiness."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
from django.db import Error
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from streaming import conf, runs
from streaming.agents import registry
from streaming.api.endpoint import public_endpoint
from streaming.api.responses import json_response
from streaming.runs.queue import QueueState, queue_state
from streaming.runs.worker_rows import WorkerCounts, count_workers
from streaming.storage import database, migrations
from streaming.storage.errors import describe

logger = logging.getLogger(__name__)

OK = "ok"


@public_endpoint("GET", any_host=True)
async def health(request: HttpRequest) -> HttpResponseBase:
    """Respond while the process is alive; uses no database and no provider."""
    now = int(time.time())
    agent = registry.get().default.name
    return json_response({"status": "healthy", "agent": agent, "time": now})


def readiness(
    seconds: float,
) -> Callable[[HttpRequest], Coroutine[Any, Any, HttpResponseBase]]:
    """Return a view with the state of each dependency of a run.

    A database that takes longer than `seconds` counts as unreachable: probes have
    short timeouts of their own. Changes of the state are logged, and not each probe.
    """
    was_ready = True

    @public_endpoint("GET", any_host=True)
    async def ready(request: HttpRequest) -> HttpResponseBase:
        here = runs.get_service()
        queue: QueueState | None = None
        workers: WorkerCounts | None = None
        try:
            async with asyncio.timeout(seconds):
                missing = await database.execute_read_in(
                    database.PROBE, migrations.missing
                )
                if not missing:
                    queue, workers = await database.execute_read_in(
                        database.PROBE, read_details
                    )
            reachable = OK
            migrated = "missing: run manage.py migrate" if missing else OK
        except (Error, TimeoutError) as error:
            logger.debug("readiness check failed: %s", describe(error))
            reachable, migrated = "unreachable", "unknown"
        checks = {
            "database": reachable,
            "migrations": migrated,
            "event_log": "failing" if here.log.failing_since else OK,
            "draining": "yes" if here.draining else "no",
        }
        nonlocal was_ready
        is_ready = [*checks.values()] == [OK, OK, OK, "no"]
        if is_ready != was_ready:
            logger.warning(
                "readiness %s", "gained" if is_ready else "lost", extra=checks
            )
            was_ready = is_ready
        body = {
            "status": "ready" if is_ready else "unavailable",
            "checks": checks,
            "details": {
                "abandoned_tool_calls": here.agents.abandoned_tool_calls,
                "queue": queue and msgspec.structs.asdict(queue),
                "workers": workers and workers._asdict(),
            },
        }
        return json_response(body, 200 if is_ready else 503)

    return ready


def read_details() -> tuple[QueueState, WorkerCounts]:
    """Return the state of the queue and the numbers of workers."""
    return queue_state(), count_workers(conf.get().run_lease_seconds)


ready = readiness(seconds=2.0)
