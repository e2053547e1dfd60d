"""Checks of the pages of a project over HTTP: the demo page and the admin."""

import json
import re
from collections.abc import Callable
from urllib.parse import urljoin

import httpx

from tests.servers import ROOT

LINK = re.compile(r'(?:src|href)="([^"#]+)"')
IMPORT_MAP = re.compile(r'<script type="importmap"[^>]*>(.*?)</script>', re.DOTALL)
MODULE = re.compile(r'<script type="module" src="([^"]+)"')
IMPORT = re.compile(
    r'^(?:import|export)\b(?:[^"]*? from)? (?:/\*\*/ )?"(\.[^"]+)"', re.MULTILINE
)
HASH = re.compile(r"\.[0-9a-f]{12}\.\w+$")
LIBRARIES = ROOT / "node_modules/.browser/libraries"

#: Returns the text of a static file by its URL, and fails if there is none.
ReadStatic = Callable[[str], str]


def read_over_http(client: httpx.Client) -> ReadStatic:
    """Return a function that gets static files from the server."""

    def read(url: str) -> str:
        response = client.get(url)
        assert response.status_code == 200, url
        return response.text

    return read


def check_page(
    client: httpx.Client, path: str, *, hashed: bool, read: ReadStatic | None = None
) -> None:
    """Check that all files of the demo page exist, and that each is loaded once."""
    read = read or read_over_http(client)
    response = client.get(path)
    assert response.status_code == 200
    page = response.text
    found = IMPORT_MAP.search(page)
    assert bool(found) == hashed
    mapped: dict[str, str] = json.loads(found[1])["imports"] if found else {}
    links = [link for link in LINK.findall(page) if link.startswith("/static/")]
    assert len(links) > 30
    if LIBRARIES.is_dir():
        assert any("/streaming/libraries/marked" in link for link in links)
    for link in links:
        assert bool(HASH.search(link)) == hashed, link
        read(link)
    starts = MODULE.findall(page)
    loaded = {url for start in starts for url in modules_from(start, mapped, read)}
    assert loaded - {*starts} <= {*links}, "a module is loaded that is not preloaded"
    assert len(loaded) > 20


def modules_from(start: str, mapped: dict[str, str], read: ReadStatic) -> set[str]:
    """Return the URLs of a module and of all that it imports, as a browser loads it."""
    loaded, unread = {start}, [start]
    while unread:
        url = unread.pop()
        for name in IMPORT.findall(read(url)):
            imported = urljoin(url, name)
            imported = mapped.get(imported, imported)
            if imported not in loaded:
                loaded.add(imported)
                unread.append(imported)
    return loaded


def login(client: httpx.Client, name: str, password: str) -> None:
    """Log in to the admin."""
    assert client.get("/admin/login/").status_code == 200
    form = {
        "username": name,
        "password": password,
        "csrfmiddlewaretoken": client.cookies["csrftoken"],
        "next": "/admin/",
    }
    response = client.post("/admin/login/", data=form)
    assert (response.status_code, response.headers.get("location")) == (302, "/admin/")
