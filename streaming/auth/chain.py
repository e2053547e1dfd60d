"""The configured authenticators, called in turn for each request.

The first one that returns a principal or a user decides. One that returns None leaves
the request to the next; one that raises an `AgentError` refuses it.
"""

import ast
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any, NamedTuple

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest

from streaming import conf
from streaming.auth import organizations, sessions, users
from streaming.auth.adapters import Authenticator, adapt, is_user
from streaming.auth.anonymous import anonymous
from streaming.auth.keys import records
from streaming.exceptions import Forbidden, Unauthenticated
from streaming.principals import Principal

#: The lengths that the tables store of a principal's values.
MAX_CHARS = {"org_id": 128, "user": 64, "owner": 128, "credential": 64}
#: They know every caller: no other authenticator can follow.
LAST = ("streaming.auth.anonymous", "streaming.auth.open")
#: The names that a mistaken one may stand for.
KNOWN = [
    f"streaming.auth.{name}"
    for name in ("anonymous", "api_key", "header('X-Org-Id')", "open", "session")
]

_anonymous_rules: list[Callable[[], bool]] = []


async def authenticate(request: HttpRequest) -> Principal:
    """Return the caller of a request. Raises `Unauthenticated`, or as it is refused."""
    for authenticator in load(conf.get().authenticators):
        found = await authenticator(request)
        if isinstance(found, Principal):
            return _checked(found)
        if found is not None and is_user(found):
            return await organizations.principal_of(found, request)
    if any(admits() for admits in _anonymous_rules):
        return await anonymous(request)
    raise Unauthenticated


def admit_anonymous_if(rule: Callable[[], bool]) -> None:
    """Have callers without credentials authenticated as anonymous if `rule()` is true.

    `rule` is called for each such request.
    """
    _anonymous_rules.append(rule)


def require(principal: Principal, scope: str) -> None:
    """Raise `Forbidden` if a caller lacks a scope."""
    if not principal.allows(scope):
        raise Forbidden(f"These credentials lack the scope {scope}.")


def require_own_organization(principal: Principal, read: Any) -> None:  # noqa: ANN401
    """Raise `Forbidden` if the input of a request names another organization."""
    if "org_id" in read.model_fields_set and read.org_id != principal.org_id:
        raise Forbidden(
            "org_id: is not the organization of these credentials; leave it out."
        )


def _checked(principal: Principal) -> Principal:
    """Return a principal whose values the database accepts. Raises `ValueError`."""
    for name, limit in MAX_CHARS.items():
        value: object = getattr(principal, name)
        if not (isinstance(value, str) and len(value) <= limit and value.isprintable()):
            raise ValueError(
                f"Principal.{name} is {value!r:.100}: expected text of at most {limit} "
                "printable characters"
            )
    if not principal.org_id:
        raise ValueError("Principal.org_id is empty")
    return principal


def set_up() -> None:
    """Load what the settings name, and watch for revoked credentials, at the start.

    Raises `ImproperlyConfigured`.
    """
    load(conf.get().authenticators)
    organizations.load_function()
    sessions.connect()
    users.connect()
    records.connect()


@cache
def load(names: tuple[str, ...]) -> tuple[Authenticator, ...]:
    """Return the authenticators with these names. Raises `ImproperlyConfigured`."""
    if not names:
        raise ImproperlyConfigured(
            f"AUTHENTICATION is empty: expected one or more of {', '.join(KNOWN)}, or "
            "functions of your own."
        )
    for name in names[:-1]:
        if name in LAST:
            raise ImproperlyConfigured(
                f"AUTHENTICATION: {name} knows every caller, and must be the last of "
                "the list."
            )
    return tuple(map(_load, names))


def _load(name: str) -> Authenticator:
    call = _parse(name)
    try:
        found = conf.import_named("AUTHENTICATION", call.path)
        if call.is_call:
            found = found(*call.arguments, **call.keywords)
    except (ImproperlyConfigured, TypeError) as error:
        near = get_close_matches(name, KNOWN, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        sentence = str(error).replace(repr(call.path), repr(name))
        if not isinstance(error, ImproperlyConfigured):
            sentence = f"AUTHENTICATION={name!r}: {error}."
        raise ImproperlyConfigured(f"{sentence}{hint}") from error
    authenticator = adapt(found)
    if authenticator is None:
        raise ImproperlyConfigured(
            f"AUTHENTICATION={name!r}: expected a function of the request, a class of "
            "Django REST framework or django-ninja, or a call such as "
            "streaming.auth.header('X-Org-Id')."
        )
    return authenticator


class _Name(NamedTuple):
    """A dotted path, or a call of it such as `streaming.auth.header('X-Org-Id')`."""

    path: str
    is_call: bool = False
    arguments: tuple[Any, ...] = ()
    keywords: Mapping[str, Any] = {}


def _parse(name: str) -> _Name:
    path, parenthesis, _ = name.partition("(")
    if not parenthesis:
        return _Name(name)
    try:
        match ast.parse(name, mode="eval").body:
            case ast.Call(args=args, keywords=keywords):
                arguments = tuple(map(ast.literal_eval, args))
                named = {str(k.arg): ast.literal_eval(k.value) for k in keywords}
                return _Name(path.strip(), True, arguments, named)
    except (SyntaxError, ValueError):
        pass
    raise ImproperlyConfigured(
        f"AUTHENTICATION={name!r}: expected a dotted path, or a call of one with "
        "literal arguments, as in streaming.auth.header('X-Org-Id')."
    )
