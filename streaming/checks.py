"""Checks for `manage.py check`: settings that are valid each, but not in combination,
and parts of a project that the app cannot use, or not well.

The ids are stable, since `SILENCED_SYSTEM_CHECKS` may name them.
"""

from collections.abc import Iterator, Sequence
from importlib.util import find_spec

from django.apps import AppConfig, apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import connections, router
from django.utils.module_loading import import_string

from streaming import conf
from streaming.models import Run
from streaming.storage.alias import app_alias, app_connection
from streaming.versions import TESTED, installed, read_tested, untested

#: The usual time after which gunicorn, Kubernetes and Docker Compose kill a process
#: that has not ended.
USUAL_GRACE_SECONDS = 30
#: The default time after which most proxies cut a silent stream.
USUAL_READ_TIMEOUT_SECONDS = 60
TAG = "streaming"
#: Time for a notification to arrive.
NOTIFY_SECONDS = 2.0
#: The databases whose SQL the app has.
VENDORS = ("sqlite", "postgresql")
STATICFILES = "django.contrib.staticfiles"
#: The executor that needs an app of its package, and that app.
PROCRASTINATE = "streaming.runs.executors.procrastinate.executor"
PROCRASTINATE_APP = "procrastinate.contrib.django"
#: The module of Django's own ASGI application.
DJANGO_ASGI = "django.core.handlers.asgi"
#: Authenticators that trust the request.
PACKAGE, OPEN, HEADER = (
    "streaming.auth.",
    "streaming.auth.open",
    "streaming.auth.header",
)


def register_checks() -> None:
    """Register the checks with Django; `check --tag streaming` runs them alone."""
    register(check_settings, TAG)
    register(check_router, Tags.models, TAG)
    register(check_database, Tags.database, TAG)
    # With others it would be printed by each command of a fresh installation.
    register(check_versions, TAG, deploy=True)
    register(check_application, TAG, deploy=True)


def check_settings(
    app_configs: Sequence[AppConfig] | None, **_: object
) -> list[CheckMessage]:
    """Check the settings against each other and against usual servers and proxies."""
    return [
        *_sync_middleware(),
        *_runserver(),
        *_times(),
        *_pool(),
        *_shares(),
        *_open(),
        *_gateway(),
        *_daphne(),
    ]


def check_router(
    app_configs: Sequence[AppConfig] | None, **_: object
) -> list[CheckMessage]:
    """Check the database that the project's routers choose for the app."""
    return [*_vendor(), *_reads(), *_executor()]


def check_database(
    app_configs: Sequence[AppConfig] | None,
    databases: Sequence[str] | None = None,
    **_: object,
) -> list[CheckMessage]:
    """Check SQLite's journal, and that PostgreSQL delivers notifications."""
    return [*_journal(databases), *_notifications(databases)]


def _journal(databases: Sequence[str] | None) -> list[CheckMessage]:
    """Check that SQLite has a write-ahead log; otherwise each write blocks readers."""
    return [
        Warning(
            f"The journal of SQLite is {mode!r} and not a write-ahead log.",
            hint="Set 'init_command': 'PRAGMA journal_mode=WAL' in the OPTIONS of the "
            "database. A network file system cannot hold one: use a local disk, or "
            "PostgreSQL.",
            id="streaming.W004",
        )
        for alias in {app_alias()}.intersection(databases or ())
        if (mode := _journal_mode(alias)) not in ("wal", "")
    ]


def check_versions(
    app_configs: Sequence[AppConfig] | None, **_: object
) -> list[CheckMessage]:
    """Check for libraries newer than the tested ones, whose private parts are used."""
    tested = read_tested(TESTED.read_text())
    return [
        Warning(
            f"{name} {present} is newer than {known}, the newest tested version.",
            hint=f"Install {name}=={known}, or run your tests and silence this check: "
            "the app uses parts of the library that may change without notice.",
            id="streaming.W006",
        )
        for name, present, known in untested(tested, installed(tested))
    ]


