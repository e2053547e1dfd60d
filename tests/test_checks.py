"""The checks of settings that are valid each, but not in combination."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.checks import run_checks
from django.db import connections
from django.test import override_settings

from streaming import checks
from tests.conftest import ChangeSettings
from tests.servers import ROOT, site_environment

#: An executor that never refuses a run.
QUEUES = {"run_executor": "tests.runs.queue_executor.QueueExecutor"}
SYNC_ONLY = "tests.test_checks.sync_only"


def sync_only(get_response: object) -> object:
    """A sync-only middleware."""
    return get_response


@pytest.fixture(autouse=True)
def sessions(agent_settings: ChangeSettings) -> None:
    """Callers are authenticated: the suite's own site is open."""
    agent_settings(authentication=["streaming.auth.session"])


def messages(**options: Any) -> dict[str, str]:  # noqa: ANN401  (as `run_checks` has it)
    """Return the messages of the app's checks, by id."""
    return {
        str(message.id): message.msg
        for message in run_checks(**options)
        if str(message.id).startswith("streaming.")
    }


@pytest.mark.django_db
def test_the_default_settings_pass() -> None:
    assert messages(databases=["default"]) == {}


def test_a_sync_only_middleware_is_named() -> None:
    with override_settings(MIDDLEWARE=[*settings.MIDDLEWARE, SYNC_ONLY]):
        found = messages()
    assert list(found) == ["streaming.W001"]
    assert found["streaming.W001"].startswith(SYNC_ONLY)


@pytest.mark.parametrize(
    ("changed", "id"),
    [
        ({"drain_seconds": 30.0}, "streaming.W002"),
        ({"stream_heartbeat_seconds": 60.0}, "streaming.W003"),
    ],
)
def test_a_time_that_exceeds_those_of_servers_and_proxies_is_reported(
    agent_settings: ChangeSettings, changed: dict[str, float], id: str
) -> None:
    agent_settings(**changed)
    assert list(messages()) == [id]


@pytest.mark.parametrize(
    ("changed", "ids"),
    [
        ({"authentication": "shop.principal"}, ["streaming.W008"]),
        ({"authentication": "shop.principal", "run_max_per_org": 10}, []),
        ({"authentication": "shop.principal", "run_max": 0}, []),
        ({"organization": "shop.organization_of"}, ["streaming.W008"]),
        (
            {"authentication": "shop.principal", "run_max": 0, **QUEUES},
            ["streaming.W008"],
        ),
        ({"authentication": "shop.principal", "run_max_per_org": 10, **QUEUES}, []),
    ],
)
def test_an_organization_that_can_take_all_runs_is_reported(
    agent_settings: ChangeSettings, changed: dict[str, Any], ids: list[str]
) -> None:
    agent_settings(**changed)
    assert list(messages()) == ids


@pytest.mark.parametrize(
    ("changed", "ids"),
    [
        ({"authentication": ["streaming.auth.open"]}, ["streaming.W020"]),
        (
            {"authentication": ["streaming.auth.header('X-Org-Id')"]},
            ["streaming.W021"],
        ),
        (
            {
                "authentication": ["streaming.auth.header('X-Org-Id')"],
                "gateway_secret": "secret",
            },
            [],
        ),
    ],
)
def test_an_authenticator_that_trusts_the_request_is_reported(
    agent_settings: ChangeSettings, changed: dict[str, Any], ids: list[str]
) -> None:
    agent_settings(run_max_per_org=1, **changed)
    assert list(messages()) == ids
    with override_settings(DEBUG=True):
        open = changed["authentication"] == ["streaming.auth.open"]
        assert list(messages()) == ([] if open else ids)


@pytest.mark.parametrize(("size", "ids"), [(5, []), (4, ["streaming.W005"])])
def test_a_pool_with_fewer_connections_than_threads_is_reported(
    agent_settings: ChangeSettings, size: int, ids: list[str]
) -> None:
    agent_settings(database_read_threads=2, request_threads=2)
    options = {"OPTIONS": {"pool": {"max_size": size}}}
    databases = {"default": {**settings.DATABASES["default"], **options}}
    settings_of_tests = override_settings(DATABASES=databases)
    with pytest.warns(UserWarning, match="DATABASES"), settings_of_tests:
        assert list(messages()) == ids


