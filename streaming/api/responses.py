"""JSON responses, those of errors included."""

import msgspec
from django.http import HttpResponse

from streaming.exceptions import AgentError, FieldError, InvalidRequest
from streaming.wire.native import NativeFormat

#: `private` too: the cache middleware of earlier releases of Django ignores `no-store`.
UNCACHED = "private, no-store"


def json_response(data: object, status: int = 200) -> HttpResponse:
    """Return compact JSON that is never cached and whose type is never guessed."""
    return HttpResponse(
        msgspec.json.encode(data),
        content_type="application/json",
        status=status,
        headers={"Cache-Control": UNCACHED, "X-Content-Type-Options": "nosniff"},
    )


def error_response(error: AgentError) -> HttpResponse:
    """Return an error as JSON: a sentence, a code and, if known, its fields."""
    status, headers, body = NativeFormat.error(error)
    return HttpResponse(body, status=status, headers=headers)


def unknown_host() -> InvalidRequest:
    """Return the error of a request whose host is not one of `ALLOWED_HOSTS`."""
    message = "is not a name of this server (ALLOWED_HOSTS lists them)"
    return InvalidRequest([FieldError("Host", message)])
