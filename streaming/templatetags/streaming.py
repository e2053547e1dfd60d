"""Template tags that embed a chat: `agent_chat`, and `agent_chat_script` before it."""

import difflib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.middleware.csrf import get_token
from django.template import Context, Library, Node, TemplateSyntaxError
from django.template.base import FilterExpression, Parser, Token, token_kwargs
from django.template.loader import render_to_string
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from streaming.agents import registry
from streaming.agents.declaration import Agent
from streaming.agents.registry import UnknownAgent
from streaming.assets import CHAT, LATE, import_map, library_urls, module_urls

register = Library()

LAYOUTS = ("inline", "floating", "page")
THEMES = ("light", "dark", "inherit")
#: The options of the tag; most become attributes of the element.
OPTIONS = (
    "context",
    "details",
    "heading",
    "history",
    "id",
    "intro",
    "lang",
    "layout",
    "placeholder",
    "questions",
    "request",
    "sign_in",
    "slots",
    "texts",
    "theme",
)
#: The key of a rendering whose page has the import map.
IMPORT_MAP = "streaming.import_map"
#: Names of the route below the API's base: with a namespace, and without.
ROUTES = ("streaming:metadata", "metadata")


@register.tag
def agent_chat(parser: Parser, token: Token) -> Node:
    """Embed a chat: `{% agent_chat "support" layout="floating" %}`.

    The name of the agent may be omitted for the project's default agent.
    """
    tag, *bits = token.split_contents()
    agent = None
    if bits and not token_kwargs(bits[:1], parser):
        agent = parser.compile_filter(bits.pop(0))
    options = token_kwargs(bits, parser)
    if bits:
        raise TemplateSyntaxError(f"{{% {tag} %}}: expected name=value, not {bits[0]}.")
    for name in options:
        if name not in OPTIONS:
            hint = _hint(name, OPTIONS)
            raise TemplateSyntaxError(
                f"{{% {tag} %}}: there is no option {name}.{hint}"
            )
    return AgentChatNode(agent, options)


@register.simple_tag(takes_context=True)
def agent_chat_import_map(context: Context) -> SafeString:
    """Map the modules' imports to files with hashes: before all scripts of a page.

    Empty without hashes. A page has one import map: another one needs its own.
    """
    mapped = import_map()
    if not mapped:
        return SafeString("")
    values: Any = context.render_context
    values[IMPORT_MAP] = True
    text = json.dumps({"imports": mapped}).replace("<", r"\u003c")
    return format_html(
        '<script type="importmap"{}>{}</script>', _nonce(context), SafeString(text)
    )


@register.simple_tag(takes_context=True)
def agent_chat_script(context: Context, module: str = CHAT) -> SafeString:
    """Load the element's module: in a page's head, so that it is loaded early."""
    named = _named(context)
    nonce = _nonce(context)
    mapped = import_map() if IMPORT_MAP in context.render_context else {}
    script, *imported = (mapped.get(url, url) for url in module_urls(module))
    libraries = [url for name, url in library_urls().items() if name != LATE]
    new = [url for url in (*libraries, *imported) if url not in named]
    named.update(new, [script])
    links = format_html_join(
        "\n",
        '<link rel="modulepreload" href="{}"{}>',
        ((url, nonce) for url in new),
    )
    return format_html(
        '{}\n<script type="module" src="{}"{}></script>', links, script, nonce
    )


