"""Private parts of libraries are used in few places, each with a contract test."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("private parts")  # one look serves them

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "design" / "private-parts.md"

#: The places in which private parts may be used.
CONFINED = (
    "streaming/server/",
    "streaming/storage/",
    "streaming/auth/logins.py",
    "streaming/providers/http_transport.py",
    "streaming/providers/streaming_response.py",
    "streaming/management/commands/runserver.py",
)

#: What the libraries document, as far as it is used elsewhere: modules, or names in
#: modules of which only some names are documented.
DOCUMENTED = {
    "aiohttp",
    "aiohttp.web",
    "anthropic",
    "asgiref.sync.async_to_sync",
    "asgiref.sync.iscoroutinefunction",
    "asgiref.sync.markcoroutinefunction",
    "asgiref.sync.sync_to_async",
    "django",
    "django.apps",
    "django.conf",
    "django.contrib.admin",
    "django.contrib.admin.utils.quote",
    "django.contrib.auth.backends",
    "django.contrib.auth.decorators.login_not_required",
    "django.contrib.auth.forms",
    "django.contrib.auth.get_permission_codename",
    "django.contrib.auth.get_user_model",
    "django.contrib.auth.middleware",
    "django.contrib.auth.models",
    "django.contrib.auth.signals",
    "django.contrib.auth.views",
    "django.contrib.auth.views.redirect_to_login",
    "django.contrib.humanize.templatetags.humanize.intcomma",
    "django.contrib.messages",
    "django.contrib.messages.middleware",
    "django.contrib.sessions.backends",
    "django.contrib.sessions.backends.base",
    "django.contrib.sessions.middleware",
    "django.contrib.staticfiles.finders",
    "django.contrib.staticfiles.storage",
    "django.core.cache.caches",
    "django.core.checks",
    "django.core.exceptions",
    "django.core.management.base",
    "django.core.management.utils.get_random_secret_key",
    "django.core.paginator",
    "django.core.signals.setting_changed",
    "django.core.signing",
    "django.core.validators.MinValueValidator",
    "django.db",
    "django.db.models",
    "django.db.models.functions",
    "django.db.transaction.non_atomic_requests",
    "django.dispatch",
    "django.http",
    "django.http.response.HttpResponseBase",
    "django.middleware.clickjacking",
    "django.middleware.common",
    "django.middleware.csrf",
    "django.middleware.security",
    "django.shortcuts.redirect",
    "django.template",
    "django.template.base",
    "django.template.loader",
    "django.template.response.TemplateResponse",
    "django.templatetags.static.static",
    "django.urls",
    "django.utils.dateparse",
    "django.utils.deprecation.MiddlewareMixin",
    "django.utils.html",
    "django.utils.module_loading.import_string",
    "django.utils.safestring",
    "django.utils.timezone",
    "django.utils.translation",
    "django.views.decorators.csrf",
    "django.views.decorators.http",
    "django.views.generic",
    "httpx2",
    "openai",
    "servestatic",
    "uvicorn",
}
LIBRARIES = {name.partition(".")[0] for name in DOCUMENTED}
#: Attributes with an underscore that are documented.
PUBLIC_ATTRIBUTES = {
    *("_asdict", "_current_frames", "_default_manager", "_exit", "_fields", "_meta"),
    "_replace",
}
#: Names of the table that other code uses in another, documented sense.
COMMON = {"column", "has_header", "scope_of"}

ROW = re.compile(r"^\| .+ \| .+ \| (`.+`) \| (.+) \| `(test_\w+)` \|$", re.MULTILINE)


class Part:
    """A row of the table."""

    def __init__(self, names: str, places: str, test: str) -> None:
        self.names = set(re.findall(r"`(\w+)`", names))
        self.places = [f"streaming/{place}.py" for place in places.split(", ")]
        self.test = test


PARTS = [Part(*row) for row in ROW.findall(DOCUMENT.read_text())]
LISTED = {name for part in PARTS for name in part.names}


def sources(*packages: str) -> dict[str, str]:
    return {
        path.relative_to(ROOT).as_posix(): path.read_text()
        for package in packages
        for path in sorted((ROOT / package).rglob("*.py"))
        if "migrations" not in path.parts[-2:]
    }


SOURCES = sources("streaming", "agentsite")


@cache
def own() -> set[str]:
    """Return the names with an underscore that this code itself defines.

    Not at the import, since each worker imports all tests.
    """
    names: set[str] = set()
    trees = (ast.parse(text) for text in SOURCES.values())
    for node in (node for tree in trees for node in ast.walk(tree)):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                names.add(name)
            case ast.ClassDef(name=name) | ast.Name(id=name, ctx=ast.Store()):
                names.add(name)
            case ast.Attribute(value=ast.Name("self"), attr=name, ctx=ast.Store()):
                names.add(name)
    return names


def uses(text: str, defined: set[str]) -> Iterator[str]:
    """Return the private parts that a module uses."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(module), names=names):
                for name in names:
                    if not documented(module, name.name):
                        yield f"{module}.{name.name}"
            case ast.Import(names=names):
                for name in names:
                    if not documented(name.name, ""):
                        yield name.name
            case ast.Attribute(attr=attr):
                private = attr.startswith("_") and not attr.startswith("__")
                foreign = private and attr not in defined | PUBLIC_ATTRIBUTES
                if foreign or attr in LISTED - COMMON - defined:
                    yield attr


