"""What this machine has for the tests beyond Python, and what must not be missing.

`python -m tests.available` says it, one line each; `python -m tests.available postgres`
prints where that one is. The environment variable TEST_REQUIRE names what must be
there, as in `TEST_REQUIRE=postgres,chromium,node`: a test that lacks it then fails
instead of being skipped.
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
    """A PostgreSQL that answers and lets us create a database.

    TEST_DATABASE_URL names it; without that, one on localhost is looked for.
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
    """A Chromium that Playwright can drive. TEST_CHROMIUM names another one."""
    names = (os.environ.get("TEST_CHROMIUM", ""), *CHROMIUM_NAMES)
    return next((path for name in names if (path := shutil.which(name))), None)


def node_path() -> str | None:
    """Node.js."""
    return shutil.which("node")


def nginx_path() -> str | None:
    """nginx, which is often installed where only root's PATH leads."""
    path = os.environ.get("PATH", os.defpath)
    return shutil.which("nginx", path=f"{path}{os.pathsep}/usr/sbin")


def libraries_path() -> str | None:
    """What npm brings for the page."""
    path = Path(__file__).resolve().parent.parent / "node_modules/.browser/libraries"
    return str(path) if path.is_dir() else None


def packages_path() -> str | None:
    """What npm brings for the tests."""
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
    "packages": "JavaScript is not compared with others', nor the page audited",
}


def required() -> set[str]:
    """What TEST_REQUIRE names, and a PostgreSQL that TEST_DATABASE_URL names."""
    listed = os.environ.get("TEST_REQUIRE", "").split(",")
    names = {name.strip() for name in listed if name.strip()}
    if unknown := sorted(names - FINDERS.keys()):
        known = ", ".join(FINDERS)
        sys.exit(f"TEST_REQUIRE: unknown {', '.join(unknown)}; there are {known}.")
    if os.environ.get("TEST_DATABASE_URL"):
        names.add("postgres")
    return names


def need(name: str) -> str:
    """Where it is. Lacking it, the calling test is skipped, or fails if required."""
    if found := FINDERS[name]():
        return found
    if name in required():
        pytest.fail(f"{name} is required and missing")
    pytest.skip(f"{name} is missing: {WITHOUT[name]}")


def report() -> int:
    """Say in one line each what is here; the number of required ones that are not."""
    found = {name: find() for name, find in FINDERS.items()}
    missing = {name for name in required() if not found[name]}
    for name, where in found.items():
        lack = "required, and missing" if name in missing else f"none: {WITHOUT[name]}"
        print(f"{name:<9} {where or lack}")
    return len(missing)


def main(arguments: Sequence[str]) -> int:
    """The exit status: 0 when what was asked for is there."""
    if not arguments:
        return report()
    found = FINDERS[arguments[0]]()
    print(found or "")
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
