"""The description of the authentication for clients: methods, login page, token."""

from typing import Any

from django.conf import settings
from django.shortcuts import redirect

from streaming import conf
from streaming.auth import csrf

PACKAGE = "streaming.auth."


def describe() -> dict[str, Any]:
    """Return the methods and, with sessions, the fields that a page needs.

    Functions of the project are `custom`: their names are not shown.
    """
    methods = []
    for name in conf.get().authenticators:
        own = name.removeprefix(PACKAGE).partition("(")[0]
        methods.append(own if name.startswith(PACKAGE) else "custom")
    if "session" not in methods:
        return {"methods": methods}
    is_readable = not (settings.CSRF_USE_SESSIONS or settings.CSRF_COOKIE_HTTPONLY)
    return {
        "methods": methods,
        "login_url": redirect(settings.LOGIN_URL).url,
        "csrf_header": csrf.header_name(),
        "csrf_cookie": settings.CSRF_COOKIE_NAME if is_readable else None,
    }
