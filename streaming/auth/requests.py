"""Values that authentication keeps with a request: its input, and cookies to set."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase

#: Attributes of a request: the function that reads its input, the input, and the
#: functions that complete its response.
_READ, _INPUT, _COMPLETE = (
    "_streaming_read",
    "_streaming_input",
    "_streaming_complete",
)


def declare_input(request: HttpRequest, read: Callable[[HttpRequest], object]) -> None:
    """Set the function that parses the request's body or query at the first use."""
    vars(request)[_READ] = read


def read_input(request: HttpRequest) -> Any:  # noqa: ANN401  (the endpoint's model)
    """Return the request's body or query, parsed once and kept with the request.

    An authenticator may call it: an endpoint reads its input only afterwards.
    """
    attributes = vars(request)
    if _INPUT not in attributes:
        attributes[_INPUT] = attributes[_READ](request)
    return attributes[_INPUT]


def announced_size(request: HttpRequest) -> int:
    """Return the `Content-Length` in bytes, or 0 without a valid one."""
    value = request.META.get("CONTENT_LENGTH") or ""
    return int(value) if value.isascii() and value.isdigit() else 0


def on_response(
    request: HttpRequest, complete: Callable[[HttpResponseBase], object]
) -> None:
    """Have `complete` called with the response to a request, as to set a cookie."""
    vars(request).setdefault(_COMPLETE, []).append(complete)


def complete_response(request: HttpRequest, response: HttpResponseBase) -> None:
    """Call the functions that `on_response` registered."""
    for complete in vars(request).get(_COMPLETE, ()):
        complete(response)
