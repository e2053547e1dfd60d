"""The checks of settings that are valid each, but not in combination."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.checks import run_checks
from django.test import override_settings

from tests.conftest import ChangeSettings
from tests.servers import ROOT, site_environment

SYNC_ONLY = "tests.test_checks.sync_only"


def sync_only(get_response: object) -> object:
    """A sync-only middleware."""
    return get_response


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


def test_atomic_requests_are_an_error() -> None:
    databases = {"default": {**settings.DATABASES["default"], "ATOMIC_REQUESTS": True}}
    settings_of_tests = override_settings(DATABASES=databases)
    with pytest.warns(UserWarning, match="DATABASES"), settings_of_tests:
        found = messages()
    assert list(found) == ["streaming.E001"]


#: As on a disk that cannot hold a write-ahead log, where the PRAGMA has no effect.
WITHOUT_A_LOG = """
import django
from django.conf import settings
settings.DATABASES["default"]["OPTIONS"] = {}
django.setup()
from django.core.management import call_command
call_command("check", databases=["default"], fail_level="WARNING")
"""


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