def check_application(
    app_configs: Sequence[AppConfig] | None, **_: object
) -> list[CheckMessage]:
    """Check the application that servers run: ASGI, and with limits on streams.

    Where `ASGI_APPLICATION` is not set, it is looked for where `startproject` puts it.
    """
    package = settings.ROOT_URLCONF.partition(".")[0]
    path = getattr(settings, "ASGI_APPLICATION", None) or f"{package}.asgi.application"
    try:
        application = import_string(path)
    except ImportError:
        message = f"There is no ASGI application at {path}, and WSGI cannot stream."
        hint = "Set ASGI_APPLICATION, and serve it: under WSGI, streams are refused."
        return [Warning(message, hint=hint, id="streaming.W009")]
    # Channels' router has one application for each protocol.
    http = getattr(application, "application_mapping", {}).get("http", application)
    if type(http).__module__ != DJANGO_ASGI:
        return []
    return [
        Warning(
            f"{path} is Django's own: each open stream holds a thread, streams are not "
            "counted, a client that does not read is never disconnected, and workers "
            "that are recycled do not drain.",
            hint="Serve `streaming.server.asgi.make_application()`, which serves the "
            "whole project, or silence this.",
            id="streaming.W010",
        )
    ]


def _journal_mode(alias: str) -> str:
    """Return SQLite's journal mode; empty for other databases and for one in memory."""
    connection = connections[alias]
    if connection.vendor != "sqlite":
        return ""
    if connection.is_in_memory_db():  # type: ignore[attr-defined]
        return ""
    with connection.cursor() as cursor:
        [mode] = cursor.execute("PRAGMA journal_mode").fetchone()
    return str(mode)


def _notifications(databases: Sequence[str] | None) -> Iterator[CheckMessage]:
    """Check that new events can reach other processes by NOTIFY, if they are to."""
    options = conf.get()
    uses_other = options.event_live == "none" or options.redis_url
    if uses_other or app_alias() not in (databases or ()):
        return
    if app_connection().vendor != "postgresql" or find_spec("psycopg") is None:
        return
    from streaming.storage.notifications import notifications_arrive

    if not notifications_arrive(NOTIFY_SECONDS):
        yield Warning(
            "The database delivers no notifications between two sessions, as behind a "
            "pooler of transactions: readers in other processes poll it.",
            hint="Set REDIS_URL, or EVENT_LIVE to 'none', which saves the useless "
            "notifications.",
            id="streaming.W012",
        )


def _vendor() -> Iterator[CheckMessage]:
    connection = app_connection()
    if connection.vendor not in VENDORS:
        yield Error(
            f"The app's tables cannot be in {connection.display_name}, which is the "
            f"database {connection.alias!r}: PostgreSQL and SQLite are supported.",
            hint="A database router can put the app `streaming` on another database.",
            id="streaming.E002",
        )


def _reads() -> Iterator[CheckMessage]:
    reads, writes = router.db_for_read(Run), app_alias()
    if reads != writes:
        yield Error(
            f"DATABASE_ROUTERS sends the app's reads to {reads!r} and its writes to "
            f"{writes!r}: a run that was just started would be missing in a replica.",
            hint=f"Return {writes!r} from `db_for_read` for the app `streaming`.",
            id="streaming.E003",
        )


def _executor() -> Iterator[CheckMessage]:
    if conf.get().executor_path != PROCRASTINATE:
        return
    if app_connection().vendor != "postgresql":
        yield Error(
            "RUN_EXECUTOR=procrastinate needs PostgreSQL: on "
            f"{app_connection().display_name} its tables cannot be created.",
            hint="Use PostgreSQL, or RUN_EXECUTOR=in_process, with which `manage.py "
            "agent_worker` executes queued runs too.",
            id="streaming.E004",
        )
    elif not apps.is_installed(PROCRASTINATE_APP):
        yield Error(
            f"RUN_EXECUTOR=procrastinate needs {PROCRASTINATE_APP!r} in "
            "INSTALLED_APPS.",
            hint="Add it in the settings of all processes, and run `manage.py "
            "migrate`, which creates its tables.",
            id="streaming.E005",
        )


