"""Is it alive, is it ready; and what is not here at all."""

import asyncio
import time

from django.core.exceptions import DisallowedHost
from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from streaming import conf, runs
from streaming.api.endpoint import endpoint, error_response, json_response, unknown_host
from streaming.exceptions import FieldError, InternalError, InvalidRequest, NotFound
from streaming.storage import database

OK = "ok"
#: What the database may take to show that it is there: probes do not wait long.
READY_SECONDS = 2.0


@endpoint("GET", any_host=True)
async def health(request: HttpRequest) -> HttpResponseBase:
    """Liveness: no database, no provider."""
    now = int(time.time())
    return json_response(
        {"status": "healthy", "agent": conf.get().agent_name, "time": now}
    )


@endpoint("GET", any_host=True)
async def ready(request: HttpRequest) -> HttpResponseBase:
    """Readiness: each thing that a run needs, with its state."""
    here = runs.executor()
    try:
        async with asyncio.timeout(READY_SECONDS):
            reachable, migrations = OK, await database.execute_read(_migrations)
    except (Error, TimeoutError):
        reachable, migrations = "unreachable", "unknown"
    checks = {
        "database": reachable,
        "migrations": migrations,
        "event_log": "failing" if here.log.failing_since else OK,
        "draining": "yes" if here.draining else "no",
    }
    is_ready = [*checks.values()] == [OK, OK, OK, "no"]
    body = {"status": "ready" if is_ready else "unavailable", "checks": checks}
    return json_response(body, 200 if is_ready else 503)


@endpoint("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
async def not_found(request: HttpRequest, path: str = "") -> HttpResponseBase:
    """Whatever else is asked for: JSON here too, also with DEBUG."""
    raise NotFound(f"There is nothing at /{path[:200]}.")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """What Django itself refuses, before any view: most often the host name."""
    if isinstance(exception, DisallowedHost):
        return error_response(unknown_host())
    return error_response(InvalidRequest([FieldError("request", "is not valid")]))


def server_error(request: HttpRequest) -> HttpResponseBase:
    """What went wrong outside the API; the cause is in the log."""
    return error_response(InternalError())


def _migrations() -> str:
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return "missing: run manage.py migrate" if missing else OK
