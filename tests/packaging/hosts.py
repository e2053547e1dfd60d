"""Django projects that host the app in different ways, made from one `startproject`.

A `Host` is one combination of the ways in which projects differ. `pairwise` chooses few
hosts in which any two of these ways meet at least once.
"""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import combinations, product
from pathlib import Path
from typing import NamedTuple

import psycopg

from streaming.testing.server import Server, clean_environment
from tests import postgres
from tests.available import need, postgres_url
from tests.packaging.conftest import run


class Host(NamedTuple):
    """A combination of the ways in which projects differ."""

    server: str
    database: str
    static: str
    prefix: str
    django: str
    users: str
    admin: str

    @property
    def name(self) -> str:
        """A name for tests."""
        return "-".join(value.strip("/").replace("/", ".") or "root" for value in self)


#: The application, the server and its command.
SERVERS = {
    "django": ("plain", "uvicorn"),
    "hypercorn": ("plain", "hypercorn"),
    "channels": ("channels", "uvicorn"),
    "lean": ("lean", "uvicorn"),
}
COMMANDS = {
    "uvicorn": (
        "-m",
        "uvicorn",
        "--port",
        "{port}",
        "--timeout-graceful-shutdown",
        "9",
    ),
    "hypercorn": (
        *("-m", "hypercorn", "--bind", "127.0.0.1:{port}"),
        *("--graceful-timeout", "9"),
    ),
    "wsgi": (
        *("-m", "gunicorn", "--bind", "127.0.0.1:{port}"),
        *("--threads", "4", "--workers", "1"),
    ),
}
APPLICATIONS = {
    "plain": "application = get_asgi_application()",
    "channels": """
from channels.routing import ProtocolTypeRouter

application = ProtocolTypeRouter({"http": get_asgi_application()})
""",
    "lean": """
get_asgi_application()
from streaming.server.asgi import make_application

application = make_application()
""",
}
WAYS: dict[str, Sequence[str]] = {
    "server": tuple(SERVERS),
    "database": ("sqlite", "postgres", "alias"),
    "static": ("hashed", "aggregated"),  # the tutorial begins with plain names
    "prefix": ("", "a/b/"),
    "users": ("django's", "own"),
    "admin": ("admin", "none"),
}

SETTINGS = """
from mysite.settings import *

DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "host_urls"
STREAMING = {
    "MODEL": "demo",
    "AUTHENTICATION": ["streaming.auth.session", "streaming.auth.open"],
    "DEMO_DELAY_MS": 5,
    "DRAIN_SECONDS": 0.2,
}
INSTALLED_APPS = ["streaming", *INSTALLED_APPS]
ADMIN, PREFIX = %(admin)r, %(prefix)r
if %(own_users)r:
    INSTALLED_APPS.append("people")
    AUTH_USER_MODEL = "people.Member"
if not ADMIN:
    INSTALLED_APPS.remove("django.contrib.admin")
DATABASES = %(databases)r
DATABASE_ROUTERS = %(routers)r
STATIC_ROOT = BASE_DIR / "collected" / %(static)r
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": %(storage)r},
}
"""
URLS = """
from django.conf import settings
from django.http import HttpResponse
from django.urls import include, path, reverse


def home(request):
    return HttpResponse(f"the shop, at {reverse('index')}")


urlpatterns = [path("shop/", home, name="index")]
if settings.ADMIN:
    from django.contrib import admin

    urlpatterns += [path("admin/", admin.site.urls)]
urlpatterns += [
    path(settings.PREFIX, include("streaming.urls")),
    path("later/", home, name="health"),
]
"""
MODELS = """
from django.contrib.auth.models import AbstractUser
from django.db import models


class Member(AbstractUser):
    nickname = models.CharField(max_length=30)
"""
ROUTER = """
class AgentRouter:
    def db_for_read(self, model, **hints):
        return "agents" if model._meta.app_label == "streaming" else "people"

    db_for_write = db_for_read

    def allow_migrate(self, db, app_label, **hints):
        return db == ("agents" if app_label == "streaming" else "people")
"""
STORAGE = """
from django.contrib.staticfiles.storage import ManifestStaticFilesStorage


class Aggregated(ManifestStaticFilesStorage):
    support_js_module_import_aggregation = True
"""
STORAGES = {
    "hashed": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage",
    "aggregated": "host_storage.Aggregated",
}
ASGI = """
from django.core.asgi import get_asgi_application

%s
"""
#: The steps of an operator, in one process.
PREPARE = """
import sys

import django

django.setup()

from pathlib import Path

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command

call_command("check", fail_level="ERROR")
for alias in sys.argv[1:]:
    call_command("migrate", database=alias, verbosity=0)
get_user_model().objects.create_superuser("ada", "ada@example.com", "analytical")
if not Path(settings.STATIC_ROOT).exists():
    call_command("collectstatic", interactive=False, verbosity=0)
"""
WSGI = """
from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()
"""


