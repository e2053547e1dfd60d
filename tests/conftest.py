"""Shared fixtures: the stand-in provider, the database, and the client of the API.

Alice and Bob work in organization "acme"; Charlie is outside, in "umbrella".
"""

import gc
import os
import time
from collections.abc import AsyncIterator, Iterator
from importlib import import_module
from pathlib import Path
from typing import Protocol

import hypothesis
import pytest
import pytest_asyncio
from asgiref.sync import SyncToAsync
from django.conf import settings
from django.db import connection, connections, transaction
from django.test import override_settings
from pytest_django import DjangoDbBlocker

import streaming
from agentsite.options import SiteOptions
from bench.faults.databases import share_template
from streaming import conf, runs
from streaming.agents.loops import make_loops
from streaming.options import declarations
from streaming.runs import RunService
from streaming.server.host import close_background_loop
from streaming.storage import database
from streaming.testing import secrets
from streaming.testing.provider import StandInProvider
from tests import campaign
from tests.client import Api
from tests.installed import check_origin

hypothesis.settings.register_profile(
    "sample",
    deadline=None,  # the machine may be slow
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    derandomize=True,
)
hypothesis.settings.register_profile(
    campaign.LONG,
    parent=hypothesis.settings.get_profile("sample"),
    derandomize=False,
    max_examples=1000,
)
hypothesis.settings.load_profile("sample")


#: They need a server of several 100 MB: `make real-model`, or that directory by name.
collect_ignore = ["real_model"]

#: Tables whose rows come with the migrations, and are changed by no test.
FILLED_BY_MIGRATIONS = {"auth_permission", "django_content_type"}

#: Their tests start servers, and are the longest.
LONGEST = ("faults", "packaging", "processes", "selftest")


def pytest_configure() -> None:
    """Import the SDKs, and collect no garbage while the tests are collected.

    Refuse to test the checkout in place of the installed wheel.

    On a busy machine the import takes longer than a request may take. All that is made
    until the first test stays: looking through it again and again is a fifth of the
    time, in each worker.
    """
    check_origin(Path(streaming.__file__))
    gc.disable()
    for sdk in ("anthropic", "openai"):
        import_module(sdk)


def pytest_collection_finish() -> None:
    """Collect garbage from now on, except among the objects of modules and tests."""
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Leave tests of the other database to its run; move the longest to the front.

    None of these then runs alone at the end.
    """
    other = {"postgresql": "sqlite", "sqlite": "postgresql"}[connection.vendor]
    others = [item for item in items if item.get_closest_marker(other)]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if not item.get_closest_marker(other)]
    items.sort(key=lambda item: item.path.parent.name not in LONGEST)
    if config.getoption("loadgroup", False):
        for item in items:
            name_group(item)


def name_group(item: pytest.Item) -> None:
    """Add the group of a test to its id, from which xdist takes the group.

    xdist 3.8 does the same in an attribute that pytest 9.2 does not read, and then each
    worker starts the servers and the browser of a group.
    """
    if marker := item.get_closest_marker("xdist_group"):
        item._id = type(item.id).parse(f"{item.nodeid}@{marker.args[0]}")


#: The longest that a test which counts runs of a minute may take.
EARLY_SECONDS = 5

#: Keys that tests give to providers directly.
for key in ("sk-ant-secret", "sk-secret", "sk-test"):
    secrets.register(f"the key {key[:6]}…", key)
SECRETS = {
    declared.name
    for group in (SiteOptions, *conf.groups())
    for declared in declarations(group)
    if declared.setting.secret
}


def secrets_in_use() -> dict[str, str]:
    """Return the keys and passwords of the present settings."""
    given: dict[str, object] = {**os.environ, **getattr(settings, "STREAMING", {})}
    found = {name: str(given.get(name, "")) for name in SECRETS}
    found |= secrets.of_environment(found)
    return {**found, "SECRET_KEY": settings.SECRET_KEY}


@pytest.fixture(autouse=True)
def no_secret_is_logged() -> Iterator[None]:
    """Fail a test that logs a key or a password that it uses."""
    with secrets.LogSearch(secrets_in_use) as search:
        yield
    assert search.leaks == []


@pytest.fixture(autouse=True)
def no_background_loop() -> Iterator[None]:
    """End the runs of a test that served a request as WSGI does.

    Their service would use the database of later tests, and claim their queued runs.
    """
    yield
    close_background_loop()


class ChangeSettings(Protocol):
    """The type of the fixture `agent_settings`."""

    def __call__(self, **values: object) -> None: ...


@pytest_asyncio.fixture
async def upstream() -> AsyncIterator[StandInProvider]:
    """A provider with the replies that the test scripts."""
    async with StandInProvider() as server:
        yield server


@pytest.fixture(scope="session", autouse=True)
def one_template(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Have all workers copy the database of one migration for their servers."""
    own = tmp_path_factory.getbasetemp()
    share_template(own.parent if "PYTEST_XDIST_WORKER" in os.environ else own)


