"""Shared fixtures: the provider's stand-in, and the cast of the tests.

Alice and Bob work in organization "acme"; Charlie is outside, in "umbrella".
"""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.upstream import Upstream


@pytest_asyncio.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """A provider that answers what the test scripts."""
    async with Upstream() as server:
        yield server
