"""The principal of a user: its organization, and the owner of its conversations."""

from collections.abc import Awaitable, Callable
from functools import cache
from inspect import isawaitable, iscoroutinefunction
from typing import Any
from uuid import UUID

from asgiref.sync import async_to_sync
from django.http import HttpRequest

from streaming import conf
from streaming.exceptions import Forbidden
from streaming.principals import Principal
from streaming.storage import database

#: The organization of all users of a project that has no `ORGANIZATION`.
DEFAULT = "default"
MAX_ORG_ID_CHARS = 128
#: A run stores the user's key in 64 characters, with its kind as the credential.
MAX_USER_CHARS = 59
ALL = frozenset({"admin"})

OrganizationOf = Callable[[Any, HttpRequest | None], Any]


async def principal_of(
    user: Any,  # noqa: ANN401  (the project's user model)
    request: HttpRequest | None = None,
    *,
    scopes: frozenset[str] = ALL,
    credential: str = "",
) -> Principal:
    """Return the principal of a user of the project.

    The organization comes from the project's function `ORGANIZATION`; a synchronous one
    is called on a database thread. Raises `Forbidden` for a user without organization.
    """
    key = str(user.pk)
    if len(key) > MAX_USER_CHARS:
        raise Forbidden(f"The id of this user exceeds {MAX_USER_CHARS} characters.")
    org_id = await organization_of(user, request)
    return principal_in(
        org_id, key, scopes=scopes, credential=credential or f"user:{key}"
    )


def principal_in(
    org_id: str,
    user: str = "",
    *,
    scopes: frozenset[str] = ALL,
    credential: str = "",
) -> Principal:
    """Return a principal in an organization; `SHARE` decides on its owner."""
    owner = "" if conf.get().share == "organization" else user
    return Principal(org_id, user, owner, scopes, credential)


async def organization_of(user: Any, request: HttpRequest | None) -> str:  # noqa: ANN401
    """Return the id of a user's organization. Raises `Forbidden` if it has none."""
    path = conf.get().organization
    if not path:
        return DEFAULT
    function = _function(path)
    found: Any
    if iscoroutinefunction(function):
        found = await function(user, request)
    else:
        found = await database.execute_read_in(
            database.AUTH, _call, function, user, request
        )
        if isawaitable(found):
            found = _id_of(await found)
    return _valid(found if isinstance(found, str) else _id_of(found))


def organization_in_thread(user: Any) -> str:  # noqa: ANN401
    """Return the id of a user's organization, in synchronous code.

    Raises `Forbidden` if it has none.
    """
    path = conf.get().organization
    if not path:
        return DEFAULT
    function = _function(path)
    call = async_to_sync(function) if iscoroutinefunction(function) else function
    found: Any = call(user, None)
    return _valid(found if isinstance(found, str) else _id_of(found))


def load_function() -> None:
    """Import the function `ORGANIZATION`. Raises `ImproperlyConfigured`."""
    if path := conf.get().organization:
        _function(path)


@cache
def _function(path: str) -> OrganizationOf:
    function: OrganizationOf = conf.import_named("ORGANIZATION", path)
    return function


def _call(
    function: OrganizationOf,
    user: Any,  # noqa: ANN401
    request: HttpRequest | None,
) -> str | Awaitable[Any]:
    """Return the id here, in the database thread, where a lazy object may be loaded."""
    found = function(user, request)
    return found if isawaitable(found) else _id_of(found)


def _id_of(found: Any) -> str:  # noqa: ANN401
    key = getattr(found, "pk", found)
    if key is None:  # of an unsaved object too: all of these would have one id
        raise Forbidden("This user belongs to no organization.")
    if key is found and (type(key) is bool or not isinstance(key, str | int | UUID)):
        raise ValueError(
            f"ORGANIZATION returned {found!r:.100}: expected an object or its key"
        )
    return str(key)


def _valid(org_id: str) -> str:
    if not (0 < len(org_id) <= MAX_ORG_ID_CHARS and org_id.isprintable()):
        raise ValueError(
            f"ORGANIZATION returned {org_id!r}: expected 1 to {MAX_ORG_ID_CHARS} "
            "printable characters"
        )
    return org_id
