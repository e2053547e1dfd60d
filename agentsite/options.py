"""The settings that belong to the site and not to the app."""

from typing import Annotated

from streaming.options import Options, Setting


class SiteOptions(Options, frozen=True):
    """The settings of the site, each read from an environment variable."""

    port: Annotated[int, Setting("Port of `runserver`.", minimum=1, maximum=65535)] = (
        8080
    )
    database_url: Annotated[
        str,
        Setting(
            "URL of the database, such as `postgres://user:password@host/name` "
            "(install the extra `postgres`).",
            default="SQLite in `DATA_DIR`",
            secret=True,
        ),
    ] = ""
    database_pool_size: Annotated[
        int | None,
        Setting(
            "Maximum number of PostgreSQL connections that requests and tools of one "
            "process share; the event log's threads have their own.",
            minimum=2,
            default="one for each thread: `DATABASE_READ_THREADS` + `REQUEST_THREADS`"
            " + 1",
        ),
    ] = None
    data_dir: Annotated[
        str,
        Setting(
            "Directory of SQLite's database, and of the secret key if `SECRET_KEY` is "
            "not set. If it does not exist, it is created for its owner alone (0700).",
            default="`data` beside `manage.py`",
        ),
    ] = ""
    cors_origins: Annotated[
        tuple[str, ...],
        Setting("Origins whose pages may call the API. `*` allows any."),
    ] = ()
    cors_allow_headers: Annotated[
        tuple[str, ...],
        Setting(
            "Further request headers that these pages may send, besides those of the "
            "API, of tracing and of Django's CSRF protection."
        ),
    ] = ()
    cors_allow_credentials: Annotated[
        bool,
        Setting(
            "Pages on other origins may send cookies. `CORS_ORIGINS` must list these "
            "origins, without `*`."
        ),
    ] = False
    allowed_hosts: Annotated[
        tuple[str, ...], Setting("Host names that the server responds to.")
    ] = ("localhost", "127.0.0.1", "[::1]")
    csrf_trusted_origins: Annotated[
        tuple[str, ...],
        Setting("Origins that the admin's forms may come from, behind a proxy."),
    ] = ()
    force_script_name: Annotated[
        str,
        Setting(
            "Path prefix of the site, as in `/agent` for `https://example.com/agent/`. "
            "Not needed if the server has a `--root-path`.",
            pattern=r"((/[\w.~-]+)+)?",
            expected="a path such as `/agent`, without a slash at its end",
            default="none: the site is at the root of its host",
        ),
    ] = ""
    secret_key: Annotated[
        str,
        Setting(
            "Django's secret key.",
            default="generated at the first start, in `DATA_DIR`",
            secret=True,
        ),
    ] = ""
    https: Annotated[
        bool,
        Setting(
            "Clients connect over TLS, which a proxy terminates: secure cookies, HSTS, "
            "redirects of pages, and 403 `forbidden` for requests to the API over "
            "plain HTTP. Probes are exempt.",
        ),
    ] = False
    hsts_preload: Annotated[
        bool,
        Setting(
            "With `HTTPS`, browsers may put the domain on their preload lists, from "
            "which it takes months to be removed."
        ),
    ] = False
    debug: Annotated[
        bool,
        Setting(
            "Development: readable logs of every event and request; any CORS origin."
        ),
    ] = False
