"""The protection of sessions against requests that other sites' pages send."""

from collections.abc import Mapping
from copy import copy
from typing import Any, cast

from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase
from django.http import HttpRequest, HttpResponse, QueryDict
from django.middleware.csrf import CsrfViewMiddleware

from streaming.exceptions import Forbidden

SAFE_METHODS = ("GET", "HEAD", "OPTIONS", "TRACE")


def check(request: HttpRequest, session: Mapping[str, Any]) -> None:
    """Check the token of a request that a session authenticates. Raises `Forbidden`.

    The token is sent in the header only. `session` is the session's data, which has the
    secret of a project with `CSRF_USE_SESSIONS`.
    """
    checked = copy(request)
    checked.POST = QueryDict()  # the body, which is JSON, is not parsed as a form
    checked.session = cast(SessionBase, session)  # only its `get` is called
    middleware = CsrfViewMiddleware(_respond)
    refused = middleware.process_view(checked, _respond, (), {})
    if refused is not None:  # Django logs the reason
        raise Forbidden(
            "The check against cross-site requests failed: send the CSRF token in the "
            f"header {header_name()}, from this origin or one of CSRF_TRUSTED_ORIGINS."
        )


def header_name() -> str:
    """Return the name of the header that has the token."""
    name: str = settings.CSRF_HEADER_NAME  # as in WSGI: HTTP_X_CSRFTOKEN
    return name.removeprefix("HTTP_").replace("_", "-").title()


def _respond(request: HttpRequest) -> HttpResponse:
    """Stand for the view, which is not called."""
    return HttpResponse()
