"""The interactive demo page, a client of the API like any other."""

import re
from functools import cache
from pathlib import Path

from django.contrib.staticfiles import finders
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.templatetags.static import static
from django.views.decorators.http import require_safe

#: No inline script or style, no other origin, and no text ever parsed as HTML.
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

#: Libraries that npm installs for the page; it works without them.
LIBRARIES = ("marked", "remend", "highlight")
PAGE = "streaming/page.js"
_IMPORT = re.compile(r'^(?:import|export)\b[^"]*? from "\./([^"]+)";', re.MULTILINE)


@require_safe
async def index(request: HttpRequest) -> HttpResponse:
    """Return the page."""
    # Without the request, so that no context processor reads its user.
    files = {name: f"libraries/{name}.js" for name in LIBRARIES}
    found = {name: file for name, file in files.items() if finders.find(file)}
    context = {"libraries": found, "modules": modules()}
    page = render_to_string("streaming/index.html", context)
    return HttpResponse(
        page, headers={"Content-Security-Policy": CONTENT_SECURITY_POLICY}
    )


@cache
def modules() -> list[str]:
    """Return all modules that the page's module imports, directly or not.

    The page names them, so that a browser loads them at once; it would otherwise need
    one round trip for each level of imports.
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
    """Redirect to the icon from its default path: the admin's pages name none."""
    return HttpResponseRedirect(static("streaming/favicon.svg"))
