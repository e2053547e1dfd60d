"""Callers for whom a gateway in front of this server vouches by headers."""

from hmac import compare_digest

from django.http import HttpRequest

from streaming import conf
from streaming.auth.organizations import (
    MAX_ORG_ID_CHARS,
    MAX_USER_CHARS,
    principal_in,
)
from streaming.exceptions import FieldError, InvalidRequest, Unauthenticated
from streaming.principals import Principal

#: The header in which the gateway sends `GATEWAY_SECRET`.
SECRET_HEADER = "X-Gateway-Secret"


class Header:
    """An authenticator that takes the organization, and the user, from headers.

    `streaming.auth.header('X-Org-Id', user='X-User-Id')`. Any client that reaches the
    server directly can send these headers: the gateway must remove them from the
    requests that it receives. With `GATEWAY_SECRET` it must prove itself as well.
    """

    def __init__(self, organization: str, user: str = "") -> None:
        self._organization = organization
        self._user = user

    async def __call__(self, request: HttpRequest) -> Principal | None:
        """Return the caller; None without the organization's header."""
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
        return principal_in(org_id, user)


def _value(request: HttpRequest, header: str, limit: int) -> str:
    value = request.headers.get(header, "").strip()
    if not (0 < len(value) <= limit and value.isprintable()):
        message = f"must have 1 to {limit} printable characters"
        raise InvalidRequest([FieldError(header, message)])
    return value
