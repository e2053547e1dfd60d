"""A site below a path of its host, behind proxies that remove the path or keep it."""

import re
from collections.abc import Sequence
from contextlib import closing

import httpx
import pytest

from streaming.testing.server import Server
from streaming.testing.sse import parse
from tests.client import API
from tests.processes.conftest import Make
from tests.servers import SECONDS, UVICORN

LINK = re.compile(r'(?:src|href|content)="([^"]*/static/[^"]+)"')


class Proxy:
    """A client that sends what a proxy in front of the server would send."""

    def __init__(self, server: Server, prefix: str, *, strips: bool) -> None:
        self.prefix = prefix
        self._strips = strips
        self._client = httpx.Client(base_url=server.url, timeout=SECONDS)

    def close(self) -> None:
        self._client.close()

    def __call__(self, method: str, path: str, **options: object) -> httpx.Response:
        """Request a path that has the prefix, as a browser would."""
        assert path.startswith(self.prefix), path
        sent = path.removeprefix(self.prefix) or "/" if self._strips else path
        return self._client.request(method, sent, **options)  # type: ignore[arg-type]  # as in httpx

    def get(self, path: str) -> httpx.Response:
        return self("GET", path)


def check_site(browser: Proxy) -> None:
    """Check that all parts of a site work, and lead only below the prefix."""
    prefix = browser.prefix
    page = browser.get(f"{prefix}/")
    assert page.status_code == 200
    links = LINK.findall(page.text)
    assert len(links) > 50
    admin = browser.get(f"{prefix}/admin/login/?next={prefix}/admin/")
    assert admin.status_code == 200
    links += LINK.findall(admin.text)
    assert all(link.startswith(f"{prefix}/static/") for link in links)
    assert {browser.get(link).status_code for link in set(links)} == {200}
    icon = browser.get(f"{prefix}/favicon.ico").headers["location"]
    assert browser.get(icon).status_code == 200
    assert browser.get(f"{prefix}/admin").headers["location"] == f"{prefix}/admin/"
    login = browser.get(f"{prefix}/admin/").headers["location"]
    assert login == f"{prefix}/admin/login/?next={prefix}/admin/"

    metadata = browser.get(f"{prefix}{API}/metadata").json()
    endpoints: dict[str, str] = metadata["endpoints"]
    assert all(path.startswith(f"{prefix}/") for path in endpoints.values())
    for name in ("metadata", "health", "ready", "conversations"):
        assert browser.get(endpoints[name]).status_code == 200
    response = browser("POST", endpoints["stream"], json={"input": "2 + 2"})
    frames = parse(response.content)
    assert frames[-1].event == "done"
    run_id = frames[-1].id.partition(":")[0]
    assert browser.get(endpoints["runs"].format(run_id=run_id)).status_code == 200
    nothing = browser.get(f"{prefix}{API}/nothing")
    assert (nothing.status_code, nothing.json()["code"]) == (404, "not_found")
    missing = browser.get(f"{prefix}/static/nothing.js")
    assert missing.status_code == 404


WAYS: dict[str, tuple[Sequence[str], dict[str, str]]] = {
    "--root-path": (("--root-path", "{prefix}"), {}),
    "FORCE_SCRIPT_NAME": ((), {"FORCE_SCRIPT_NAME": "{prefix}"}),
    "both": (("--root-path", "{prefix}"), {"FORCE_SCRIPT_NAME": "{prefix}"}),
}


@pytest.mark.parametrize("prefix", ["/agent", "/tools/agent", "/api"])
@pytest.mark.parametrize("way", WAYS)
def test_a_site_below_a_path_works(make: Make, way: str, prefix: str) -> None:
    options, variables = WAYS[way]
    server = make(
        *UVICORN,
        *(option.format(prefix=prefix) for option in options),
        **{name: value.format(prefix=prefix) for name, value in variables.items()},
    )
    server.start()
    for strips in (True, False):
        with closing(Proxy(server, prefix, strips=strips)) as browser:
            check_site(browser)
    bare = httpx.get(f"{server.url}{prefix}?a=b", timeout=SECONDS)
    if bare.status_code == 308:  # not if the server cannot tell it from the root
        assert bare.headers["location"] == f"{prefix}/?a=b"
    assert httpx.get(f"{server.url}/health", timeout=SECONDS).status_code == 200


def test_a_site_at_the_root_is_as_before(make: Make) -> None:
    server = make(*UVICORN)
    server.start()
    with closing(Proxy(server, "", strips=False)) as browser:
        check_site(browser)
