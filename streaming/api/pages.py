"""The interactive demo page: a client of the API like any other."""

import re
from functools import cache
from pathlib import Path

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
PAGE = "streaming/page.js"
_IMPORT = re.compile(r'^(?:import|export)\b[^"]*? from "\./([^"]+)";', re.MULTILINE)


@require_safe
async def index(request: HttpRequest) -> HttpResponse:
    """The page."""
    # Without the request: no context processor may look for a user here.
    files = {name: f"libraries/{name}.js" for name in LIBRARIES}
    found = {name: file for name, file in files.items() if finders.find(file)}
    context = {"libraries": found, "modules": modules()}
    page = render_to_string("streaming/index.html", context)
    return HttpResponse(
        page, headers={"Content-Security-Policy": CONTENT_SECURITY_POLICY}
    )


@cache
def modules() -> list[str]:
    """What the page's module imports, and what that imports: to be loaded at once.

    Browsers learn of each only when they have read who imports it, a journey a step.
    """
    found = {PAGE: None}
    unread = [PAGE]
    while unread:
        source = Path(finders.find(unread.pop()) or "").read_text()
        names = [f"streaming/{name}" for name in _IMPORT.findall(source)]
        unread += [name for name in names if name not in found]
        found |= dict.fromkeys(names)
    return list(found)[1:]


@require_safe
async def favicon(request: HttpRequest) -> HttpResponseRedirect:
    """The icon, where browsers look for one: pages of Django's admin name none."""
    return HttpResponseRedirect(static("streaming/favicon.svg"))
