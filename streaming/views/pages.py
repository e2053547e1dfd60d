"""The interactive demo page: a client of the API like any other."""

from django.contrib.staticfiles import finders
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.templatetags.static import static
from django.views.decorators.http import require_safe

#: No inline script or style, nothing from elsewhere, and no text ever read as HTML.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)

#: What npm brings for the page, where it did; the page does without.
LIBRARIES = ("marked", "remend", "highlight")


@require_safe
async def index(request: HttpRequest) -> HttpResponse:
    """The page."""
    # Without the request: no context processor may look for a user here.
    files = {name: f"libraries/{name}.js" for name in LIBRARIES}
    found = {name: file for name, file in files.items() if finders.find(file)}
    page = render_to_string("streaming/index.html", {"libraries": found})
    return HttpResponse(
        page, headers={"Content-Security-Policy": CONTENT_SECURITY_POLICY}
    )


@require_safe
async def favicon(request: HttpRequest) -> HttpResponseRedirect:
    """The icon, where browsers look for one: pages of Django's admin name none."""
    return HttpResponseRedirect(static("streaming/favicon.svg"))
