"""The site's settings, read from the environment (see docs/configuration.md)."""

import os
from pathlib import Path
from typing import Any

import dj_database_url
from django.core.exceptions import ImproperlyConfigured
from django.core.management.utils import get_random_secret_key

from agentsite import env
from streaming.providers.base import THINKING_WORDS

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = Path(env.text("DATA_DIR", str(BASE_DIR / "data")))

DEBUG = env.flag("DEBUG")
PORT = env.integer("PORT", 8080, minimum=1)
#: Threads of one process, however many streams are open: they read from the database,
#: and run the sync code of requests (the admin). One more writes.
READ_THREADS = env.integer("DATABASE_READ_THREADS", 4, minimum=1)
REQUEST_THREADS = env.integer("REQUEST_THREADS", 8, minimum=1)
#: Browsers reach the site over TLS; a proxy ends it and sets X-Forwarded-Proto.
HTTPS = env.flag("HTTPS")


def _secret_key() -> str:
    """SECRET_KEY, or one made at the first start and kept beside the database."""
    if key := env.text("SECRET_KEY"):
        return key
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
ALLOWED_HOSTS = env.items("ALLOWED_HOSTS") or ["localhost", "127.0.0.1", "[::1]"]
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

# All of it is async-capable, and what only pages need stays off the API's path.
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

# These look for Django's own classes by name; subclasses of them stand above.
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


#: When a PostgreSQL counts as gone that says nothing, as after its machine lost power;
#: of itself the system waits for a quarter of an hour. What DATABASE_URL says wins.
POSTGRES_PATIENCE = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}


def _database() -> dict[str, Any]:
    """DATABASE_URL, or SQLite in the data directory, made fit for concurrency."""
    url = env.text("DATABASE_URL", f"sqlite:///{DATA_DIR / 'db.sqlite3'}")
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
            # The system caches the file once; by itself each of a dozen connections
            # would keep two megabytes of it more.
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; "
            "PRAGMA cache_size=-512;",
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            **options,  # what the URL says wins
        }
    elif config["ENGINE"] == "django.db.backends.postgresql":
        threads = READ_THREADS + REQUEST_THREADS + 1
        size = env.integer("DATABASE_POOL_SIZE", threads, minimum=2)
        config["OPTIONS"] = options = POSTGRES_PATIENCE | options
        options |= {
            "pool": {
                "min_size": 1,
                "max_size": size,
                "timeout": 5,
                # Beyond it the next who wants a connection tries at once, instead of
                # when a pause that doubles each time is over.
                "reconnect_timeout": 2,
            }
        }
    return config


DATABASES = {"default": _database()}
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
#: What npm brought for the page, where it did: see package.json.
NPM_DIR = BASE_DIR / "node_modules" / ".browser"
STATICFILES_DIRS = [BASE_DIR / "static", *filter(Path.is_dir, [NPM_DIR])]

# Browsers on other origins. `*` allows any.
_origins = env.items("CORS_ORIGINS")
CORS_ALLOW_ALL_ORIGINS = DEBUG or "*" in _origins
CORS_ALLOWED_ORIGINS = [origin for origin in _origins if origin != "*"]
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
CSRF_TRUSTED_ORIGINS = env.items("CSRF_TRUSTED_ORIGINS")

X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
if HTTPS:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = True
    SECURE_HSTS_SECONDS = 31_536_000
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True


def _thinking() -> str:
    value = env.text("LLM_THINKING", "auto")
    if value not in THINKING_WORDS and not value.isdecimal():
        words = ", ".join(THINKING_WORDS)
        raise ImproperlyConfigured(
            f"LLM_THINKING={value!r}: expected {words} or a number of tokens."
        )
    return value


