"""The agent: its description, and runs of it, as one response or as a stream."""

from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from streaming import __version__, conf, runs
from streaming.api import payloads
from streaming.api.access import Principal
from streaming.api.endpoint import endpoint, public_endpoint
from streaming.api.follow import follow
from streaming.api.responses import error_response, json_response
from streaming.api.schemas import (
    MAX_ITERATIONS,
    RunBody,
    parse_idempotency_key,
    parse_last_event_id,
    run_body,
)
from streaming.events import EVENT_TYPES
from streaming.exceptions import (
    DatabaseUnavailable,
    IdempotencyConflict,
    ShuttingDown,
    from_code,
)
from streaming.models import Run
from streaming.runs import store
from streaming.server.clients import acquire_stream_slot
from streaming.server.event_stream import EventStream
from streaming.storage import database
from streaming.wire.native import NativeFormat

API = "/api/v1/agent"


@public_endpoint("GET")
async def metadata(request: HttpRequest) -> HttpResponseBase:
    """Describe the agent and its capabilities."""
    prefix = request.path.removesuffix(f"{API}/metadata")
    return json_response(_metadata(prefix))


@endpoint("POST", reads=run_body)
async def run(
    request: HttpRequest, principal: Principal, body: RunBody
) -> HttpResponseBase:
    """Run to the end and return one JSON response."""
    started = await _start(request, principal, body)
    await runs.get_service().wait_for_end(started)
    ended, output = await database.execute_read(_load_ended, started)
    if ended.is_active:
        # The wait ended before the run: by a shutdown, or by a failing database.
        raise ShuttingDown if runs.get_service().draining else DatabaseUnavailable
    if ended.error_code:
        response = error_response(from_code(ended.error_code, ended.error_message))
    else:
        response = json_response(payloads.run_answer(ended, output))
    response["X-Run-Id"] = ended.id
    return response


@endpoint("POST", reads=run_body)
async def stream(
    request: HttpRequest, principal: Principal, body: RunBody
) -> HttpResponseBase:
    """Start a run and stream it or, with a Last-Event-ID, resume a run's stream.

    Raises `IdempotencyConflict` if that run was started by another body.
    """
    acquire_stream_slot(request)
    wire = NativeFormat(body.events)
    if last_event_id := request.headers.get("Last-Event-ID"):
        run_id, after = parse_last_event_id(last_event_id)
        resumed = await database.execute_read(store.get_run, run_id, principal.org_id)
        # Runs that were not started by a request have no hash.
        if resumed.request_hash not in ("", body.request_hash):
            raise IdempotencyConflict("Last-Event-ID names a run of another body.")
        return EventStream(follow(resumed, wire, after), resumed.id)
    started = await _start(request, principal, body)
    return EventStream(follow(started, wire), started.id)


async def _start(request: HttpRequest, principal: Principal, body: RunBody) -> Run:
    key = parse_idempotency_key(request.headers.get("Idempotency-Key", ""))
    return await runs.get_service().start(body.to_request(principal.org_id, key))


def _load_ended(run: Run) -> tuple[Run, str]:
    run = store.get_run(run.id, run.organization.org_id)
    return run, store.load_output(run)


def _metadata(prefix: str) -> dict[str, Any]:
    """Return the metadata; `prefix` is the path of the app's mount point."""
    api = f"{prefix}{API}"
    options = conf.get()
    agent = runs.get_service().agent
    return {
        "name": options.agent_name,
        "description": options.agent_description,
        "version": __version__,
        "supports_streaming": True,
        "capabilities": ["run", "stream", "metadata", "resume", "cancel"],
        "endpoints": {
            "run": f"{api}/run",
            "stream": f"{api}/stream",
            "metadata": f"{api}/metadata",
            "health": f"{prefix}/health",
            "ready": f"{prefix}/ready",
            "runs": f"{api}/runs/{{run_id}}",
            "events": f"{api}/runs/{{run_id}}/events",
            "cancel": f"{api}/runs/{{run_id}}/cancel",
            "conversations": f"{api}/conversations",
        },
        "provider": agent.provider.name,
        "model": agent.provider.model,
        "tools": agent.toolbox.specs,
        "event_types": EVENT_TYPES,
        "limits": {
            "max_input_chars": options.agent_max_input_chars,
            "max_body_bytes": options.agent_max_body_bytes,
            "max_context_chars": options.agent_max_context_chars,
            "max_iterations": MAX_ITERATIONS,
            "max_open_streams": options.stream_max_open or None,
            "max_runs": options.run_max or None,
            "max_runs_per_org": options.run_max_per_org or None,
        },
    }
