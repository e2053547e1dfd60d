"""A run that was started: look at it, follow it, stop it."""

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from streaming import runs
from streaming.api import payloads
from streaming.api.endpoint import endpoint, json_response
from streaming.api.follow import follow
from streaming.api.schemas import (
    EventsQuery,
    OrgQuery,
    parse_last_event_id,
    parse_query,
)
from streaming.event_log import stored_log
from streaming.exceptions import FieldError, InvalidRequest
from streaming.models import Run, RunStatus
from streaming.runs import store
from streaming.server.clients import acquire_stream_slot
from streaming.server.event_stream import EventStream
from streaming.storage import database
from streaming.wire.native import NativeFormat


@endpoint("GET")
async def detail(request: HttpRequest, run_id: str) -> HttpResponseBase:
    """The run as it stands."""
    query = parse_query(OrgQuery, request.GET)
    return json_response(await database.execute_read(_state, run_id, query.org_id))


@endpoint("GET")
async def events(request: HttpRequest, run_id: str) -> HttpResponseBase:
    """The run's events after a number, old ones and those to come."""
    query = parse_query(EventsQuery, request.GET)
    run = await database.execute_read(store.get_run, run_id, query.org_id)
    after = _after(request, run_id, query)
    if run.status != RunStatus.RUNNING:
        newest = await database.execute_read(stored_log().newest, run.id)
        if newest is None or newest.number <= (after or 0):
            return HttpResponse(status=204)
    acquire_stream_slot(request)
    return EventStream(follow(run, NativeFormat(query.events), after), run.id)


@endpoint("POST")
async def cancel(request: HttpRequest, run_id: str) -> HttpResponseBase:
    """Stop the run for good, at the provider too."""
    query = parse_query(OrgQuery, request.GET)
    run = await database.execute_read(store.get_run, run_id, query.org_id)
    asked = await runs.cancel(run)
    state = await database.execute_read(_state, run_id, query.org_id)
    return json_response(state, 202 if asked else 200)


def _state(run_id: str, org_id: str) -> dict[str, object]:
    run: Run = store.get_run(run_id, org_id)
    return payloads.run_state(run, store.load_output(run))


def _after(request: HttpRequest, run_id: str, query: EventsQuery) -> int | None:
    """After which number to go on; None: none was named. The header wins."""
    if value := request.headers.get("Last-Event-ID"):
        of_run, number = parse_last_event_id(value)
        if of_run != run_id:
            message = "names an event of another run"
            raise InvalidRequest([FieldError("Last-Event-ID", message)])
        return number
    return query.after
