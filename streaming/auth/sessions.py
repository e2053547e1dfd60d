"""Django sessions as credentials, with or without the session middleware.

The session and its user are read in one step on a database thread, and kept for a few
seconds. Nothing is written: an invalid session is left to Django.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
from django.apps import apps
from django.conf import settings
from django.contrib.auth.signals import user_logged_out
from django.http import HttpRequest

from streaming.auth import csrf, revocation, users
from streaming.auth.cache import TimedCache
from streaming.auth.logins import find_logins
from streaming.auth.organizations import principal_of
from streaming.principals import Principal
from streaming.storage import database

KIND = "session"

#: The users who are logged in, by the keys of their sessions.
_users: TimedCache[str, Any] = TimedCache()


class SessionPrincipal(Principal, frozen=True, kw_only=True):
    """A caller whom a session identifies; the key stays in memory."""

    session_key: str

    def __repr__(self) -> str:
        """Return the usual representation without the key."""
        return f"SessionPrincipal(org_id={self.org_id!r}, user={self.user!r})"


async def session(request: HttpRequest) -> Principal | None:
    """Return the user who is logged in by the request's session, if there is one.

    A request that changes something must pass the CSRF check. Raises `Forbidden`.
    """
    key = _session_key(request)
    if not (key and has_sessions()):
        return None
    changes = request.method not in csrf.SAFE_METHODS
    user = _users.get(key)
    data: Mapping[str, Any] = {}
    # The session may have got its CSRF secret a moment ago.
    if user is None or (changes and settings.CSRF_USE_SESSIONS):
        found = await database.execute_read_in(database.AUTH, find_logins, [key])
        if key not in found:
            return None
        user, data = found[key]
        _users.put(key, user)
    if changes:
        csrf.check(request, data)
    caller = await principal_of(user, request, credential=credential_of(key))
    return SessionPrincipal(*msgspec.structs.astuple(caller), session_key=key)


def credential_of(key: str) -> str:
    """Return the credential of a session, which is stored with runs: not its key."""
    return f"{KIND}:{hashlib.sha256(key.encode()).hexdigest()[:40]}"


def find_revoked(principals: Sequence[Principal]) -> Collection[str]:
    """Return the credentials whose sessions or users are no longer valid.

    The principal of a stored run has no key of its session: its user decides.
    """
    keys = {
        principal.session_key: principal.credential
        for principal in principals
        if isinstance(principal, SessionPrincipal)
    }
    ended = keys.keys() - find_logins(keys).keys()
    for key in ended:
        _users.discard(key)
    stored = [each for each in principals if not isinstance(each, SessionPrincipal)]
    return {keys[key] for key in ended}.union(users.find_revoked(stored))


def forget_login(*, request: HttpRequest, **_: object) -> None:
    """Forget a session that logs out, before the next request with it."""
    if key := _session_key(request):
        _users.discard(key)


def has_sessions() -> bool:
    """Return whether the project has users and the tables of its session engine."""
    needs_table = settings.SESSION_ENGINE.endswith(("backends.db", "cached_db"))
    return apps.is_installed("django.contrib.auth") and (
        not needs_table or apps.is_installed("django.contrib.sessions")
    )


def connect() -> None:
    """Watch the sessions of open streams, and logouts in this process."""
    revocation.register(KIND, find_revoked, proves_user=True)
    user_logged_out.connect(forget_login)


def _session_key(request: HttpRequest) -> str:
    """Return the key that the middleware or, without one, the cookie gives."""
    if hasattr(request, "session"):
        key = request.session.session_key
    else:
        key = request.COOKIES.get(settings.SESSION_COOKIE_NAME)
    # PostgreSQL refuses a NUL, even in a query, and Memcached a space. No engine makes
    # keys of other characters than those of ASCII that have a glyph.
    return key if key and all("!" <= each <= "~" for each in key) else ""
