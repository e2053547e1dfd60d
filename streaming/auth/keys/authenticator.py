"""The authenticator for API keys, which `AUTHENTICATION` names."""

from django.http import HttpRequest

from streaming.auth.keys.directory import get_directory
from streaming.auth.keys.headers import take_key
from streaming.principals import Principal


async def api_key(request: HttpRequest) -> Principal | None:
    """Return the principal of the request's API key; None if it has no key.

    The key is sent as `Authorization: Bearer KEY` or `X-API-Key: KEY`. Raises
    `Unauthenticated` for a key that is not valid.
    """
    proof = take_key(request)
    return await get_directory().authenticate(proof) if proof else None
