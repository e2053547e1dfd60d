"""The demo page as it is served."""

import re
from pathlib import Path

import pytest
from django.test import AsyncClient, override_settings

ROOT = Path(__file__).parents[1]
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


async def test_each_module_of_the_page_is_preloaded() -> None:
    page = (await AsyncClient().get("/")).content.decode()
    preloaded = re.findall(r'"modulepreload" href="/static/streaming/(.*?)"', page)
    static = ROOT / "static" / "streaming"
    modules = {str(path.relative_to(static)) for path in static.rglob("*.js")}
    not_imported = {"page/page.js", "page/before-paint.js", "client/agent-types.js"}
    assert set(preloaded) == modules - not_imported
    assert len(preloaded) == len(set(preloaded))


async def test_the_default_path_of_the_icon_redirects_to_it() -> None:
    response = await AsyncClient().get("/favicon.ico")
    assert response.status_code == 302
    assert response.headers["Location"] == "/static/streaming/favicon.svg"


@pytest.mark.parametrize("installed", [("marked", "highlight"), ()])
async def test_the_page_names_the_installed_libraries_and_no_other(
    installed: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "libraries").mkdir()
    for name in installed:
        (tmp_path / "libraries" / f"{name}.js").touch()
    with override_settings(STATICFILES_DIRS=[ROOT / "static", tmp_path]):
        page = (await AsyncClient().get("/")).content.decode()
    assert re.findall(r'name="library-(\w+)"', page) == list(installed)
    assert page.count("/static/libraries/") == len(installed) + ("marked" in installed)


def test_the_client_imports_only_its_own_folder() -> None:
    client = ROOT / "static" / "streaming" / "client"
    imported = {
        name
        for path in client.glob("*.js")
        for name in re.findall(r'(?:from|import\()\s*"(.*?)"', path.read_text())
    }
    assert imported <= {f"./{path.name}" for path in client.iterdir()}
