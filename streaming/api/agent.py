"""The agent: its description, and runs of it, as one response or as a stream."""

from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from streaming import __version__, conf, runs
from streaming.agents.declaration import MAX_ITERATIONS, Agent
from streaming.api import payloads
from streaming.api.agents import describe, public_agent, select_agent
from streaming.api.endpoint import endpoint, public_endpoint
from streaming.api.follow import follow
from streaming.api.responses import error_response, json_response
from streaming.api.schemas import (
    OrgQuery,
    RunBody,
    parse_idempotency_key,
    parse_last_event_id,
    query,
    run_body,
)
from streaming.auth import description
from streaming.auth.chain import authenticate, require
from streaming.auth.requests import declare_input
from streaming.events import EVENT_TYPES
from streaming.exceptions import (
    DatabaseUnavailable,
    IdempotencyConflict,
    ShuttingDown,
    from_code,
)
from streaming.models import Run
from streaming.principals import ANONYMOUS, Principal
from streaming.runs import inputs, pending, store
from streaming.runs.start import StartResult
from streaming.server.clients import acquire_stream_slot
from streaming.server.event_stream import EventStream
from streaming.storage import database
from streaming.telemetry.context import parse_traceparent
from streaming.telemetry.tracing import tracer
from streaming.wire.native import NativeFormat

API = "/api/v1/agent"


@public_endpoint("GET")
async def metadata(request: HttpRequest) -> HttpResponseBase:
    """Describe an agent and its capabilities.

    The description is as public as the agent. The caller of any other name is
    authenticated first, and does not learn which agents exist.
    """
    prefix = request.path.removesuffix(f"{API}/metadata")
    name = request.GET.get("agent")
    principal = Principal("", owner=ANONYMOUS)
    agent = public_agent(name)
    if agent is None:
        declare_input(request, query(OrgQuery))
        principal = await authenticate(request)
        require(principal, "read")
        agent = await select_agent(name, principal)
    return json_response(await _metadata(prefix, agent, principal))


@endpoint(POST="run", reads=run_body)
async def run(
    request: HttpRequest, principal: Principal, body: RunBody
) -> HttpResponseBase:
    """Run to the end and return one JSON response."""
    started = await _start(request, principal, body, restarts=True)
    await runs.get_service().wait_for_end(started.run)
    ended, output = await database.execute_read(_load_ended, started.run.id, principal)
    if started.message_id and ended.has_ended:
        ended, output = await _of_receiver(started.message_id, ended, output, principal)
    if not ended.has_ended:
        # The wait ended before the run: by a shutdown, or by a failing database.
        raise ShuttingDown if runs.get_service().draining else DatabaseUnavailable
    if ended.error_code:
        response = error_response(from_code(ended.error_code, ended.error_message))
    else:
        response = json_response(payloads.run_answer(ended, output))
    response["X-Run-Id"] = ended.id
    return _with_rate(response, started)


@endpoint(POST="run", reads=run_body)
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
        resumed = await database.execute_read(pending.get_run, run_id, principal)
        if not resumed.request_hash:  # the caller cannot have started it by a request
            require(principal, "read")
        elif resumed.request_hash != body.request_hash and not (
            await database.execute_read(inputs.has_hash, run_id, body.request_hash)
        ):
            raise IdempotencyConflict("Last-Event-ID names a run of another body.")
        return EventStream(follow(resumed, wire, principal, after), resumed.id)
    started = await _start(request, principal, body, restarts=False)
    follower = follow(
        started.run, wire, principal, started.after, message_id=started.message_id
    )
    return _with_rate(EventStream(follower, started.run.id), started)


async def _start(
    request: HttpRequest, principal: Principal, body: RunBody, *, restarts: bool
) -> StartResult:
    key = parse_idempotency_key(request.headers.get("Idempotency-Key", ""))
    agent = await select_agent(body.agent, principal)
    parent = tracer().parent() or parse_traceparent(
        request.headers.get("traceparent", "")
    )
    asked = body.to_request(
        principal, key, agent, restarts=restarts, traceparent=parent
    )
    if asked.on_busy == "interrupt":
        require(principal, "cancel")
    return await runs.get_service().begin(asked)


def _with_rate(response: HttpResponseBase, started: StartResult) -> HttpResponseBase:
    for name, value in (started.rate.headers if started.rate else {}).items():
        response[name] = value
    return response


def _load_ended(run_id: str, principal: Principal) -> tuple[Run, str]:
    run = store.get_run(run_id, principal)
    return run, store.load_output(run)


async def _of_receiver(
    message_id: str, ended: Run, output: str, principal: Principal
) -> tuple[Run, str]:
    """Return the end of the run that has received a text, by default that of `ended`.

    The text may have become the next run, whose end is awaited.
    """
    run_id = await database.execute_read(inputs.receiver, message_id)
    if not run_id:
        return ended, output
    following = await database.execute_read(store.get_run, run_id, principal)
    await runs.get_service().wait_for_end(following)
    return await database.execute_read(_load_ended, run_id, principal)


async def _metadata(prefix: str, agent: Agent, principal: Principal) -> dict[str, Any]:
    """Return the metadata; `prefix` is the path of the app's mount point."""
    api = f"{prefix}{API}"
    options = conf.get()
    described = await describe(agent, principal)
    return {
        "name": agent.name,
        "description": agent.description,
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
            "input": f"{api}/runs/{{run_id}}/input",
            "cancel": f"{api}/runs/{{run_id}}/cancel",
            "conversations": f"{api}/conversations",
            "queue": f"{api}/conversation/queue",
        },
        "provider": described["provider"],
        "model": described["model"],
        "tools": described["tools"],
        "event_types": EVENT_TYPES,
        "limits": {
            "max_input_chars": options.agent_max_input_chars,
            "max_body_bytes": options.agent_max_body_bytes,
            "max_context_chars": options.agent_max_context_chars,
            "max_iterations": MAX_ITERATIONS,
            "max_open_streams": options.stream_max_open or None,
            "max_runs": options.run_max or None,
            "max_runs_per_org": options.run_max_per_org or None,
            "max_pending_runs": options.run_max_pending or None,
        },
        "authentication": description.describe(),
    }
