"""Static files: served before any middleware, and below the path prefix of a site."""

from collections.abc import Awaitable
from pathlib import Path
from typing import Any
from wsgiref.headers import Headers

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.contrib.staticfiles.storage import StaticFilesStorage
from django.urls import get_script_prefix
from servestatic import ServeStaticASGI

from streaming.server.clients import App, Receive, Scope, Send

STATIC_MAX_AGE_SECONDS = 60


class PrefixedStaticFilesStorage(StaticFilesStorage):
    """The default storage, whose URLs have the path prefix of the request.

    Django adds a prefix to `STATIC_URL` only if it is a setting, and only once.
    """

    def url(self, name: str | None) -> str:
        """Return the URL of a file for the present request."""
        return get_script_prefix().rstrip("/") + super().url(name)


def with_static_files(app: App, *, autorefresh: bool) -> App:
    """Serve all files that the staticfiles app finds, without `collectstatic`.

    Collected files are served as well: a storage may have added hashes to their names.
    """
    if not settings.STATIC_URL:
        return app
    static: Any = ServeStaticASGI(
        app,
        autorefresh=autorefresh,
        max_age=0 if autorefresh else STATIC_MAX_AGE_SECONDS,
        allow_all_origins=False,
        add_headers_function=_forbid_sniffing,
    )
    prefix = (settings.FORCE_SCRIPT_NAME or "").rstrip("/")
    url = settings.STATIC_URL.removeprefix(prefix)
    root: Any = settings.STATIC_ROOT  # a path, a string, or None
    if root and Path(root).is_dir():
        static.add_files(root, url)
    for finder in get_finders():
        for storage in getattr(finder, "storages", {}).values():
            below = f"{url}{getattr(storage, 'prefix', None) or ''}"
            static.add_files(storage.location, below)

    # No coroutine of its own, which would stay in memory as long as the response.
    def serve(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if path.startswith(url):
            served: Awaitable[None] = static(scope | {"path": path}, receive, send)
            return served
        return app(scope, receive, send)

    return serve


def _forbid_sniffing(headers: Headers, path: str, url: str) -> None:
    """Have browsers take a file for its type alone, as Django's pages do."""
    headers["X-Content-Type-Options"] = "nosniff"
