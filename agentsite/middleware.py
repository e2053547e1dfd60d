"""Django's middleware for pages, which skips requests to the API.

Each of Django's middleware costs an API request two thread hops without any use: the
API has no session, no CSRF cookie and no frame. The middleware is subclassed and not
wrapped, so that the admin's system checks recognise it. With `HTTPS`, the API and the
metrics refuse plain HTTP; the probes of health and readiness may use it.
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from asgiref.sync import sync_to_async
from django.conf import settings
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

from agentsite import content_security
from agentsite.content_security import nonce_of
from agentsite.log import METRICS, PROBES
from streaming.api.responses import error_response
from streaming.exceptions import Forbidden

API = "/api/"
API_PATHS = (API, *PROBES)

if TYPE_CHECKING:
    _Base = MiddlewareMixin
else:
    _Base = object


#: Features of browsers that no page of the site uses, nor a script in it may.
UNUSED_FEATURES = ", ".join(
    f"{feature}=()"
    for feature in ("camera", "geolocation", "microphone", "payment", "usb")
)
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
    """HTTPS redirects and security headers for pages; no plain HTTP with credentials.

    A redirect would hide from a client of the API that its key and its prompt were sent
    in clear, and from a scraper that its token was.
    """

    def __call__(
        self, request: HttpRequest
    ) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Refuse plain HTTP to the API and to the metrics if HTTPS is required."""
        path = request.path_info
        has_credentials = path.startswith(API) or path == METRICS
        if self.redirect and has_credentials and not request.is_secure():
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


class PagePolicyMiddleware(PagesOnly, MiddlewareMixin):
    """The content security policy of pages, and the features that none of them uses."""

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        """Add the headers; async, since Django would do it in a thread."""
        response: HttpResponseBase = await self.get_response(request)  # type: ignore[misc]
        return self.process_response(request, response)

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        """Add the headers that the view has not set.

        With DEBUG, Django's pages of errors have inline styles and scripts.
        """
        response.headers.setdefault("Permissions-Policy", UNUSED_FEATURES)
        if not (settings.DEBUG and response.status_code in (404, 500)):
            policy = content_security.policy(nonce_of(request).value)
            response.headers.setdefault(content_security.HEADER, policy)
        return response


async def _refuse() -> HttpResponseBase:
    return error_response(HTTPS_REQUIRED)
