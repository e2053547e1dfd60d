"""HTTP's side of things: endpoints, JSON errors, the event-stream response."""

import functools
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec

import msgspec
from django.core.exceptions import DisallowedHost, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt

from streaming.exceptions import (
    AgentError,
    FieldError,
    InternalError,
    InvalidRequest,
    MethodNotAllowed,
    UnsupportedMediaType,
    database_unavailable,
)
from streaming.wire.native import NativeFormat

logger = logging.getLogger(__name__)

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], Coroutine[Any, Any, HttpResponseBase]]


def endpoint(*methods: str, any_host: bool = False) -> Callable[[View[P]], View[P]]:
    """Make a view an API endpoint: its methods, and every error as JSON.

    Only `ALLOWED_HOSTS` are served, or another site could point its own name here and
    read what its visitors' browsers get; `any_host` is for probes, which use addresses.

    No CSRF token is asked for, since no cookie gives any right here and a JSON body
    cannot come from another site's form.
    """
    allowed = (*methods, "HEAD") if "GET" in methods else methods

    def decorate(view: View[P]) -> View[P]:
        @csrf_exempt
        @functools.wraps(view)
        async def call(
            request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs
        ) -> HttpResponseBase:
            try:
                if not any_host:
                    request.get_host()
                if request.method not in allowed:
                    raise MethodNotAllowed(request.method or "", allowed)
                return await view(request, *args, **kwargs)
            except AgentError as error:
                return error_response(error)
            except DisallowedHost:
                return error_response(unknown_host())
            except SuspiciousOperation:
                detail = FieldError("request", "has too many or too large parts")
                return error_response(InvalidRequest([detail]))
            except (InterfaceError, OperationalError) as error:
                logger.warning("%s %s: %s", request.method, request.path, error)
                return error_response(database_unavailable())
            except Exception:  # the last resort: else Django would answer in HTML
                logger.exception("%s %s failed", request.method, request.path)
                return error_response(InternalError())

        return call

    return decorate


def unknown_host() -> InvalidRequest:
    """The error of a request for a host name that is not ours."""
    message = "is not a name of this server (ALLOWED_HOSTS lists them)"
    return InvalidRequest([FieldError("Host", message)])


def json_response(data: object, status: int = 200) -> HttpResponse:
    """JSON, compact, never cached, never sniffed."""
    return HttpResponse(
        msgspec.json.encode(data),
        content_type="application/json",
        status=status,
        headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"},
    )


def error_response(error: AgentError) -> HttpResponse:
    """The contract's JSON error."""
    status, headers, body = NativeFormat.error(error)
    return HttpResponse(body, status=status, headers=headers)


def read_json_body(request: HttpRequest) -> bytes:
    """The body of a JSON request. Raises `UnsupportedMediaType`."""
    if request.content_type != "application/json":
        raise UnsupportedMediaType
    return request.read()
