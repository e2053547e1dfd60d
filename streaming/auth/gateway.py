"""Callers for whom a gateway in front of this server vouches by headers."""

from hmac import compare_digest

from django.http import HttpRequest

from streaming import conf
from streaming.auth.organizations import (
    MAX_ORG_ID_CHARS,
    MAX_USER_CHARS,
    principal_in,
)
from streaming.auth.users import KIND, find_users
from streaming.exceptions import FieldError, InvalidRequest, Unauthenticated
from streaming.principals import Principal
from streaming.storage import database

#: The header in which the gateway sends `GATEWAY_SECRET`.
SECRET_HEADER = "X-Gateway-Secret"


class Header:
    """An authenticator that takes the organization, and the user, from headers.

    `streaming.auth.header('X-Org-Id', user='X-User-Id')`. Any client that reaches the
    server directly can send these headers: the gateway must remove them from the
    requests that it receives. With `GATEWAY_SECRET` it must prove itself as well.

    The gateway's users are not those of the project: they have no codenames, and tools
    receive no user. With `users=True` their header has the primary key of an active
    user of the project.
    """

    def __init__(
        self, organization: str, user: str = "", *, users: bool = False
    ) -> None:
        if users and not user:
            raise TypeError("users=True needs the header of the user")
        self._organization = organization
        self._user = user
        self._has_local_users = users

    async def __call__(self, request: HttpRequest) -> Principal | None:
        """Return the caller; None without the organization's header.

        Raises `Unauthenticated` without the secret, or for an unknown user of the
        project, and `InvalidRequest` for an unusable header.
        """
        if self._organization not in request.headers:
            return None
        secret = conf.get().gateway_secret
        sent = request.headers.get(SECRET_HEADER, "")
        if secret and not compare_digest(sent.encode(), secret.encode()):
            raise Unauthenticated(
                f"The header {self._organization} is accepted from the gateway only, "
                f"with its secret in {SECRET_HEADER}."
            )
        org_id = _value(request, self._organization, MAX_ORG_ID_CHARS)
        user = _value(request, self._user, MAX_USER_CHARS) if self._user else ""
        if not self._has_local_users:
            return principal_in(org_id, user)
        found = await database.execute_read_in(database.AUTH, find_users, [user])
        local = found.get(user)
        if local is None or not getattr(local, "is_active", True):
            raise Unauthenticated(f"{self._user} names no active user.")
        # One user has one owner, however the header writes the key.
        return principal_in(org_id, str(local.pk), credential=f"{KIND}:{local.pk}")


def _value(request: HttpRequest, header: str, limit: int) -> str:
    value = request.headers.get(header, "").strip()
    if not (0 < len(value) <= limit and value.isprintable()):
        message = f"must have 1 to {limit} printable characters"
        raise InvalidRequest([FieldError(header, message)])
    return value