def pairwise(ways: Mapping[str, Sequence[str]], django: Sequence[str]) -> list[Host]:
    """Return few hosts in which any two values of different ways meet."""
    values = [*(ways[name] for name in Host._fields if name in ways)]
    fields = [name for name in Host._fields if name in ways]
    values, fields = [*values, django], [*fields, "django"]
    rows = list(product(*values))
    missing = {
        (a, b, row[a], row[b])
        for row in rows
        for a, b in combinations(range(len(values)), 2)
    }
    chosen: list[Host] = []
    while missing:
        row = max(rows, key=lambda row: len(_pairs(row) & missing))
        missing -= _pairs(row)
        chosen.append(Host(**dict(zip(fields, row, strict=True))))
    return chosen


def _pairs(row: tuple[str, ...]) -> set[tuple[int, int, str, str]]:
    return {(a, b, row[a], row[b]) for a, b in combinations(range(len(row)), 2)}


def make_project(directory: Path, venv: Path) -> None:
    """Make the project that all hosts share."""
    django_admin = str(venv / "bin" / "django-admin")
    run([django_admin, "startproject", "mysite", "."], directory)
    run([django_admin, "startapp", "people"], directory)
    for name, text in {
        "people/models.py": MODELS,
        "host_urls.py": URLS,
        "host_router.py": ROUTER,
        "host_storage.py": STORAGE,
        "host_wsgi.py": WSGI,
        "host_prepare.py": PREPARE,
        **{f"host_{name}.py": ASGI % text for name, text in APPLICATIONS.items()},
    }.items():
        (directory / name).write_text(text)
    (directory / "people_settings.py").write_text(
        "from mysite.settings import *\n"
        'INSTALLED_APPS.append("people")\n'
        'AUTH_USER_MODEL = "people.Member"\n'
    )
    command = [str(venv / "bin" / "python"), "manage.py", "makemigrations", "people"]
    run(command, directory, DJANGO_SETTINGS_MODULE="people_settings")


@contextmanager
def empty_database(url: str) -> Iterator[dict[str, object]]:
    """Make an empty database on a PostgreSQL; yield its Django settings."""
    name = f"agent_host_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        info = connection.info
        try:
            yield {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": name,
                "USER": info.user,
                "PASSWORD": info.password,
                "HOST": info.host,
                "PORT": info.port,
            }
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


class HostProject:
    """A host, with its databases and the commands of its project."""

    def __init__(
        self, host: Host, directory: Path, venv: Path, stack: ExitStack
    ) -> None:
        self.host = host
        self.directory = directory
        self._python = str(venv / "bin" / "python")
        self._name = uuid.uuid4().hex[:12]
        module = f"settings_{self._name}"
        text = SETTINGS % {
            "admin": host.admin == "admin",
            "prefix": host.prefix,
            "own_users": host.users == "own",
            "databases": self._databases(stack),
            "routers": ["host_router.AgentRouter"] if host.database == "alias" else [],
            "static": self._collected,
            "storage": STORAGES[host.static],
        }
        (directory / f"{module}.py").write_text(text)
        self._variables = {"DJANGO_SETTINGS_MODULE": module}

    def _databases(self, stack: ExitStack) -> dict[str, dict[str, object]]:
        """Return the setting; an unnamed default fails at any use."""
        if self.host.database == "alias":
            users, agents = (self._sqlite(name) for name in ("people", "agents"))
            return {"default": {}, "people": users, "agents": agents}
        if self.host.database == "sqlite":
            return {"default": self._sqlite("default")}
        need("postgres")
        url = postgres_url() or stack.enter_context(postgres.available(durable=False))
        return {"default": stack.enter_context(empty_database(url))}

    def _sqlite(self, name: str) -> dict[str, object]:
        path = self.directory / f"{name}-{self._name}.sqlite3"
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path)}

    @property
    def _collected(self) -> str:
        """The name of a folder for the files of the same apps and storage."""
        return f"{self.host.static}-{self.host.admin}"

    def prepare(self) -> str:
        """Check, migrate, make a superuser and collect the static files."""
        aliases = ["default"]
        if self.host.database == "alias":
            aliases = ["people", "agents"]
        return self.run("host_prepare.py", *aliases)

    def run(self, *arguments: str) -> str:
        """Run Python in the project."""
        return run([self._python, *arguments], self.directory, **self._variables)

    @contextmanager
    def serve(self, server: str, module: str) -> Iterator[Server]:
        """Serve an application of the project."""
        with Server(
            [self._python, *COMMANDS[server], f"{module}:application"],
            self.directory,
            environment=clean_environment(**self._variables),
            cwd=self.directory,
            ready=f"/{self.host.prefix}ready",
        ) as started:
            yield started

    def read_static(self, url: str) -> str:
        """Return a collected static file."""
        path = self.directory / "collected" / self._collected
        return (path / url.removeprefix("/static/")).read_text()