def documented(module: str, name: str) -> bool:
    """Return true if an import is documented, or not from one of the libraries."""
    if module.partition(".")[0] not in LIBRARIES:
        return True
    full = f"{module}.{name}"
    return name not in LISTED and (module in DOCUMENTED or full in DOCUMENTED)


@pytest.mark.parametrize(
    "path", [path for path in SOURCES if not path.startswith(CONFINED)]
)
def test_no_other_module_uses_private_parts(path: str) -> None:
    assert list(uses(SOURCES[path], own())) == [], f"{path}: see {DOCUMENT.name}"


@pytest.mark.parametrize(
    ("text", "use"),
    [
        ("from django.core.handlers.base import reset_urlconf", "reset_urlconf"),
        ("from django.db import close_old_connections", "close_old_connections"),
        ("import aiohttp.client_proto", "aiohttp.client_proto"),
        ("row._state.adding = False", "_state"),
        ("response._handler_class", "_handler_class"),
        ("connection.ops.quote_name('x')", "quote_name"),
        ("self._reading_paused", "_reading_paused"),
    ],
)
def test_a_use_elsewhere_is_found(text: str, use: str) -> None:
    assert any(found.endswith(use) for found in uses(text, set()))


def test_the_table_is_complete_and_true() -> None:
    assert len(PARTS) > 20
    tests = sources("tests")
    contracts = {
        name: path
        for path, text in tests.items()
        if path.endswith("/test_private_parts.py") and path.count("/") > 1
        for name in re.findall(r"^(?:async )?def (test_\w+)", text, re.MULTILINE)
    }
    assert sorted({part.test for part in PARTS}) == sorted(contracts)
    for part in PARTS:
        for name in part.names:
            text = "".join(SOURCES[place] for place in part.places)
            assert re.search(rf"\b{name}\b", text), f"{name} is not in {part.places}"
        assert all(place.startswith(CONFINED) for place in part.places)


def test_each_private_attribute_is_in_the_table() -> None:
    for path, text in SOURCES.items():
        if path.startswith(CONFINED):
            attributes = {
                node.attr
                for node in ast.walk(ast.parse(text))
                if isinstance(node, ast.Attribute)
                and node.attr.startswith("_")
                and not node.attr.startswith("__")
            }
            foreign = attributes - own() - PUBLIC_ATTRIBUTES
            assert foreign <= LISTED, f"{path}: see {DOCUMENT.name}"
