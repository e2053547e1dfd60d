"""The interactive demo page, a client of the API like any other."""

import base64
import hashlib
import re
from urllib.parse import urlsplit

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.templatetags.static import static
from django.urls import NoReverseMatch, reverse
from django.views.decorators.http import require_safe

from streaming import conf
from streaming.agents import registry
from streaming.agents.declaration import Agent
from streaming.api.agents import public_agent, select_agent
from streaming.api.responses import UNCACHED
from streaming.api.schemas import OrgQuery, query
from streaming.auth.anonymous import anonymous
from streaming.auth.chain import authenticate
from streaming.auth.requests import complete_response, declare_input
from streaming.exceptions import AgentError
from streaming.storage.errors import is_temporary

#: Forbids inline styles, other origins, and the use of text as HTML. Inline scripts are
#: forbidden as well, except the import map of hashed files.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
_IMPORT_MAP = re.compile(r'<script type="importmap"[^>]*>(.*?)</script>', re.DOTALL)
ICON = "streaming/favicon.svg"
#: The authenticator that needs a CSRF token.
SESSION, ANONYMOUS = "streaming.auth.session", "streaming.auth.anonymous"
#: Opening questions, which the demo model answers.
QUESTIONS = (
    {"title": "Explain", "prompt": "Explain how photosynthesis works"},
    {
        "title": "Calculate",
        "prompt": "Calculate the compound interest for $5000 at 3.5% annual rate for "
        "8 years",
    },
    {
        "title": "Reason",
        "prompt": "Think through this step by step: If I have 20 apples and give away "
        "3/4 of them, then buy twice as many as I gave away, how many apples do I "
        "have?",
    },
    {
        "title": "Deduce",
        "prompt": "Using step-by-step reasoning, solve this logic puzzle: Three "
        "friends, Ann, Bob and Cleo, have different colored cars: red, blue and "
        "green. Ann's car is not red. Bob's car is blue. Which car does each of them "
        "have?",
    },
    {
        "title": "Tools in parallel",
        "prompt": "What time is it in Tokyo, Berlin and New York?",
    },
    {
        "title": "A tool that fails",
        "prompt": "What time is it in Paris and in Atlantis?",
    },
)


@require_safe
async def index(request: HttpRequest) -> HttpResponse:
    """Return the demo page."""
    agents = registry.get()
    agent = await _known_agent(request)
    shown = agent or agents.of_settings
    values: dict[str, object] = {
        "title": shown.title or shown.name,
        "questions": shown.opening_questions or (QUESTIONS if agent else ()),
        "several": len(agents.offered) > 1,
        "admin": _admin_url(),
    }
    if SESSION in conf.get().authenticators:
        values["request"] = request  # the chat sends its CSRF token back
        values["sign_in"] = redirect_to_login(request.get_full_path()).url
    # Rendered without context processors, which would load a user.
    page = render_to_string("streaming/index.html", values)
    response = page_response(page)
    if ANONYMOUS in conf.get().authenticators:
        # The page sends several requests at once: all have the caller's cookie.
        await anonymous(request)
    complete_response(request, response)
    return response


async def _known_agent(request: HttpRequest) -> Agent | None:
    """Return the default agent; None if it is restricted, and the caller not permitted.

    The page is shown to all: its chat asks for the credentials.
    """
    if agent := public_agent(None):
        return agent
    declare_input(request, query(OrgQuery))
    try:
        return await select_agent(None, await authenticate(request))
    except Exception as error:
        if isinstance(error, AgentError) or is_temporary(error):
            return None
        raise


def page_response(page: str) -> HttpResponse:
    """Return a rendered page, whose policy allows static files of a CDN if they are.

    No cache keeps it: it may carry the identity of an anonymous caller in a cookie.
    """
    url = urlsplit(static(ICON))
    cdn = f" {url.scheme or 'https'}://{url.netloc}" if url.netloc else ""
    policy = f"default-src 'self'{cdn}; {CONTENT_SECURITY_POLICY}"
    if found := _IMPORT_MAP.search(page):
        digest = base64.b64encode(hashlib.sha256(found[1].encode()).digest())
        policy += f"; script-src 'self'{cdn} 'sha256-{digest.decode()}'"
    headers = {
        "Content-Security-Policy": policy,
        "Cache-Control": UNCACHED,
        "Vary": "Cookie",
    }
    return HttpResponse(page, headers=headers)


def _admin_url() -> str:
    """Return the path of the admin; empty in a project without it."""
    try:
        return reverse("admin:index")
    except NoReverseMatch:
        return ""


@require_safe
async def favicon(request: HttpRequest) -> HttpResponseRedirect:
    """Redirect from the path that browsers request when a page names no icon."""
    return HttpResponseRedirect(static(ICON))
