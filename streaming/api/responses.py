"""JSON responses, those of errors included."""

import math
from typing import Any

import msgspec
from django.http import HttpResponse

from streaming.exceptions import (
    AgentError,
    ConversationBusy,
    FieldError,
    InvalidRequest,
    MethodNotAllowed,
)

RETRY_AFTER_SECONDS = 5


def json_response(data: object, status: int = 200) -> HttpResponse:
    """Return compact JSON that is never cached and whose type is never guessed."""
    return HttpResponse(
        msgspec.json.encode(data),
        content_type="application/json",
        status=status,
        headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"},
    )


def error_response(error: AgentError) -> HttpResponse:
    """Return an error as JSON: a sentence, a code and, if known, its fields."""
    body: dict[str, Any] = {"error": error.message, "code": error.code}
    if isinstance(error, InvalidRequest):
        body["details"] = [detail._asdict() for detail in error.details]
    if isinstance(error, ConversationBusy):
        body["run_id"] = error.run_id
    response = json_response(body, error.status)
    if isinstance(error, MethodNotAllowed):
        response["Allow"] = ", ".join(error.allowed)
    if error.status in (429, 503) or error.retry_after is not None:
        seconds = error.retry_after or RETRY_AFTER_SECONDS
        response["Retry-After"] = str(math.ceil(seconds))
    return response


def unknown_host() -> InvalidRequest:
    """Return the error of a request whose host is not one of `ALLOWED_HOSTS`."""
    message = "is not a name of this server (ALLOWED_HOSTS lists them)"
    return InvalidRequest([FieldError("Host", message)])
