"""The token in the query of a request for a run's events, taken out of the URL.

Servers log the URL with the first byte of the response, from the scope that they gave
to the application. The token is moved within that scope, so no log contains it. It is
moved out of the API's other URLs too, where it is of no use: a client may have put it
into a wrong one.
"""

import re
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import unquote

from django.http import HttpRequest

Scope = MutableMapping[str, Any]

#: The key of a moved token in the ASGI scope.
TOKEN = "streaming.token"
_API = "/api/v1/agent/"
_PARAMETER = re.compile(rb"(?:^|(?<=&))token=([^&]*)")


def move_token(scope: Scope) -> None:
    """Move the token from the query of a scope to a key of its own.

    Paths outside of the API are left alone: they may belong to other apps.
    """
    query = scope.get("query_string", b"")
    if isinstance(query, str):  # from Django's test client
        query = query.encode()
    if b"token=" in query and TOKEN not in scope and _API in scope["path"]:
        if found := _PARAMETER.search(query):
            scope[TOKEN] = unquote(found[1].decode("latin-1"))
        scope["query_string"] = _PARAMETER.sub(b"token=***", query)


def hide_token(request: HttpRequest) -> None:
    """Move the token out of the URL of a request that came by ASGI."""
    scope: Scope | None = getattr(request, "scope", None)
    if scope is None:
        return
    move_token(scope)
    if TOKEN in scope:
        request.META["QUERY_STRING"] = scope["query_string"].decode(errors="replace")
        vars(request).pop("GET", None)  # cached by Django


def taken_token(request: HttpRequest) -> str:
    """Return the token that was moved out of a request's URL; empty without one."""
    return str(getattr(request, "scope", {}).get(TOKEN, ""))
