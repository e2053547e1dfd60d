"""The programs and packages beyond Python that the tests use, and which are required.

`python -m tests.available` prints one line for each; `python -m tests.available
postgres` prints the location of that one. The environment variable TEST_REQUIRE names
those that must be there, as in `TEST_REQUIRE=postgres,chromium,node`: a test that lacks
one then fails instead of being skipped.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import psycopg
import pytest

from bench.fleet.services import postgres_programs

POSTGRES_URLS = (
    "postgresql://localhost/postgres",
    "postgresql://postgres@localhost/postgres",
    "postgresql://postgres:postgres@localhost/postgres",
)
CHROMIUM_NAMES = (
    "chromium-headless-shell",  # the same pages at two thirds of the CPU time
    "chromium",
    "chromium-browser",
    "google-chrome",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
MAY_CREATE_DATABASES = (
    "SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"
)


def postgres_url() -> str | None:
    """Return the URL of a running PostgreSQL on which databases can be created.

    TEST_DATABASE_URL names it; without that, the usual URLs on localhost are tried.
    """
    named = os.environ.get("TEST_DATABASE_URL")
    urls = (named,) if named else POSTGRES_URLS
    return next(filter(_may_create_databases, urls), None)


def _may_create_databases(url: str) -> bool:
    try:
        with psycopg.connect(url, connect_timeout=3) as connection:
            row = connection.execute(MAY_CREATE_DATABASES).fetchone()
    except psycopg.Error:
        return False
    return bool(row and row[0])


def suite_postgres() -> str | None:
    """Return a PostgreSQL for the suite: its URL, or the programs of a server."""
    return (
        os.environ.get("TEST_DATABASE_URL")
        and postgres_url()
        or (postgres_server_path() or postgres_url())
    )


def chromium_path() -> str | None:
    """Return a Chromium for Playwright. TEST_CHROMIUM names another one."""
    names = (os.environ.get("TEST_CHROMIUM", ""), *CHROMIUM_NAMES)
    return next((path for name in names if (path := shutil.which(name))), None)


def node_path() -> str | None:
    """Return Node.js."""
    return shutil.which("node")


def nginx_path() -> str | None:
    """Return nginx, which is often installed where only the PATH of root leads."""
    return _daemon_path("nginx")


def pgbouncer_path() -> str | None:
    """Return PgBouncer, which is installed in the same places."""
    return _daemon_path("pgbouncer")


def redis_path() -> str | None:
    """Return the Redis server, of which tests run their own."""
    return _daemon_path("redis-server")


def postgres_server_path() -> str | None:
    """Return the programs of a PostgreSQL server, for one of a test's own."""
    found = postgres_programs()
    return str(found) if found else None


def systemd_path() -> str | None:
    """Return the program that verifies units; no systemd needs to run."""
    return shutil.which("systemd-analyze")


def _daemon_path(name: str) -> str | None:
    path = os.environ.get("PATH", os.defpath)
    return shutil.which(name, path=f"{path}{os.pathsep}/usr/sbin")


def libraries_path() -> str | None:
    """Return the libraries of the page that npm installs."""
    path = Path(__file__).resolve().parent.parent / "node_modules/.browser/libraries"
    return str(path) if path.is_dir() else None


def packages_path() -> str | None:
    """Return the packages of the tests that npm installs."""
    path = Path(__file__).resolve().parent.parent / "node_modules/eventsource-parser"
    return str(path.parent) if path.is_dir() else None


def rest_framework_path() -> str | None:
    """Return Django REST framework, whose authentication classes are adapted."""
    return _module_path("rest_framework")


def ninja_path() -> str | None:
    """Return django-ninja, the same."""
    return _module_path("ninja")


def _module_path(name: str) -> str | None:
    spec = importlib.util.find_spec(name)
    return spec.origin if spec else None


def audit_path() -> str | None:
    """Return pip-audit, which `make audit` has installed beside this environment."""
    prefix = Path(sys.prefix)
    return shutil.which(prefix.with_name(f"{prefix.name}-audit") / "bin" / "pip-audit")


def pypi() -> str | None:
    """Return a sentence if packages can be installed, from PyPI or from uv's cache."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "-"]
    asked = subprocess.run(command, input=b"hatchling", capture_output=True)
    return None if asked.returncode else "packages can be installed"


FINDERS: dict[str, Callable[[], str | None]] = {
    "postgres": suite_postgres,
    "chromium": chromium_path,
    "node": node_path,
    "nginx": nginx_path,
    "pgbouncer": pgbouncer_path,
    "postgres-server": postgres_server_path,
    "redis": redis_path,
    "systemd": systemd_path,
    "libraries": libraries_path,
    "packages": packages_path,
    "drf": rest_framework_path,
    "ninja": ninja_path,
    "audit": audit_path,
    "pypi": pypi,
}
WITHOUT = {
    "postgres": "the suite runs on SQLite only",
    "chromium": "tests of the page in a browser are skipped",
    "node": "JavaScript is not checked",
    "nginx": "the nginx configuration is not tested",
    "pgbouncer": "PostgreSQL is tested without a pooler of transactions",
    "postgres-server": "no test kills or restarts PostgreSQL",
    "redis": "new events are not brought to other processes by Redis",
    "systemd": "the units of systemd are not verified",
    "libraries": "the page is tested with plain text only",
    "packages": "JavaScript is not compared with other clients, nor the page audited",
    "drf": "classes of Django REST framework are not tested as authenticators",
    "ninja": "classes of django-ninja are not tested as authenticators",
    "audit": "no real audit is tried, before `make audit` installs its program",
    "pypi": "the wheel is not installed, and the tutorial not followed",
}


def required() -> set[str]:
    """Return the names in TEST_REQUIRE, and postgres if TEST_DATABASE_URL is set."""
    listed = os.environ.get("TEST_REQUIRE", "").split(",")
    names = {name.strip() for name in listed if name.strip()}
    if unknown := sorted(names - FINDERS.keys()):
        known = ", ".join(FINDERS)
        sys.exit(f"TEST_REQUIRE: unknown {', '.join(unknown)}; there are {known}.")
    if os.environ.get("TEST_DATABASE_URL"):
        names.add("postgres")
    return names


def need(name: str) -> str:
    """Return the location; without it skip the test, or fail if it is required."""
    if found := FINDERS[name]():
        return found
    if name in required():
        pytest.fail(f"{name} is required and missing")
    pytest.skip(f"{name} is missing: {WITHOUT[name]}")


def report() -> int:
    """Print one line for each; return how many required ones are missing."""
    found = {name: find() for name, find in FINDERS.items()}
    missing = {name for name in required() if not found[name]}
    for name, where in found.items():
        lack = "required, and missing" if name in missing else f"none: {WITHOUT[name]}"
        print(f"{name:<9} {where or lack}")
    return len(missing)


def main(arguments: Sequence[str]) -> int:
    """Print and return the exit status: 0 if nothing required is missing."""
    if not arguments:
        return report()
    found = FINDERS[arguments[0]]()
    print(found or "")
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
