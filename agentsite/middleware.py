"""Django's middleware for pages, kept off the API's path.

Each of Django's middleware costs the API two thread hops and gives it nothing: it has
no session, no CSRF cookie, no frame. They are subclassed rather than wrapped so that
the admin's system checks still recognise them.
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from asgiref.sync import sync_to_async
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.common import CommonMiddleware
from django.middleware.csrf import CsrfViewMiddleware
from django.middleware.security import SecurityMiddleware
from django.utils.deprecation import MiddlewareMixin

API_PATHS = ("/api/", "/health", "/ready")

if TYPE_CHECKING:
    _Base = MiddlewareMixin
else:
    _Base = object


class PagesOnly(_Base):
    """Steps aside for API paths."""

    def __call__(
        self, request: HttpRequest
    ) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if request.path_info.startswith(API_PATHS):
            return self.get_response(request)
        return super().__call__(request)


class PageSecurityMiddleware(PagesOnly, SecurityMiddleware):
    """HTTPS redirect and security headers."""


class PageSessionMiddleware(PagesOnly, SessionMiddleware):
    """Sessions."""


class PageCommonMiddleware(PagesOnly, CommonMiddleware):
    """Trailing slashes."""


class PageCsrfMiddleware(PagesOnly, CsrfViewMiddleware):
    """CSRF protection of forms."""

    async def process_view(  # type: ignore[override]  # Django adapts either
        self,
        request: HttpRequest,
        callback: Callable[..., HttpResponseBase],
        callback_args: tuple[object, ...],
        callback_kwargs: dict[str, object],
    ) -> HttpResponseBase | None:
        """Async, or Django would go to a thread for it on the API's path too."""
        if request.path_info.startswith(API_PATHS):
            return None
        check = sync_to_async(super().process_view)
        return await check(request, callback, callback_args, callback_kwargs)


class PageAuthenticationMiddleware(PagesOnly, AuthenticationMiddleware):
    """The admin's user."""


class PageMessageMiddleware(PagesOnly, MessageMiddleware):
    """The admin's notices."""


class PageFrameOptionsMiddleware(PagesOnly, XFrameOptionsMiddleware):
    """No embedding in frames."""
