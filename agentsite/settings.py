"""The site's Django settings, from the environment (see docs/configuration.md)."""

import os
from pathlib import Path
from typing import Any

import dj_database_url
from django.core.exceptions import ImproperlyConfigured
from django.core.management.utils import get_random_secret_key

from agentsite.options import SiteOptions
from streaming import conf

SITE = conf.read(SiteOptions, os.environ)
STREAMING = conf.from_environment(os.environ)

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = Path(SITE.data_dir or BASE_DIR / "data")

DEBUG = SITE.debug
PORT = SITE.port


def _secret_key() -> str:
    """Return SECRET_KEY, or a key that the first start keeps beside the database."""
    if SITE.secret_key:
        return SITE.secret_key
    path = DATA_DIR / "secret_key"
    DATA_DIR.mkdir(parents=True, exist_ok=True)
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    key = get_random_secret_key()
    with open(file, "w") as stream:
        stream.write(key)
    return key


SECRET_KEY = _secret_key()
ALLOWED_HOSTS = [*SITE.allowed_hosts]
ROOT_URLCONF = "agentsite.urls"
ASGI_APPLICATION = "agentsite.asgi.application"

INSTALLED_APPS = [
    "streaming",  # above staticfiles: its `runserver` is the one that streams
    "corsheaders",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",  # numbers in the admin's pages
]

# All middleware is async-capable; that of pages is kept off the API's path.
MIDDLEWARE = [
    "corsheaders.middleware.CorsMiddleware",
    "agentsite.middleware.PageSecurityMiddleware",
    "agentsite.middleware.PageSessionMiddleware",
    "agentsite.middleware.PageCommonMiddleware",
    "agentsite.middleware.PageCsrfMiddleware",
    "agentsite.middleware.PageAuthenticationMiddleware",
    "agentsite.middleware.PageMessageMiddleware",
    "agentsite.middleware.PageFrameOptionsMiddleware",
]

# These checks look for Django's own classes by name; MIDDLEWARE has subclasses.
SILENCED_SYSTEM_CHECKS = ["security.W001", "security.W002", "security.W003"]

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
        DATA_DIR.mkdir(parents=True, exist_ok=True)
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
    return config


DATABASES = {"default": _database(SITE.database_url)}
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

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
#: The page's libraries, if npm installed them: see package.json.
NPM_DIR = BASE_DIR / "node_modules" / ".browser"
STATICFILES_DIRS = [BASE_DIR / "static", *filter(Path.is_dir, [NPM_DIR])]

# Browsers on other origins. `*` allows any.
CORS_ALLOW_ALL_ORIGINS = DEBUG or "*" in SITE.cors_origins
CORS_ALLOWED_ORIGINS = [origin for origin in SITE.cors_origins if origin != "*"]
CORS_URLS_REGEX = r"^/(api/|health$|ready$)"
CORS_ALLOW_HEADERS = [
    "accept",
    "authorization",
    "cache-control",
    "content-type",
    "idempotency-key",
    "last-event-id",
    "x-requested-with",
]
CORS_EXPOSE_HEADERS = ["X-Run-Id", "Retry-After"]
CSRF_TRUSTED_ORIGINS = [*SITE.csrf_trusted_origins]

X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
if SITE.https:
    # A proxy terminates TLS and sets X-Forwarded-Proto.
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = True
    SECURE_HSTS_SECONDS = 31_536_000
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True

# One line for each record: readable with DEBUG, JSON otherwise.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "readable": {
            "format": "{asctime} {levelname:<7} {name}: {message}",
            "style": "{",
        },
        "json": {
            "()": "pythonjsonlogger.json.JsonFormatter",
            "format": "{asctime}{levelname}{name}{message}",
            "style": "{",
            "rename_fields": {
                "asctime": "time",
                "levelname": "level",
                "agent_name": "logger",
            },
        },
    },
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": "readable" if DEBUG else "json",
        },
    },
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "streaming": {"level": "DEBUG" if DEBUG else "INFO"},
        "django": {"level": "INFO"},
        "uvicorn": {"level": "INFO"},
        # Its access log repeats the app's own log of each run.
        "uvicorn.access": {"level": "INFO" if DEBUG else "WARNING"},
    },
}