def _provider() -> dict[str, Any]:
    """Which model answers: as named, else by the key that is there, else offline."""
    keys = {
        "anthropic": env.text("ANTHROPIC_API_KEY"),
        "openai": env.text("OPENAI_API_KEY"),
        "demo": "offline",
    }
    found = next(name for name, key in keys.items() if key)
    name = env.choice("LLM_PROVIDER", tuple(keys), found)
    if not keys[name]:
        raise ImproperlyConfigured(
            f"LLM_PROVIDER is {name!r} but {name.upper()}_API_KEY is not set: "
            f"set it, or set LLM_PROVIDER=demo for the built-in offline model."
        )
    base_url = "" if name == "demo" else env.text(f"{name.upper()}_BASE_URL")
    apis = ("", "responses", "chat")
    return {
        "name": name,
        "model": env.text("LLM_MODEL"),
        "api_key": "" if name == "demo" else keys[name],
        "base_url": base_url,
        "openai_api": env.choice("OPENAI_API", apis, "") if name == "openai" else "",
        "max_tokens": env.integer("LLM_MAX_TOKENS", 8192, minimum=1),
        "thinking": _thinking(),
        "connect_timeout": env.seconds("LLM_CONNECT_TIMEOUT_SECONDS", 10),
        "first_token_timeout": env.seconds("LLM_FIRST_TOKEN_TIMEOUT_SECONDS", 120),
        "silence_timeout": env.seconds("LLM_SILENCE_TIMEOUT_SECONDS", 120),
        "max_retries": env.integer("LLM_MAX_RETRIES", 2),
        "demo_delay": env.integer("DEMO_DELAY_MS", 20) / 1000,
    }


AGENT: dict[str, Any] = {
    "agent_name": env.text("AGENT_NAME", "Agent"),
    "agent_description": env.text(
        "AGENT_DESCRIPTION",
        "A general-purpose agent that thinks, calls tools and streams its answer.",
    ),
    "agent_system_prompt": env.text(
        "AGENT_SYSTEM_PROMPT",
        "You are a helpful assistant. Use the tools when they give a surer answer "
        "than you could, the calculator for every calculation.",
    ),
    "provider": _provider(),
    "agent_max_input_chars": env.integer("AGENT_MAX_INPUT_CHARS", 100_000, minimum=1),
    "agent_max_body_bytes": env.integer(
        "AGENT_MAX_BODY_BYTES", 2_097_152, minimum=1024
    ),
    "agent_history_chars": env.integer("AGENT_HISTORY_CHARS", 400_000, minimum=1),
    "agent_tool_timeout_seconds": env.seconds("AGENT_TOOL_TIMEOUT_SECONDS", 30),
    "agent_max_tool_result_chars": env.integer("AGENT_MAX_TOOL_RESULT_CHARS", 100_000),
    "stream_heartbeat_seconds": env.seconds(
        "STREAM_HEARTBEAT_SECONDS", 15, minimum=0.05
    ),
    "stream_send_timeout_seconds": env.seconds(
        "STREAM_SEND_TIMEOUT_SECONDS", 30, minimum=0.1
    ),
    "stream_max_open": env.integer("STREAM_MAX_OPEN", 2_000),
    "run_max_per_org": env.integer("RUN_MAX_PER_ORG", 0),
    "database_read_threads": READ_THREADS,
    "request_threads": REQUEST_THREADS,
    "event_flush_ms": env.integer("EVENT_FLUSH_MS", 200, minimum=1),
    "run_abandon_seconds": env.seconds("RUN_ABANDON_SECONDS", 60),
    "run_lease_seconds": env.seconds("RUN_LEASE_SECONDS", 15, minimum=1),
    "drain_seconds": env.seconds("DRAIN_SECONDS", 10),
    "run_retention_days": env.integer("RUN_RETENTION_DAYS", 0),
    "conversation_retention_days": env.integer("CONVERSATION_RETENTION_DAYS", 0),
}

# One line a record: readable with DEBUG, JSON otherwise.
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
        # Its access log repeats what ours says of a run.
        "uvicorn.access": {"level": "INFO" if DEBUG else "WARNING"},
    },
}
