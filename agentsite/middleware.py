"""Django's middleware for pages, which skips requests to the API.

Each of Django's middleware costs an API request two thread hops without any use: the
API has no session, no CSRF cookie and no frame. The middleware is subclassed and not
wrapped, so that the admin's system checks recognise it. With `HTTPS`, the API refuses
plain HTTP, except from probes.
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

from agentsite.log import PROBES
from streaming.api.responses import error_response
from streaming.exceptions import Forbidden

API = "/api/"
API_PATHS = (API, *PROBES)

if TYPE_CHECKING:
    _Base = MiddlewareMixin
else:
    _Base = object


HTTPS_REQUIRED = Forbidden("This API requires HTTPS.")


class PagesOnly(_Base):
    """A mixin that skips the middleware for API paths."""

    def __call__(
        self, request: HttpRequest
    ) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if request.path_info.startswith(API_PATHS):
            return self.get_response(request)
        return super().__call__(request)


class PageSecurityMiddleware(PagesOnly, SecurityMiddleware):
    """HTTPS redirects and security headers for pages; no plain HTTP for the API.

    A redirect would hide from a client that its key and its prompt were sent in clear.
    """

    def __call__(
        self, request: HttpRequest
    ) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Refuse a request to the API over plain HTTP if HTTPS is required."""
        is_api = request.path_info.startswith(API)
        if self.redirect and is_api and not request.is_secure():
            return _refuse() if self.async_mode else error_response(HTTPS_REQUIRED)
        return super().__call__(request)


class PageSessionMiddleware(PagesOnly, SessionMiddleware):
    """Sessions for pages."""


class PageCommonMiddleware(PagesOnly, CommonMiddleware):
    """Trailing slashes for pages."""


class PageCsrfMiddleware(PagesOnly, CsrfViewMiddleware):
    """CSRF protection of the forms of pages."""

    async def process_view(  # type: ignore[override]  # Django adapts either
        self,
        request: HttpRequest,
        callback: Callable[..., HttpResponseBase],
        callback_args: tuple[object, ...],
        callback_kwargs: dict[str, object],
    ) -> HttpResponseBase | None:
        """Check a page's token; async, since Django runs a sync one in a thread."""
        if request.path_info.startswith(API_PATHS):
            return None
        check = sync_to_async(super().process_view)
        return await check(request, callback, callback_args, callback_kwargs)


class PageAuthenticationMiddleware(PagesOnly, AuthenticationMiddleware):
    """The user of the admin's pages."""


class PageMessageMiddleware(PagesOnly, MessageMiddleware):
    """Messages on the admin's pages."""


class PageFrameOptionsMiddleware(PagesOnly, XFrameOptionsMiddleware):
    """Protection of pages against embedding in frames."""


async def _refuse() -> HttpResponseBase:
    return error_response(HTTPS_REQUIRED)
