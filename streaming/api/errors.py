"""Error views: for unknown paths, and for errors outside of the API's own views."""

from django.core.exceptions import DisallowedHost
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from streaming.api.endpoint import public_endpoint
from streaming.api.responses import error_response, unknown_host
from streaming.exceptions import FieldError, InternalError, InvalidRequest, NotFound


@public_endpoint("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
async def not_found(request: HttpRequest) -> HttpResponseBase:
    """Respond to any unknown path in JSON, with DEBUG too."""
    raise NotFound(f"There is nothing at {request.path_info[:201]}.")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Respond to a request that Django refuses, most often because of its host."""
    if isinstance(exception, DisallowedHost):
        return error_response(unknown_host())
    return error_response(InvalidRequest([FieldError("request", "is not valid")]))


def server_error(request: HttpRequest) -> HttpResponseBase:
    """Respond to an error outside of the API's views; Django logs its cause."""
    return error_response(InternalError())
