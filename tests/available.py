"""The programs and packages beyond Python that the tests use, and which are required.

`python -m tests.available` prints one line for each; `python -m tests.available
postgres` prints the location of that one. The environment variable TEST_REQUIRE names
those that must be there, as in `TEST_REQUIRE=postgres,chromium,node`: a test that lacks
one then fails instead of being skipped.
"""

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import psycopg
import pytest

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
    """Return the URL of a PostgreSQL on which databases can be created.

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


def chromium_path() -> str | None:
    """Return a Chromium for Playwright. TEST_CHROMIUM names another one."""
    names = (os.environ.get("TEST_CHROMIUM", ""), *CHROMIUM_NAMES)
    return next((path for name in names if (path := shutil.which(name))), None)


def node_path() -> str | None:
    """Return Node.js."""
    return shutil.which("node")


def nginx_path() -> str | None:
    """Return nginx, which is often installed where only the PATH of root leads."""
    path = os.environ.get("PATH", os.defpath)
    return shutil.which("nginx", path=f"{path}{os.pathsep}/usr/sbin")


def libraries_path() -> str | None:
    """Return the libraries of the page that npm installs."""
    path = Path(__file__).resolve().parent.parent / "node_modules/.browser/libraries"
    return str(path) if path.is_dir() else None


def packages_path() -> str | None:
    """Return the packages of the tests that npm installs."""
    path = Path(__file__).resolve().parent.parent / "node_modules/eventsource-parser"
    return str(path.parent) if path.is_dir() else None


FINDERS: dict[str, Callable[[], str | None]] = {
    "postgres": postgres_url,
    "chromium": chromium_path,
    "node": node_path,
    "nginx": nginx_path,
    "libraries": libraries_path,
    "packages": packages_path,
}
WITHOUT = {
    "postgres": "the suite runs on SQLite only",
    "chromium": "tests of the page in a browser are skipped",
    "node": "JavaScript is not checked",
    "nginx": "the nginx configuration is not tested",
    "libraries": "the page is tested with plain text only",
    "packages": "JavaScript is not compared with other clients, nor the page audited",
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
