"""A run by its id: its state, its events, its inputs, its cancellation."""

import hashlib

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone

from streaming import conf, runs
from streaming.api import payloads
from streaming.api.endpoint import endpoint
from streaming.api.follow import follow
from streaming.api.responses import json_response
from streaming.api.schemas import (
    EventsQuery,
    InputBody,
    OrgQuery,
    json_body,
    parse_idempotency_key,
    parse_last_event_id,
    query,
)
from streaming.auth.keys.readers import authenticate_reader
from streaming.auth.keys.run_tokens import sign_token, token_expiry
from streaming.event_log import stored_log
from streaming.exceptions import FieldError, InvalidRequest
from streaming.models import Run
from streaming.principals import Principal
from streaming.runs import inputs, pending, store
from streaming.runs.idempotency import RunKey
from streaming.server.clients import acquire_stream_slot
from streaming.server.event_stream import EventStream
from streaming.storage import database
from streaming.wire.native import NativeFormat


@endpoint(GET="read", PATCH="run", reads=query(OrgQuery))
async def detail(
    request: HttpRequest, principal: Principal, _: OrgQuery, run_id: str
) -> HttpResponseBase:
    """Return the run's present state, after a change to the input of a pending one."""
    if request.method == "PATCH":
        text = json_body(InputBody)(request).input
        await database.execute_write(pending.change_input, run_id, principal, text)
        if not principal.allows("read"):
            return HttpResponse(status=204)
    return json_response(await database.execute_read(_state, run_id, principal))


@endpoint(GET="read", reads=query(EventsQuery), authenticate=authenticate_reader)
async def events(
    request: HttpRequest, principal: Principal, asked: EventsQuery, run_id: str
) -> HttpResponseBase:
    """Stream the run's events after a number: the logged ones and those to come."""
    run = await database.execute_read(pending.get_run, run_id, principal)
    after = _after(request, run_id, asked)
    if run.has_ended:
        newest = await database.execute_read(stored_log().newest, run.id)
        if newest is None or newest.number <= (after or 0):
            return HttpResponse(status=204)
    acquire_stream_slot(request)
    wire = NativeFormat(asked.events)
    return EventStream(follow(run, wire, principal, after), run.id)


@endpoint(POST="read", reads=query(OrgQuery))
async def token(
    request: HttpRequest, principal: Principal, _: OrgQuery, run_id: str
) -> HttpResponseBase:
    """Sign a token for the URL of the run's events, for clients without headers."""
    run = await database.execute_read(store.get_run, run_id, principal)
    now = timezone.now()
    expires_at = token_expiry(run.ended_at, now)
    signed = {
        "token": sign_token(run.id, principal, now),
        "expires_at": payloads.time(expires_at),
    }
    return json_response(signed)


@endpoint(POST="cancel", reads=query(OrgQuery))
async def cancel(
    request: HttpRequest, principal: Principal, _: OrgQuery, run_id: str
) -> HttpResponseBase:
    """Cancel the run, at the provider too."""
    run = await database.execute_read(store.get_run, run_id, principal)
    was_active = await runs.get_service().cancel(run.id)
    state = await database.execute_read(_state, run_id, principal)
    return json_response(state, 202 if was_active else 200)


@endpoint(POST="run", reads=query(OrgQuery))
async def steer(
    request: HttpRequest, principal: Principal, _: OrgQuery, run_id: str
) -> HttpResponseBase:
    """Add a text to an active run, which takes it after the result of a tool."""
    text = json_body(InputBody)(request).input
    given = parse_idempotency_key(request.headers.get("Idempotency-Key", ""))
    hashed = hashlib.sha256(f"{run_id} {text}".encode()).hexdigest()
    key = RunKey(principal.org_id, principal.owner, given, hashed) if given else None
    most = conf.get().run_max_pending
    message_id = await database.execute_write(
        inputs.add, run_id, principal, text, most, key
    )
    return json_response({"message_id": message_id}, 202)


def _state(run_id: str, principal: Principal) -> dict[str, object]:
    run: Run = pending.get_run(run_id, principal)
    return payloads.run_state(run, store.load_output(run), inputs.of_run(run.id))


def _after(request: HttpRequest, run_id: str, asked: EventsQuery) -> int | None:
    """Return the number to resume after, if any; the header precedes the query."""
    if value := request.headers.get("Last-Event-ID"):
        of_run, number = parse_last_event_id(value)
        if of_run != run_id:
            message = "names an event of another run"
            raise InvalidRequest([FieldError("Last-Event-ID", message)])
        return number
    return asked.after
