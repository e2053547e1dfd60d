"""The interactive demo page, a client of the API like any other."""

import posixpath
import re
from functools import cache
from pathlib import Path

from django.contrib.staticfiles import finders
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.templatetags.static import static
from django.views.decorators.http import require_safe

#: Forbids inline scripts and styles, other origins, and the use of text as HTML.
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

#: Optional libraries that npm installs; the page works without them.
LIBRARIES = ("marked", "remend", "highlight")
PAGE = "streaming/page/page.js"
_IMPORT = re.compile(r'^(?:import|export)\b[^"]*? from "(\.[^"]+)";', re.MULTILINE)


@require_safe
async def index(request: HttpRequest) -> HttpResponse:
    """Return the demo page."""
    # Rendered without the request: context processors would load a user.
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

    The page preloads them in one round of requests. Without the list, a browser
    discovers imports level by level, at the cost of one round trip for each level.
    """
    found = {PAGE: None}
    unread = [PAGE]
    while unread:
        module = unread.pop()
        source = Path(finders.find(module) or "").read_text()
        directory = posixpath.dirname(module)
        names = [
            posixpath.normpath(posixpath.join(directory, name))
            for name in _IMPORT.findall(source)
        ]
        unread += [name for name in names if name not in found]
        found |= dict.fromkeys(names)
    return list(found)[1:]


@require_safe
async def favicon(request: HttpRequest) -> HttpResponseRedirect:
    """Redirect from the path that browsers request when a page names no icon."""
    return HttpResponseRedirect(static("streaming/favicon.svg"))
