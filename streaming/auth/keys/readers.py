"""The tokens of readers of a run's events, and the authentication by them."""

from django.http import HttpRequest
from django.utils import timezone

from streaming.auth import revocation
from streaming.auth.chain import authenticate
from streaming.auth.keys.query import taken_token
from streaming.auth.keys.run_tokens import RunToken, read_token
from streaming.exceptions import Unauthenticated
from streaming.models import Run
from streaming.principals import Principal
from streaming.storage import database

EXPIRED = "The token has expired."
REVOKED = "The credentials that signed this token are no longer valid."


async def authenticate_reader(request: HttpRequest) -> Principal:
    """Return the caller: by the token in the URL if there is one, else as elsewhere.

    Raises `Unauthenticated`.
    """
    if not (text := taken_token(request)):
        return await authenticate(request)
    match = request.resolver_match
    token = read_token(text, match.kwargs["run_id"] if match else "")
    await database.execute_read_in(database.AUTH, _check, token)
    return token.principal


def _check(token: RunToken) -> None:
    ended = Run.objects.filter(pk=token.run_id).values_list("ended_at", flat=True)
    if token.has_expired(ended.first(), timezone.now()):
        raise Unauthenticated(EXPIRED)
    if revocation.is_revoked(token.principal):
        raise Unauthenticated(REVOKED)
