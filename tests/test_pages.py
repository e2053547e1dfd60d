"""The demo page as it is served."""

import base64
import hashlib
import html
import json
import posixpath
import re
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command
from django.test import AsyncClient, override_settings

from tests.installed import static_directory

STATIC = static_directory()
IMPORT = r'(?:from|import\()\s*(?:/\*\*/ )?"(.*?)"'
INLINE = re.compile(r"<script(?![^>]* src=)|<style|\s(on\w+|style)=", re.IGNORECASE)


async def test_the_page_allows_nothing_inline_and_no_other_origin() -> None:
    response = await AsyncClient().get("/")
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "require-trusted-types-for 'script'" in policy
    assert "unsafe" not in policy and "http" not in policy
    assert not INLINE.search(response.content.decode())


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_the_page_can_only_be_read(method: str) -> None:
    response = await AsyncClient().generic(method, "/")
    assert response.status_code == 405
    assert response.headers["Allow"] == "GET, HEAD"


def imports_of(name: str) -> set[str]:
    """Return the modules that a module imports at once."""
    source = (STATIC / "streaming" / name).read_text()
    # The modules of the wheel have a comment before the name (`hatch_build.py`).
    form = r'^(?:import|export)\b(?:[^"]*? from)? (?:/\*\*/ )?"(\..+?)";'
    found = re.findall(form, source, re.M)
    joined = (posixpath.join(posixpath.dirname(name), each) for each in found)
    return {posixpath.normpath(each) for each in joined}


async def test_each_module_that_the_page_imports_is_preloaded() -> None:
    page = (await AsyncClient().get("/")).content.decode()
    preloaded = re.findall(r'"modulepreload" href="/static/streaming/(.*?)"', page)
    modules = [name for name in preloaded if not name.startswith("libraries/")]
    assert len(preloaded) == len(set(preloaded))
    imported = {
        each for name in ("page/page.js", *modules) for each in imports_of(name)
    }
    assert imported == set(modules)
    assert {"chat/chat.js", "client/sse.js", "page/settings.js"} < imported


HASHED = "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"


async def test_an_import_map_leads_to_hashed_files(tmp_path: Path) -> None:
    storages = {**settings.STORAGES, "staticfiles": {"BACKEND": HASHED}}
    with override_settings(
        STORAGES=storages, STATIC_ROOT=tmp_path, STATICFILES_DIRS=[STATIC]
    ):
        call_command("collectstatic", interactive=False, verbosity=0)
        response = await AsyncClient().get("/")
    page = response.content.decode()
    [written] = re.findall(r'<script type="importmap">(.*?)</script>', page)
    mapped: dict[str, str] = json.loads(written)["imports"]
    for plain, hashed in mapped.items():
        assert (tmp_path / hashed.removeprefix("/static/")).is_file()
        assert (STATIC / plain.removeprefix("/static/")).is_file()
    later = "/static/streaming/page/inspector.js"
    assert re.fullmatch(r".*/inspector\.[0-9a-f]{12}\.js", mapped[later])
    assert page.index("importmap") < page.index("modulepreload")
    digest = base64.b64encode(hashlib.sha256(written.encode()).digest()).decode()
    policy = response.headers["Content-Security-Policy"]
    assert policy.endswith(f"; script-src 'self' 'sha256-{digest}'")


async def test_the_default_path_of_the_icon_redirects_to_it() -> None:
    response = await AsyncClient().get("/favicon.ico")
    assert response.status_code == 302
    assert response.headers["Location"] == "/static/streaming/favicon.svg"


@pytest.mark.parametrize("installed", [("marked", "highlight"), ()])
async def test_the_page_names_the_libraries_that_exist(
    installed: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "libraries").mkdir()
    for name in installed:
        (tmp_path / "libraries" / f"{name}.js").touch()
    found = [STATIC, ("streaming", tmp_path)]
    with override_settings(STATICFILES_DIRS=found):
        page = (await AsyncClient().get("/")).content.decode()
    [named] = re.findall(r'libraries="(.*?)"', page)
    assert list(json.loads(html.unescape(named))) == list(installed)
    shown = page.count("/static/streaming/libraries/")
    assert shown == len(installed) + ("marked" in installed)


def test_the_client_imports_only_its_own_folder() -> None:
    client = STATIC / "streaming" / "client"
    imported = {
        name
        for path in client.glob("*.js")
        for name in re.findall(IMPORT, path.read_text())
    }
    assert imported <= {f"./{path.name}" for path in client.iterdir()}
