"""The site's Django settings, from the environment (see docs/configuration.md)."""

import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import dj_database_url
from django.core.exceptions import ImproperlyConfigured
from django.core.management.utils import get_random_secret_key

from agentsite.options import SiteOptions
from streaming import conf

SITE = conf.read(SiteOptions, os.environ)
STREAMING = conf.from_environment(os.environ)
if SITE.debug:  # the demo on a developer's machine
    STREAMING.setdefault("AUTHENTICATION", ["streaming.auth.open"])

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = Path(SITE.data_dir or BASE_DIR / "data")

DEBUG = SITE.debug
PORT = SITE.port


def _secret_key() -> str:
    """Return SECRET_KEY, or a key that the first start keeps beside the database."""
    if SITE.secret_key:
        return SITE.secret_key
    path = _data_dir() / "secret_key"
    if not path.exists():
        try:
            _create_secret_key(path)
        except OSError as error:
            raise _unusable_data_dir(error) from None
    if key := path.read_text().strip():
        return key
    raise ImproperlyConfigured(
        f"The secret key in {path} is empty: delete the file, or set SECRET_KEY."
    )


def _create_secret_key(path: Path) -> None:
    """Write a new key, unless another process does so at the same time.

    The file gets its name when it is complete: no process ever reads a part of it.
    """
    with tempfile.NamedTemporaryFile("w", dir=path.parent) as file:  # mode 0600
        file.write(get_random_secret_key())
        file.flush()
        os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(file.name, path)


def _data_dir() -> Path:
    """Return DATA_DIR, created for its owner alone if it does not exist."""
    try:
        DATA_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable_data_dir(error) from None
    return DATA_DIR


def _unusable_data_dir(error: OSError) -> ImproperlyConfigured:
    return ImproperlyConfigured(
        f"DATA_DIR={str(DATA_DIR)!r}: expected a writable directory ({error.strerror})."
    )


SECRET_KEY = _secret_key()
ALLOWED_HOSTS = [*SITE.allowed_hosts]
FORCE_SCRIPT_NAME = SITE.force_script_name or None
ROOT_URLCONF = "agentsite.urls"
ASGI_APPLICATION = "agentsite.asgi.application"

INSTALLED_APPS = [
    "streaming",  # above staticfiles: its `runserver` is the one that streams
    "agentsite",
    "corsheaders",
    "agentsite.apps.AdminConfig",  # django.contrib.admin with throttled logins
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]

# All middleware is async-capable; that of pages is kept off the API's path.
MIDDLEWARE = [
    "corsheaders.middleware.CorsMiddleware",
    "agentsite.middleware.PagePolicyMiddleware",  # outside: redirects and errors too
    "agentsite.middleware.PageSecurityMiddleware",
    "agentsite.middleware.PageSessionMiddleware",
    "agentsite.middleware.PageCommonMiddleware",
    "agentsite.middleware.PageCsrfMiddleware",
    "agentsite.middleware.PageAuthenticationMiddleware",
    "agentsite.middleware.PageMessageMiddleware",
    "agentsite.middleware.PageFrameOptionsMiddleware",
]

SILENCED_SYSTEM_CHECKS = [
    # These look for Django's own classes by name; MIDDLEWARE has subclasses.
    "security.W001",
    "security.W002",
    "security.W003",
    # HSTS preload is the operator's choice (HSTS_PRELOAD): it cannot be undone soon.
    "security.W021",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "agentsite.content_security.csp",
            ],
        },
    },
]


#: Timeouts for a PostgreSQL server that stops responding, as after a power loss; the
#: operating system's own default is 15 minutes. Options of DATABASE_URL override them.
POSTGRES_TIMEOUTS = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}


