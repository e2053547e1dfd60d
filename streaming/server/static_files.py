"""Static files: served before any middleware, and below the path prefix of a site."""

from typing import Any

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
    """Serve all files that the staticfiles app finds, without `collectstatic`."""
    static: Any = ServeStaticASGI(
        app,
        autorefresh=autorefresh,
        max_age=0 if autorefresh else STATIC_MAX_AGE_SECONDS,
        allow_all_origins=False,
    )
    prefix = (settings.FORCE_SCRIPT_NAME or "").rstrip("/")
    url = (settings.STATIC_URL or "").removeprefix(prefix)
    for finder in get_finders():
        for storage in getattr(finder, "storages", {}).values():
            below = f"{url}{getattr(storage, 'prefix', None) or ''}"
            static.add_files(storage.location, below)

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if path.startswith(url):
            await static(scope | {"path": path}, receive, send)
        else:
            await app(scope, receive, send)

    return serve
