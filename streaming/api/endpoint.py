"""Decorators that make a view an API endpoint: methods, errors, authentication."""

import functools
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar

from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import DisallowedHost, SuspiciousOperation
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt

from streaming.api.responses import UNCACHED, error_response, unknown_host
from streaming.auth.chain import authenticate, require, require_own_organization
from streaming.auth.keys.query import hide_token
from streaming.auth.requests import complete_response, declare_input, read_input
from streaming.exceptions import (
    AgentError,
    DatabaseUnavailable,
    FieldError,
    InternalError,
    InvalidRequest,
    MethodNotAllowed,
)
from streaming.principals import SCOPES, Principal
from streaming.server.host import respond_in_app_loop
from streaming.storage.errors import describe, is_temporary

logger = logging.getLogger(__name__)

M = TypeVar("M")
P = ParamSpec("P")
Responds = Coroutine[Any, Any, HttpResponseBase]
PublicView = Callable[Concatenate[HttpRequest, P], Responds]
View = Callable[Concatenate[HttpRequest, Principal, M, P], Responds]


def endpoint(
    *,
    reads: Callable[[HttpRequest], M],
    authenticate: Callable[[HttpRequest], Awaitable[Principal]] = authenticate,
    **scopes: str,
) -> Callable[[View[M, P]], PublicView[P]]:
    """Make a view an endpoint that receives the caller and its input.

    `scopes` names the methods with the scope that each requires, as in `GET="read"`.
    `reads` parses the body or the query, after `authenticate` has returned the caller.
    """
    if unknown := sorted({*scopes.values()} - {*SCOPES}):
        raise ValueError(f"unknown scope {unknown[0]!r}")

    def decorate(view: View[M, P]) -> PublicView[P]:
        @public_endpoint(*scopes)
        @functools.wraps(view)
        async def call(
            request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs
        ) -> HttpResponseBase:
            declare_input(request, reads)
            principal = await authenticate(request)
            require(principal, scopes.get(request.method or "", scopes.get("GET", "")))
            read = read_input(request)
            require_own_organization(principal, read)
            response = await view(request, principal, read, *args, **kwargs)
            complete_response(request, response)
            return response

        return call

    return decorate


def public_endpoint(
    *methods: str, any_host: bool = False
) -> Callable[[PublicView[P]], PublicView[P]]:
    """Make a view an endpoint for any caller: its methods, and every error as JSON.

    Only `ALLOWED_HOSTS` are served: another site could otherwise point its own name at
    this server and read the responses in its visitors' browsers. Probes connect to
    addresses, so their endpoints allow `any_host`.

    Requests need no CSRF token here: where a session identifies the caller, its
    authenticator checks one. `LoginRequiredMiddleware` leaves them alone, since it
    redirects to a page.
    """
    allowed = (*methods, "HEAD") if "GET" in methods else methods

    def decorate(view: PublicView[P]) -> PublicView[P]:
        async def respond(
            request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs
        ) -> HttpResponseBase:
            try:
                if not any_host:
                    request.get_host()
                if request.method not in allowed:
                    raise MethodNotAllowed(request.method or "", allowed)
                response = await view(request, *args, **kwargs)
                response.setdefault("Cache-Control", UNCACHED)
                return response
            except Exception as error:  # Django would respond in HTML
                return error_response(_api_error(request, error))

        @csrf_exempt
        @login_not_required
        @functools.wraps(view)
        async def call(
            request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs
        ) -> HttpResponseBase:
            hide_token(request)
            response = respond(request, *args, **kwargs)
            return await respond_in_app_loop(request, response)

        return call

    return decorate


def _api_error(request: HttpRequest, error: Exception) -> AgentError:
    """Return the error that the client receives, and log errors of the server."""
    match error:
        case AgentError():
            return error
        case DisallowedHost():
            return unknown_host()
        case SuspiciousOperation():
            detail = FieldError("request", "has too many or too large parts")
            return InvalidRequest([detail])
        case _ if is_temporary(error):
            reason = f"{describe(error)}: {error}"
            logger.warning("%s %s: %s", request.method, request.path, reason)
            return DatabaseUnavailable()
    logger.exception("%s %s failed", request.method, request.path)
    return InternalError()
