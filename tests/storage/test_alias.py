"""The database that a project's routers choose for the app."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.db import connections, transaction
from django.test import override_settings

from streaming.models import Run
from streaming.storage.alias import app_alias, app_connection
from streaming.storage.connections import keep_own_connection
from streaming.storage.threads import DaemonThreads
from tests.servers import ROOT, site_environment


class Router:
    """A router that puts the app on a database of its own."""

    def db_for_write(self, model: type, **hints: object) -> str | None:
        """Return the database of the app's models alone."""
        return "agents" if model is Run else None

    db_for_read = db_for_write


def test_the_routers_choose_the_database() -> None:
    assert app_alias() == "default"
    assert app_connection() is connections["default"]
    with override_settings(DATABASE_ROUTERS=[Router()]):
        assert app_alias() == "agents"


#: Uses each part of the app; the default database fails at any use.
SCRIPT = """
import asyncio, json, os
from pathlib import Path
import django
from django.conf import settings

sqlite = dict(settings.DATABASES["default"])
settings.DATABASES = {
    "default": {},
    "agents": sqlite | {"NAME": Path(os.environ["DATA_DIR"]) / "agents.sqlite3"},
    "others": sqlite,
}
settings.ALLOWED_HOSTS = ["testserver"]
settings.DATABASE_ROUTERS = ["tests.storage.test_alias.Others"]
django.setup()

from django.core.management import call_command
from django.test import AsyncClient

for alias in ("agents", "others"):
    call_command("migrate", database=alias, verbosity=0)

API = "/api/v1/agent"


async def use():
    from streaming import runs
    from streaming.storage import database

    client = AsyncClient()
    for question in ("2 + 2", "3 + 3"):
        body = {"input": question, "conversation_id": "c"}
        ran = await client.post(f"{API}/run", body, "application/json")
        assert ran.status_code == 200, ran.content
    ready = await client.get("/ready")
    assert ready.status_code == 200, ready.content
    found = await client.get(f"{API}/conversations", {"search": "2 + 2"})
    whole = await client.get(f"{API}/conversations/c")
    run_id = ran.headers["X-Run-Id"]
    state = await client.get(f"{API}/runs/{run_id}")
    cancelled = await client.post(f"{API}/runs/{run_id}/cancel")
    assert cancelled.status_code == 200
    await runs.aclose()
    database.close()
    return [len(found.json()["conversations"]), len(whole.json()["messages"]) >= 4,
            state.json()["status"]]

print(json.dumps(asyncio.run(use())))
call_command("index_conversations")
call_command("prune_runs", days=1, conversations=1)

from io import StringIO
from django.contrib.auth.models import User

user, key = User.objects.create(username="ada"), StringIO()
of_default = "--organization=default"
call_command(
    "create_api_key", of_default, "--name=x", f"--user={user.pk}", stdout=key
)
call_command("revoke_api_key", key.getvalue().split("_")[1])
call_command("export_data", of_default)
call_command("erase_data", of_default, f"--user={user.pk}", "--yes")
call_command("erase_data", of_default, "--yes")
"""


class Others:
    """A router that leaves the default database without models."""

    def db_for_read(self, model: type, **hints: object) -> str:
        """Return the app's database, or that of the other apps."""
        return "agents" if model.__module__.startswith("streaming.") else "others"

    db_for_write = db_for_read

    def allow_migrate(self, db: str, app_label: str, **hints: object) -> bool:
        """Give each app its database alone."""
        return db == ("agents" if app_label == "streaming" else "others")


def test_the_app_works_on_a_database_of_its_own(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=ROOT,
        env=site_environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[0] == '[1, true, "completed"]'
    assert "The index exists." in ended.stdout
    assert ": revoked" in ended.stdout
    assert '"type":"end"' in ended.stdout
    assert "Api keys: 1" in ended.stdout


@contextmanager
def without_options() -> Iterator[None]:
    """Have connections as in a project that sets no options for SQLite."""
    options = connections["default"].settings_dict["OPTIONS"]
    mode = options.pop("transaction_mode")
    try:
        yield
    finally:
        options["transaction_mode"] = mode


@pytest.mark.sqlite
@pytest.mark.django_db(transaction=True)
def test_transactions_of_the_app_on_sqlite_begin_with_their_lock() -> None:
    def statements() -> list[str]:
        connection = app_connection()
        connection.force_debug_cursor = True
        with transaction.atomic():
            pass
        return [query["sql"] for query in connection.queries]

    with without_options():
        threads = DaemonThreads(
            1, "own", connections.close_all, at_start=keep_own_connection
        )
        found = threads.submit(statements).result()
        threads.shutdown()
    assert found[0] == "BEGIN IMMEDIATE"
