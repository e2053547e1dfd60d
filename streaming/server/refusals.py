"""The responses to requests that are refused before Django's middleware sees them."""

from collections.abc import Mapping
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.conf import settings
from django.core.handlers.asgi import ASGIRequest, get_script_prefix
from django.http import HttpResponse
from django.utils.module_loading import import_string

from streaming.exceptions import AgentError
from streaming.server.path_prefix import path_below
from streaming.wire.base import ErrorResponse
from streaming.wire.native import NativeFormat

if TYPE_CHECKING:
    from corsheaders.middleware import CorsMiddleware

Scope = Mapping[str, Any]


def refusal(error: AgentError, scope: Scope) -> ErrorResponse:
    """Return an error as the response to the request of an ASGI scope.

    The project's CORS middleware adds its headers: a page on another origin could read
    neither the error nor its status without them.
    """
    status, headers, body = NativeFormat.error(error)
    own = {"Content-Length": str(len(body))}
    return ErrorResponse(status, {**headers, **_cors_headers(scope), **own}, body)


def _cors_headers(scope: Scope) -> dict[str, str]:
    middleware = _cors_middleware(tuple(settings.MIDDLEWARE))
    if not middleware:
        return {}
    prefix = get_script_prefix(scope).rstrip("/")
    path = path_below(prefix, scope["path"]) if prefix else scope["path"]
    # Without the query, which may be the fault of the request.
    known = {"method": scope["method"], "path": path, "headers": scope["headers"]}
    request = ASGIRequest(known, BytesIO())
    response = middleware(lambda request: HttpResponse())(request)
    assert isinstance(response, HttpResponse)  # since the function above is not async
    return {
        name: value
        for name, value in response.items()
        if name.lower() == "vary" or name.lower().startswith("access-control-")
    }


@cache
def _cors_middleware(paths: tuple[str, ...]) -> "type[CorsMiddleware] | None":
    """Return the CORS middleware among a project's, or None."""
    if not apps.is_installed("corsheaders"):
        return None
    from corsheaders.middleware import CorsMiddleware

    classes = [import_string(path) for path in paths]
    found = [
        c for c in classes if isinstance(c, type) and issubclass(c, CorsMiddleware)
    ]
    return found[0] if found else None
