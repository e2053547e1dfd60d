"""No authentication: for development, the demo, and private networks."""

from django.http import HttpRequest

from streaming.auth.requests import read_input
from streaming.principals import Principal


async def organization_from_request(request: HttpRequest) -> Principal:
    """Take the organization that the request names in its body or query, unverified.

    Raises the same errors as reading the request's input.
    """
    return Principal(read_input(request).org_id)