def _runserver() -> Iterator[CheckMessage]:
    names = [app.name for app in apps.get_app_configs()]
    if STATICFILES in names[: names.index("streaming")]:
        yield Warning(
            f"`manage.py runserver` is that of {STATICFILES}, a WSGI server, which "
            "cannot stream.",
            hint=f'List "streaming" above "{STATICFILES}" in INSTALLED_APPS.',
            id="streaming.W011",
        )


def _sync_middleware() -> Iterator[CheckMessage]:
    for path in settings.MIDDLEWARE:
        if not getattr(import_string(path), "async_capable", False):
            yield Warning(
                f"{path} is sync-only: it holds a thread for each open stream.",
                hint="Make it async-capable, or exclude the agent's paths from it.",
                id="streaming.W001",
            )


def _times() -> Iterator[CheckMessage]:
    options = conf.get()
    if options.drain_seconds >= USUAL_GRACE_SECONDS:
        yield Warning(
            f"DRAIN_SECONDS is {options.drain_seconds:g}: a process manager may kill "
            "the server before its runs have ended and are saved.",
            hint="Set a longer grace period there, and silence this check.",
            id="streaming.W002",
        )
    if options.stream_heartbeat_seconds >= USUAL_READ_TIMEOUT_SECONDS:
        yield Warning(
            f"STREAM_HEARTBEAT_SECONDS is {options.stream_heartbeat_seconds:g}: most "
            f"proxies cut a stream after {USUAL_READ_TIMEOUT_SECONDS} s of silence.",
            hint="`manage.py check_streaming URL` tests whether yours does.",
            id="streaming.W003",
        )


def _pool() -> Iterator[CheckMessage]:
    threads = conf.get().database_threads
    pool = settings.DATABASES[app_alias()].get("OPTIONS", {}).get("pool")
    if isinstance(pool, dict) and pool.get("max_size", threads) < threads:
        yield Warning(
            f"The database's pool has {pool['max_size']} connections, but {threads} "
            "threads use one: some will wait, and may time out.",
            hint="Raise it, or lower DATABASE_READ_THREADS and REQUEST_THREADS.",
            id="streaming.W005",
        )


def _shares() -> Iterator[CheckMessage]:
    options = conf.get()
    tells_apart = options.organization or any(
        name.startswith(HEADER) or not name.startswith(PACKAGE)
        for name in options.authenticators
    )
    if not tells_apart or options.run_max_per_org:
        return
    executor = conf.import_named("RUN_EXECUTOR", options.executor_path)
    taken = ""
    if not executor.claims_at_start:  # RUN_MAX refuses no run of a queue
        taken = "fill the queue, and take all places of the workers"
    elif options.run_max:
        taken = f"take all {options.run_max:,} runs of a process (RUN_MAX)"
    if taken:
        yield Warning(
            f"RUN_MAX_PER_ORG is 0: one organization can {taken}, also with runs that "
            "have no reader.",
            hint="Set a limit, or silence this if all organizations are trusted.",
            id="streaming.W008",
        )


def _open() -> Iterator[CheckMessage]:
    if OPEN in conf.get().authenticators and not settings.DEBUG:
        yield Warning(
            f"AUTHENTICATION has {OPEN}: every caller that reaches this server may act "
            "for every organization.",
            hint="Use it on a private network only, and silence this check there.",
            id="streaming.W020",
        )


def _gateway() -> Iterator[CheckMessage]:
    options = conf.get()
    trusts = any(name.startswith(HEADER) for name in options.authenticators)
    if trusts and not options.gateway_secret:
        yield Warning(
            f"AUTHENTICATION has {HEADER} without GATEWAY_SECRET: a caller that "
            "reaches this server without the gateway may act for every organization.",
            hint="Have the gateway send a secret, or silence this check if only the "
            "gateway can connect.",
            id="streaming.W021",
        )


def _daphne() -> Iterator[CheckMessage]:
    if apps.is_installed("daphne"):
        yield Warning(
            "daphne is for development only: its streams have no back-pressure, so that"
            " one client that does not read fills the memory.",
            hint="In production run uvicorn, gunicorn or hypercorn, and silence this.",
            id="streaming.W007",
        )
