"""A stream that measures its path to the client, for `manage.py check_streaming`."""

from django.core.signing import BadSignature
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from streaming import conf
from streaming.api.endpoint import public_endpoint
from streaming.api.schemas import parse_last_event_id
from streaming.exceptions import NotFound
from streaming.selftest.plan import frames, read_plan
from streaming.server.clients import acquire_stream_slot, scope_of
from streaming.server.event_stream import EventStream


@public_endpoint("GET", "POST")
async def selftest(request: HttpRequest) -> HttpResponseBase:
    """Stream a signed plan, from after `Last-Event-ID` or `?after=`.

    The plan's signature is the authentication: the command signs it with SECRET_KEY.
    """
    try:
        plan = read_plan(request.GET.get("plan", ""))
    except BadSignature:
        raise NotFound(f"There is nothing at {request.path}.") from None
    after = request.GET.get("after", "")
    last_event_id = request.headers.get("Last-Event-ID", "")
    if last_event_id:
        _, number = parse_last_event_id(last_event_id)
    else:
        number = int(after[:9]) if after.isdecimal() else 0
    acquire_stream_slot(request)
    seen = {
        "http_version": scope_of(request).get("http_version", ""),
        "last_event_id": last_event_id,
    }
    return EventStream(
        frames(plan, number, conf.get().stream_heartbeat_seconds, seen), plan.id
    )
