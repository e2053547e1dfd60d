"""Callers without credentials, each known by a signed cookie."""

import secrets
from functools import partial

from django.core import signing
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from streaming import conf
from streaming.auth.organizations import DEFAULT, organization_of
from streaming.auth.requests import on_response
from streaming.principals import ANONYMOUS, Principal

COOKIE = "streaming_anonymous"
#: A year: later, the conversations of the visitor cannot be reached any more.
MAX_AGE_SECONDS = 365 * 24 * 3600
#: Nothing that affects more than a run of the caller's own.
SCOPES = frozenset({"run", "read", "cancel"})

_signer = partial(signing.TimestampSigner, salt="streaming.auth.anonymous")


async def anonymous(request: HttpRequest) -> Principal:
    """Return a caller who owns the conversations that this browser began.

    The first response sets the cookie. Anonymous callers share nothing, whatever
    `SHARE` says: each request without the cookie comes from a new caller.
    """
    name = _name_in(request.COOKIES.get(COOKIE, ""))
    if not name:
        name = secrets.token_urlsafe(16)
        on_response(request, partial(_set_cookie, name, secure=request.is_secure()))
    org_id = DEFAULT
    if conf.get().organization:
        from django.contrib.auth.models import AnonymousUser

        org_id = await organization_of(AnonymousUser(), request)
    return Principal(org_id, owner=f"{ANONYMOUS}{name}", scopes=SCOPES)


def _name_in(cookie: str) -> str:
    """Return the name that a cookie holds; empty if it is not one of ours."""
    try:
        return _signer().unsign(cookie, max_age=MAX_AGE_SECONDS)
    except signing.BadSignature:
        return ""


def _set_cookie(name: str, response: HttpResponseBase, *, secure: bool) -> None:
    response.set_cookie(
        COOKIE,
        _signer().sign(name),
        max_age=MAX_AGE_SECONDS,
        secure=secure,
        httponly=True,
        samesite="Lax",
    )
