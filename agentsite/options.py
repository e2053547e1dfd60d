"""The settings that belong to the site and not to the app."""

from typing import Annotated

from streaming.options import Options, Setting


class SiteOptions(Options, frozen=True):
    """The settings of the site, each read from an environment variable."""

    port: Annotated[int, Setting("Port of `runserver`.", minimum=1)] = 8080
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
            "not set.",
            default="`data` beside `manage.py`",
        ),
    ] = ""
    cors_origins: Annotated[
        tuple[str, ...],
        Setting("Origins whose pages may call the API. `*` allows any."),
    ] = ()
    allowed_hosts: Annotated[
        tuple[str, ...], Setting("Host names that the server responds to.")
    ] = ("localhost", "127.0.0.1", "[::1]")
    csrf_trusted_origins: Annotated[
        tuple[str, ...],
        Setting("Origins that the admin's forms may come from, behind a proxy."),
    ] = ()
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
            "Browsers connect over TLS, which a proxy terminates: secure cookies, HSTS "
            "and redirects.",
        ),
    ] = False
    debug: Annotated[
        bool,
        Setting(
            "Development: readable logs of every event and request; any CORS origin."
        ),
    ] = False