class AgentChatNode(Node):
    """An element `<agent-chat>`, preceded by its script where the page lacks it."""

    def __init__(
        self, agent: FilterExpression | None, options: Mapping[str, FilterExpression]
    ) -> None:
        self._agent = agent
        self._options = options

    def render(self, context: Context) -> SafeString:
        """Return the HTML."""
        options = {
            name: value.resolve(context) for name, value in self._options.items()
        }
        name = self._agent.resolve(context) if self._agent else ""
        agent = _find_agent(str(name or ""))
        if not options.get("heading"):
            options["heading"] = agent.title or agent.name
        slots = options.pop("slots", None)
        values: Any = context.flatten()
        content = render_to_string(slots, values) if slots else ""
        attributes = {
            "api": _api(),
            "agent": name or None,
            "libraries": json.dumps(library_urls()),
            **_csrf(context),
            **_attributes(options),
        }
        is_named = module_urls(CHAT)[0] in _named(context)
        script = "" if is_named else agent_chat_script(context)
        written = format_html_join(
            "",
            ' {}="{}"',
            ((name, value) for name, value in attributes.items() if value is not None),
        )
        return format_html(
            "{}<agent-chat{}>{}</agent-chat>", script, written, SafeString(content)
        )


def _find_agent(name: str) -> Agent:
    """Return the agent of a name; without one, the default."""
    agents = registry.get()
    try:
        return agents.select(name or None)
    except UnknownAgent:
        hint = _hint(name, [*agents.offered])
        raise TemplateSyntaxError(
            f"{{% agent_chat %}}: there is no agent {name!r}.{hint}"
        ) from None


def _named(context: Context) -> set[str]:
    """Return the modules that this rendering of a template has named so far."""
    values: Any = context.render_context
    named: set[str] = values.setdefault("streaming.modules", set())
    return named


def _attributes(options: Mapping[str, Any]) -> dict[str, str | None]:
    """Return the attributes of options; lists and objects become JSON."""
    for name, allowed in (("layout", LAYOUTS), ("theme", THEMES)):
        if options.get(name) and options[name] not in allowed:
            raise TemplateSyntaxError(
                f"{{% agent_chat %}}: {name} is {options[name]!r}; "
                f"expected {', '.join(allowed)}."
            )
    return {
        name.replace("_", "-"): _attribute(name, value)
        for name, value in options.items()
    }


def _attribute(name: str, value: object) -> str | None:
    if name == "history":
        return None if value else "off"
    if value is None or value is False or value == "":
        return None
    if value is True:
        return ""
    if name == "context" and isinstance(value, Mapping):
        value = {str(key): str(each) for key, each in value.items()}
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, default=str)
    return str(value)


def _api() -> str:
    """Return the path of the API, wherever the project includes its URLs."""
    for route in ROUTES:
        try:
            return reverse(route).removesuffix("metadata")
        except NoReverseMatch:
            continue
    raise TemplateSyntaxError(
        "{% agent_chat %}: the URLs of the agent are missing: add "
        'path("agents/", include("streaming.urls")) to urlpatterns.'
    )


def _csrf(context: Context) -> dict[str, str]:
    """Return the CSRF token of a page, or the cookie from which scripts can read it."""
    request: HttpRequest | None = context.get("request")
    if request is None:
        return {}
    token = get_token(request)  # sets the cookie
    header = settings.CSRF_HEADER_NAME.removeprefix("HTTP_").replace("_", "-").title()
    names = {} if header == "X-Csrftoken" else {"csrf-header": header}
    if settings.CSRF_USE_SESSIONS or settings.CSRF_COOKIE_HTTPONLY:
        return {"csrf-token": token, **names}
    return {"csrf-cookie": settings.CSRF_COOKIE_NAME, **names}


def _nonce(context: Context) -> SafeString:
    """Return the attribute of the page's CSP nonce, if it has one.

    Django's context processor names it `csp_nonce`; Django's middleware and django-csp
    keep it on the request. It is created when it is written: its truth tells nothing.
    """
    request = context.get("request")
    nonce = context.get("csp_nonce")
    for name in ("_csp_nonce", "csp_nonce"):
        if nonce is None:
            nonce = getattr(request, name, None)
    return SafeString("") if nonce is None else format_html(' nonce="{}"', str(nonce))


def _hint(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f" Did you mean {close[0]}?" if close else f" Known: {', '.join(known)}."
