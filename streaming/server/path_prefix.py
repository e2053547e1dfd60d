"""The path prefix of a site that is not at the root of its host, as in `/agent/api/…`.

`FORCE_SCRIPT_NAME` or the server's `--root-path` names the prefix. A proxy may pass
requests on with the prefix or without it, and uvicorn adds its root path in both cases.
Here each path gets the prefix exactly once, as Django expects it.
"""

import re
from collections.abc import Awaitable

from django.core.handlers.asgi import get_script_prefix
from django.urls import Resolver404, resolve

from streaming.server.clients import App, Receive, Scope, Send

#: A path has the prefix twice if both the proxy and the server have added it.
MAX_TIMES = 2
_SCHEME_AND_HOST = re.compile(r"https?://[^/?#]*", re.IGNORECASE)


def with_path_prefix(app: App) -> App:
    """Serve an application below the prefix; redirect from the prefix to its root."""

    # No coroutine of its own, which would stay in memory as long as the response.
    def serve(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        scope = with_origin_form(scope)
        prefix = get_script_prefix(scope).rstrip("/")
        if not prefix:
            return app(scope, receive, send)
        path = path_below(prefix, scope["path"])
        if path:
            prefixed = {"root_path": prefix, "path": prefix + path}
            return app(scope | prefixed, receive, send)
        location = f"{prefix}/".encode()
        if scope["query_string"]:
            location += b"?" + scope["query_string"]
        return _redirect(location, send)

    return serve


async def _redirect(location: bytes, send: Send) -> None:
    headers = [(b"location", location), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 308, "headers": headers})
    await send({"type": "http.response.body"})


def with_origin_form(scope: Scope) -> Scope:
    """Return the scope of a request whose target may be a whole URL, with its path.

    Servers that use h11 leave the scheme and the host in the path.
    """
    root = scope.get("root_path", "")
    target = scope["path"].removeprefix(root)
    found = _SCHEME_AND_HOST.match(target)
    if not found:
        return scope
    return scope | {"path": root + (target[found.end() :] or "/")}


def path_below(prefix: str, path: str) -> str:
    """Return a path without the prefix; empty if it is the prefix itself.

    A path of the site may begin with the prefix by itself, as `/api/v1/…` does with the
    prefix `/api`: a path that leads to a view is left as it is.
    """
    for _ in range(MAX_TIMES):
        if path == prefix:
            return ""
        if path.startswith(f"{prefix}/") and not _is_known(path):
            path = path.removeprefix(prefix)
    return path


def _is_known(path: str) -> bool:
    try:
        return resolve(path).url_name != "not-found"
    except Resolver404:
        return False
