"""Functions, and classes of other packages, as authenticators.

Classes of Django REST framework and of django-ninja serve as they are, where these
packages are installed. Synchronous code is called on a database thread.
"""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from django.http import HttpRequest, QueryDict

from streaming.exceptions import AgentError, Forbidden, Unauthenticated
from streaming.principals import Principal
from streaming.storage import database

#: Returns a principal, a user, or None for the request of another kind of caller.
Authenticator = Callable[[HttpRequest], Awaitable[Any]]


def adapt(found: object) -> Authenticator | None:
    """Return an object that a setting names as an authenticator; None if it is none."""
    if _is_kind(found, "rest_framework.authentication", "BaseAuthentication"):
        return _rest_framework(_instance(found))
    if _is_kind(found, "ninja.security.base", "AuthBase"):
        return _ninja(_instance(found))
    if isinstance(found, type) or not callable(found):
        return None
    calls = (found, getattr(found, "__call__", None))  # noqa: B004  (of an object)
    return found if any(map(inspect.iscoroutinefunction, calls)) else _in_thread(found)


def is_user(found: object) -> bool:
    """Return whether a user is logged in. Raises `TypeError` for another object."""
    if not hasattr(found, "is_authenticated"):
        kind = type(found).__name__
        raise TypeError(f"expected a Principal, a user or None, and not a {kind}")
    return bool(found.is_authenticated)


def _in_thread(function: Callable[[HttpRequest], Any]) -> Authenticator:
    def call(request: HttpRequest) -> object:
        found = function(request)
        if hasattr(found, "is_authenticated"):
            is_user(found)  # loads a lazy user here, and not on the event loop
        return found

    async def authenticate(request: HttpRequest) -> object:
        found = await database.execute_read_in(database.AUTH, call, request)
        return await found if inspect.isawaitable(found) else found

    return authenticate


def _rest_framework(authentication: Any) -> Authenticator:  # noqa: ANN401  (no types)
    from rest_framework.exceptions import APIException
    from rest_framework.request import Request

    def call(request: HttpRequest) -> object:
        _take_no_form(request)
        wrapped = Request(request, authenticators=[authentication])
        try:
            found = authentication.authenticate(wrapped)
        except APIException as error:
            raise _refusal(error, error.status_code) from error
        return found[0] if found else None

    return _in_thread(call)


def _ninja(auth: Any) -> Authenticator:  # noqa: ANN401  (the package is optional)
    from ninja.errors import AuthenticationError, HttpError

    def call(request: HttpRequest) -> object:
        _take_no_form(request)
        return _user_of(auth(request), request)

    async def call_async(request: HttpRequest) -> object:
        _take_no_form(request)
        found = auth(request)
        return _user_of(await found if inspect.isawaitable(found) else found, request)

    is_async = inspect.iscoroutinefunction(getattr(auth, "authenticate", None))
    function = call_async if is_async else _in_thread(call)

    async def authenticate(request: HttpRequest) -> object:
        try:
            return await function(request)
        except (AuthenticationError, HttpError) as error:
            raise _refusal(error, getattr(error, "status_code", 401)) from error

    return authenticate


def _user_of(found: object, request: HttpRequest) -> object:
    """Return the user for the result of django-ninja, which may be any true value."""
    if not found or isinstance(found, Principal) or hasattr(found, "is_authenticated"):
        return found or None
    return getattr(request, "user", found)


def _refusal(error: Exception, status: int) -> Exception:
    """Return the error of the API for another package's."""
    sentence = str(getattr(error, "detail", error))[:200]
    kinds: dict[int, type[AgentError]] = {401: Unauthenticated, 403: Forbidden}
    return kinds[status](sentence) if status in kinds else error


def _take_no_form(request: HttpRequest) -> None:
    """Keep a check of CSRF tokens from reading the body, which is JSON, as a form."""
    request.POST = QueryDict()


def _is_kind(found: object, module: str, name: str) -> bool:
    """Return whether an object is a class, or of a class, that has this base."""
    kind = found if isinstance(found, type) else type(found)
    return any((b.__module__, b.__name__) == (module, name) for b in kind.__mro__)


def _instance(found: Any) -> Any:  # noqa: ANN401  (a class of an optional package)
    return found() if isinstance(found, type) else found
