"""Authentication: one configured function turns a request into a `Principal`.

The setting `AUTHENTICATION` names the function by its dotted path. To add an
authenticator, write a function `async (request) -> Principal` that raises an
`AgentError` for a request that it refuses, and name it there.
"""

from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any

import msgspec
from django.http import HttpRequest
from django.utils.module_loading import import_string

from streaming import conf

#: Attributes of a request: the function that reads its input, and the input.
_READ, _INPUT = "_streaming_read", "_streaming_input"


class Principal(msgspec.Struct, frozen=True):
    """The authenticated caller: an organization, a user of it, and scopes."""

    org_id: str
    #: None: the caller is the organization as a whole.
    user: str | None = None
    scopes: frozenset[str] = frozenset({"admin"})


Authenticator = Callable[[HttpRequest], Awaitable[Principal]]


async def organization_from_request(request: HttpRequest) -> Principal:
    """Take the organization that the request names in its body or query, unverified.

    Raises the same errors as reading the request's input.
    """
    return Principal(read_input(request).org_id)


async def authenticate(request: HttpRequest) -> Principal:
    """Return the caller of a request, by the configured function."""
    return await _authenticator(conf.get().authentication)(request)


def declare_input(request: HttpRequest, read: Callable[[HttpRequest], object]) -> None:
    """Set the function that parses the request's body or query at the first use."""
    vars(request)[_READ] = read


def read_input(request: HttpRequest) -> Any:  # noqa: ANN401  (the endpoint's model)
    """Return the request's body or query, parsed once and kept with the request.

    An authenticator may call it: an endpoint reads its input only afterwards.
    """
    attributes = vars(request)
    if _INPUT not in attributes:
        attributes[_INPUT] = attributes[_READ](request)
    return attributes[_INPUT]


@cache
def _authenticator(path: str) -> Authenticator:
    function: Authenticator = import_string(path)
    return function
