"""Shared fixtures: the provider's stand-in, the database, and the API's client.

Alice and Bob work in organization "acme"; Charlie is outside, in "umbrella".
"""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from django.conf import settings
from django.test import override_settings

from streaming import db, runs
from tests.client import Api
from tests.upstream import Upstream


@pytest_asyncio.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """A provider that answers what the test scripts."""
    async with Upstream() as server:
        yield server


@pytest.fixture(scope="session", autouse=True)
def _close_database_threads(django_db_setup: None) -> Iterator[None]:
    """PostgreSQL drops no database that somebody is connected to."""
    yield
    db.close()


@pytest_asyncio.fixture
async def api(transactional_db: None) -> AsyncIterator[Api]:
    """The application as a client sees it, with what it runs ended afterwards."""
    yield Api()
    with override_settings(AGENT={**settings.AGENT, "drain": 0}):
        await runs.aclose()


@pytest.fixture
def agent_settings() -> Iterator[Any]:
    """Change settings of the agent: `agent_settings(history_chars=10)`."""
    changed: list[override_settings] = []

    def change(**values: object) -> None:
        override = override_settings(AGENT={**settings.AGENT, **values})
        override.enable()
        changed.append(override)

    yield change
    for override in reversed(changed):
        override.disable()
