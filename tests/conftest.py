"""Shared fixtures: the stand-in provider, the database, and the client of the API.

Alice and Bob work in organization "acme"; Charlie is outside, in "umbrella".
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Protocol

import hypothesis
import pytest
import pytest_asyncio
from asgiref.sync import SyncToAsync
from django.conf import settings
from django.db import connection, connections
from django.test import override_settings

from streaming import conf, runs
from streaming.runs import RunService
from streaming.storage import database
from streaming.testing.provider import StandInProvider
from tests import campaign
from tests.client import Api

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


#: Their tests start servers, and are the longest.
LONGEST = ("faults", "processes", "selftest")


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Leave PostgreSQL's tests to its run; move the longest tests to the front.

    None of these then runs alone at the end.
    """
    if connection.vendor != "postgresql":
        others = [item for item in items if item.get_closest_marker("postgresql")]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in others]
    items.sort(key=lambda item: item.path.parent.name not in LONGEST)


class ChangeSettings(Protocol):
    """The type of the fixture `agent_settings`."""

    def __call__(self, **values: object) -> None: ...


@pytest_asyncio.fixture
async def upstream() -> AsyncIterator[StandInProvider]:
    """A provider with the replies that the test scripts."""
    async with StandInProvider() as server:
        yield server


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> Iterator[None]:
    """Disconnect before the test database is dropped: PostgreSQL refuses otherwise."""
    yield
    database.close()
    # Async ORM calls of the tests themselves run on this thread.
    SyncToAsync.single_thread_executor.submit(connections.close_all).result()


@pytest.fixture
def agent_settings() -> Iterator[ChangeSettings]:
    """Change keys of STREAMING by field: `agent_settings(run_lease_seconds=1)`."""
    changed: list[override_settings] = []

    def change(**values: object) -> None:
        changes = {name.upper(): value for name, value in values.items()}
        override = override_settings(STREAMING={**settings.STREAMING, **changes})
        override.enable()
        changed.append(override)

    yield change
    for override in reversed(changed):
        override.disable()


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
    # A query whose caller was cancelled goes on, and deadlocks with a TRUNCATE.
    await asyncio.to_thread(database.close)


@pytest_asyncio.fixture
async def other_process(api: Api) -> AsyncIterator[RunService]:
    """The service of a process that shares only the database with the application."""
    other = RunService(runs.make_agent(), conf.get(), database.default, name="other")
    yield other
    await other.aclose()