def _database(url: str) -> dict[str, Any]:
    """Return the database at a URL, else SQLite, configured for concurrency."""
    url = url or f"sqlite:///{DATA_DIR / 'db.sqlite3'}"
    try:
        config: dict[str, Any] = dict(dj_database_url.parse(url))
    except ValueError as error:
        raise ImproperlyConfigured(f"DATABASE_URL: {error}") from None
    options: dict[str, Any] = config.setdefault("OPTIONS", {})
    if config["ENGINE"] == "django.db.backends.sqlite3":
        _data_dir()
        # Closing the last connection to a WAL database writes and syncs its file.
        config["CONN_MAX_AGE"] = None
        config["OPTIONS"] = {
            # The system caches the file once; by default each of a dozen connections
            # would cache two more megabytes of it.
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; "
            "PRAGMA cache_size=-512;",
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            **options,  # options of the URL override these
        }
    elif config["ENGINE"] == "django.db.backends.postgresql":
        agent, _ = conf.load(STREAMING)
        config["OPTIONS"] = options = POSTGRES_TIMEOUTS | options
        # After a failover all pooled connections are broken, and after an idle time
        # some: each is tried before its use, at the cost of one short round trip.
        config["CONN_HEALTH_CHECKS"] = True
        # A proxy that pools transactions would lose such a cursor between two fetches.
        config["DISABLE_SERVER_SIDE_CURSORS"] = True
        options |= {
            "pool": {
                "min_size": 1,
                "max_size": SITE.database_pool_size or agent.database_threads,
                "timeout": 5,
                # After it the next request for a connection retries at once, not
                # at the end of a pause that doubles each time.
                "reconnect_timeout": 2,
            }
        }
    else:
        raise ImproperlyConfigured(
            "DATABASE_URL: expected a URL of PostgreSQL (postgres://…) or SQLite "
            "(sqlite:///…)."
        )
    return config


DATABASES = {"default": _database(SITE.database_url)}
if (
    STREAMING.get("RUN_EXECUTOR") == "procrastinate"
    and DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql"
):
    INSTALLED_APPS.append("procrastinate.contrib.django")
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

LOGIN_URL = "admin:login"
LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "/static/"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "streaming.server.static_files.PrefixedStaticFilesStorage"
    },
}
STATIC_ROOT = BASE_DIR / "staticfiles"
#: The page's libraries, if npm installed them: see package.json.
NPM_DIR = BASE_DIR / "node_modules" / ".browser"
#: The static files of a checkout. Those of the installed package are in the package.
STATIC_DIR = BASE_DIR / "static"
STATICFILES_DIRS: list[Any] = []
if STATIC_DIR.is_dir():
    STATICFILES_DIRS += [STATIC_DIR]
    if NPM_DIR.is_dir():
        STATICFILES_DIRS += [("streaming", NPM_DIR)]

# Browsers on other origins. `*` allows any, but never with the user's cookies.
CORS_ALLOW_CREDENTIALS = SITE.cors_allow_credentials
CORS_ALLOWED_ORIGINS = [origin for origin in SITE.cors_origins if origin != "*"]
CORS_ALLOW_ALL_ORIGINS = "*" in SITE.cors_origins
if CORS_ALLOW_CREDENTIALS and CORS_ALLOW_ALL_ORIGINS:
    raise ImproperlyConfigured(
        "CORS_ALLOW_CREDENTIALS needs a list of origins in CORS_ORIGINS, without `*`: "
        "any site could use its visitors' cookies otherwise."
    )
CORS_ALLOW_ALL_ORIGINS |= DEBUG and not CORS_ALLOW_CREDENTIALS
CORS_URLS_REGEX = r"^/(api/|health$|ready$)"
CORS_ALLOW_HEADERS = [
    "accept",
    "authorization",
    "cache-control",
    "content-type",
    "idempotency-key",
    "last-event-id",
    "x-api-key",
    "x-requested-with",
    # Tracing in browsers (W3C Trace Context and Baggage, Sentry, Datadog, Zipkin).
    "b3",
    "baggage",
    "sentry-trace",
    "traceparent",
    "tracestate",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-spanid",
    "x-b3-traceid",
    "x-datadog-origin",
    "x-datadog-parent-id",
    "x-datadog-sampling-priority",
    "x-datadog-trace-id",
    "x-request-id",
    # CSRF protection of front ends for Django.
    "x-csrftoken",
    *SITE.cors_allow_headers,
]
CORS_EXPOSE_HEADERS = [
    "X-Run-Id",
    "Retry-After",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
]
CSRF_TRUSTED_ORIGINS = [*SITE.csrf_trusted_origins]

X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
if SITE.https:
    # A proxy terminates TLS and sets X-Forwarded-Proto.
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = True
    SECURE_HSTS_SECONDS = 31_536_000
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = SITE.hsts_preload
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True

# One line for each record: readable with DEBUG, JSON otherwise.
LOGGING: dict[str, Any] = json.loads(
    Path(__file__).with_name("logging.json").read_text()
)
if DEBUG:
    LOGGING["handlers"]["stderr"]["formatter"] = "readable"
    LOGGING["loggers"]["streaming"]["level"] = "DEBUG"
    # Without DEBUG it would repeat the app's own log of each run.
    LOGGING["loggers"]["uvicorn.access"] = {"level": "INFO", "propagate": True}