class OtherReads:
    """A router as for a replica."""

    def db_for_read(self, model: object, **hints: object) -> str:
        """Read elsewhere."""
        return "replica"


def test_reads_from_a_replica_are_an_error() -> None:
    with override_settings(DATABASE_ROUTERS=[OtherReads()]):
        found = messages()
    assert list(found) == ["streaming.E003"]
    assert "reads to 'replica' and its writes to 'default'" in found["streaming.E003"]


def test_a_database_without_the_apps_sql_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections["default"], "vendor", "mysql")
    monkeypatch.setattr(connections["default"], "display_name", "MySQL")
    found = messages()
    assert list(found) == ["streaming.E002"]
    assert "cannot be in MySQL" in found["streaming.E002"]
    assert "PostgreSQL and SQLite are supported" in found["streaming.E002"]


def test_procrastinate_without_postgresql_is_an_error(
    monkeypatch: pytest.MonkeyPatch, agent_settings: ChangeSettings
) -> None:
    monkeypatch.setattr(connections["default"], "vendor", "sqlite")
    monkeypatch.setattr(connections["default"], "display_name", "SQLite")
    agent_settings(run_executor="procrastinate")
    found = messages()
    assert list(found) == ["streaming.E004"]
    assert "needs PostgreSQL: on SQLite its tables" in found["streaming.E004"]


def test_procrastinate_without_its_app_is_an_error(
    monkeypatch: pytest.MonkeyPatch, agent_settings: ChangeSettings
) -> None:
    monkeypatch.setattr(connections["default"], "vendor", "postgresql")
    agent_settings(run_executor="procrastinate")
    apps = [each for each in settings.INSTALLED_APPS if "job_tables" not in each]
    with override_settings(INSTALLED_APPS=apps):
        found = messages()
    assert list(found) == ["streaming.E005"]
    assert (
        "needs 'procrastinate.contrib.django' in INSTALLED" in found["streaming.E005"]
    )
    with override_settings(INSTALLED_APPS=[*apps, "tests.job_tables.JobTables"]):
        assert not messages()


def test_a_runserver_that_cannot_stream_is_reported() -> None:
    others = [name for name in settings.INSTALLED_APPS if name != "streaming"]
    with override_settings(INSTALLED_APPS=[*others, "streaming"]):
        assert list(messages()) == ["streaming.W011"]


django_asgi = get_asgi_application()
channels_router = SimpleNamespace(application_mapping={"http": django_asgi})


@pytest.mark.parametrize(
    ("path", "ids"),
    [
        ("agentsite.asgi.application", []),
        ("tests.test_checks.channels_router", ["streaming.W010"]),
        ("tests.test_checks.django_asgi", ["streaming.W010"]),
        ("tests.test_checks.nothing", ["streaming.W009"]),
        (None, []),
    ],
)
def test_the_application_is_checked_for_a_deployment(
    path: str | None, ids: list[str]
) -> None:
    with override_settings(ASGI_APPLICATION=path):
        assert list(messages(include_deployment_checks=True)) == ids
        assert messages() == {}


def test_daphne_is_for_development_only() -> None:
    with override_settings(INSTALLED_APPS=["daphne", *settings.INSTALLED_APPS]):
        assert list(messages()) == ["streaming.W007"]


#: As on a disk that cannot hold a write-ahead log, where the PRAGMA has no effect.
WITHOUT_A_LOG = """
import django
from django.conf import settings
settings.DATABASES["default"]["OPTIONS"] = {}
django.setup()
from django.core.management import call_command
call_command("check", databases=["default"], fail_level="WARNING")
"""


def test_a_database_in_memory_needs_no_write_ahead_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    database = SimpleNamespace(vendor="sqlite", is_in_memory_db=lambda: True)
    monkeypatch.setattr(checks, "connections", {"default": database})
    assert not checks.check_database(None, ["default"])


def test_sqlite_without_its_write_ahead_log_is_reported(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_A_LOG],
        cwd=ROOT,
        env=site_environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 1
    assert "(streaming.W004) The journal of SQLite is 'delete'" in ended.stderr