@pytest.fixture(scope="session")
def django_db_setup(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[None]:
    """Disconnect before the test database is dropped: PostgreSQL refuses otherwise."""
    yield
    database.close()
    # Async ORM calls of the tests themselves run on this thread.
    SyncToAsync.single_thread_executor.submit(connections.close_all).result()
    if connection.vendor == "postgresql":
        with django_db_blocker.unblock():
            _end_other_sessions()


def _end_other_sessions() -> None:
    """End those of threads that a test has left, which end with the process."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


#: Connections that tests keep: of the main thread, and of asynchronous ORM calls.
KEPT = 2
#: Time for a thread of a test to end, and for the pool to replace a broken connection.
RETURN_SECONDS = 20.0


def await_connections() -> None:
    """Wait until all connections have returned to the pool but those that tests keep.

    Raises AssertionError if a thread has ended and left one open.
    """
    ends = time.monotonic() + RETURN_SECONDS
    while _open_connections() > KEPT:
        assert time.monotonic() < ends, "a thread has left a connection open"
        time.sleep(0.01)


def _open_connections() -> int:
    """Return the number of connections that are not in the pool of PostgreSQL.

    Those of threads that have ended never return, and later tests would get none.
    """
    pool = getattr(connection, "pool", None)
    if pool is None:
        return 0
    found = pool.get_stats()
    return int(found["pool_size"] - found["pool_available"])


@pytest.fixture
def transactional_db(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[None]:
    """Let a test commit, and empty the tables afterwards.

    The fixture of pytest-django that this one replaces truncates all tables and writes
    the permissions again: on PostgreSQL 33 ms of CPU instead of 3, for each test.
    """
    with django_db_blocker.unblock():
        yield
        # A write whose caller was cancelled goes on, and would meet the deletion.
        database.close()
        await_connections()
        tables = connection.introspection.django_table_names(include_views=False)
        with transaction.atomic(), connection.cursor() as cursor:
            for table in set(tables) - FILLED_BY_MIGRATIONS:
                cursor.execute(f"DELETE FROM {connection.ops.quote_name(table)}")


@pytest.fixture
def early_in_minute() -> None:
    """Begin when the calendar minute, in which runs are counted, does not end soon."""
    left = 60 - time.time() % 60
    if left < EARLY_SECONDS:
        time.sleep(left)


@pytest.fixture
def overrides() -> Iterator[list[override_settings]]:
    """The enabled changes of settings, in order; the last one is undone first."""
    enabled: list[override_settings] = []
    yield enabled
    for override in reversed(enabled):
        override.disable()


@pytest.fixture
def agent_settings(overrides: list[override_settings]) -> ChangeSettings:
    """Change keys of STREAMING by field: `agent_settings(run_lease_seconds=1)`."""

    def change(**values: object) -> None:
        changes = {name.upper(): value for name, value in values.items()}
        override = override_settings(STREAMING={**settings.STREAMING, **changes})
        override.enable()
        overrides.append(override)

    return change


@pytest.fixture
def model(upstream: StandInProvider, agent_settings: ChangeSettings) -> None:
    """The agent's model is an OpenAI-compatible server: the stand-in."""
    agent_settings(
        model="openai:test-model",
        openai_api="chat",
        openai_base_url=upstream.url,
        openai_api_key="sk-test",
        llm_max_retries=0,
        llm_first_token_timeout_seconds=20.0,
        llm_silence_timeout_seconds=20.0,
        drain_seconds=0.2,
        event_flush_ms=20,
    )


@pytest_asyncio.fixture
async def api(
    transactional_db: None, agent_settings: ChangeSettings
) -> AsyncIterator[Api]:
    """The application as a client sees it; its runs are ended afterwards."""
    yield Api()
    await runs.aclose()


@pytest_asyncio.fixture
async def other_process(api: Api) -> AsyncIterator[RunService]:
    """The service of a process that shares only the database with the application."""
    other = RunService(make_loops(), conf.get(), database.default, name="other")
    yield other
    await other.aclose()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the tables that tests have recorded as properties, such as the matrix."""
    for report in terminalreporter.getreports("passed"):
        for name, table in report.user_properties:
            if report.when == "call":
                terminalreporter.section(name)
                terminalreporter.write_line(str(table))
