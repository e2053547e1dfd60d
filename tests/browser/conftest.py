"""The page in a real browser, against real servers.

Tests that need a missing Chromium or Node.js are not collected; `make test` reports it
first. TEST_REQUIRE names those that must not be missing.
"""

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, async_playwright

from streaming.testing.provider import StandInProvider
from streaming.testing.server import Server
from tests import available
from tests.browser.demo_page import (
    SHOW_EVENTS,
    DemoPage,
    organization_of_its_own,
    tab,
)
from tests.servers import model_variables, serve

NEEDED_BY = {"chromium": "test_page_*.py", "node": "test_modules.py"}
MISSING = [name for name in NEEDED_BY if not available.FINDERS[name]()]
if lacking := available.required().intersection(MISSING):
    raise pytest.UsageError(f"required and missing: {', '.join(sorted(lacking))}")

collect_ignore_glob = [NEEDED_BY[name] for name in MISSING]

CHROMIUM_ARGUMENTS = (
    "--no-sandbox",
    "--headless",
    "--disable-gpu",
    "--in-process-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PAUSE_MS = 10


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give two workers half of the browser tests each: both start a Chromium."""
    driven = [item for item in items if item.get_closest_marker("browser")]
    tests_in = Counter(item.path for item in driven)
    group_of: dict[Path, int] = {}
    sizes = [0, 0]
    for path in sorted(tests_in, key=lambda path: (-tests_in[path], path)):
        group_of[path] = sizes.index(min(sizes))
        sizes[group_of[path]] += tests_in[path]
    for item in driven:
        group = f"browser-{group_of[item.path]}"
        item.add_marker(pytest.mark.xdist_group(group))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One Chromium for all tests."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=available.chromium_path(), args=CHROMIUM_ARGUMENTS
        )
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    """The state that the tabs of one user share, and no other user's."""
    context = await browser.new_context()
    await context.add_init_script(SHOW_EVENTS)
    yield context
    await context.close()


@pytest.fixture(scope="session")
def demo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose model is the built-in one."""
    directory = tmp_path_factory.mktemp("demo-server")
    environment = {"LLM_PROVIDER": "demo", "DEMO_DELAY_MS": str(PAUSE_MS)}
    with serve(directory, **environment) as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_model() -> AsyncIterator[StandInProvider]:
    """The model of the servers below."""
    async with StandInProvider() as upstream:
        yield upstream


@pytest.fixture
def model(shared_model: StandInProvider) -> StandInProvider:
    """The same, with the replies that the test scripts."""
    shared_model.reset()
    return shared_model


@pytest.fixture(scope="session")
def scripted_server(
    shared_model: StandInProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server whose model sends the replies that the test scripts."""
    directory = tmp_path_factory.mktemp("scripted-server")
    with serve(
        directory,
        CORS_ORIGINS="*",
        AGENT_SUMMARIZE_HISTORY="true",
        **model_variables(shared_model),
    ) as server:
        yield server


@pytest.fixture(scope="session")
def brittle_server(
    shared_model: StandInProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """The same, with a short lease: its runs end soon after it is killed."""
    directory = tmp_path_factory.mktemp("brittle-server")
    with serve(
        directory, RUN_LEASE_SECONDS="1", **model_variables(shared_model)
    ) as server:
        yield server


@pytest.fixture
def own_server(brittle_server: Server, model: StandInProvider) -> Server:
    """The same, for a test to kill or suspend; it is started again if necessary."""
    brittle_server.ensure()
    return brittle_server


@pytest_asyncio.fixture(loop_scope="session")
async def demo(context: BrowserContext, demo_server: Server) -> AsyncIterator[DemoPage]:
    """The page of a server with the built-in model."""
    address = organization_of_its_own(demo_server)
    async with tab(context, demo_server, address) as page:
        yield page


@pytest_asyncio.fixture(loop_scope="session")
async def scripted(
    context: BrowserContext, scripted_server: Server
) -> AsyncIterator[DemoPage]:
    """The page of a server with a scripted model."""
    address = organization_of_its_own(scripted_server)
    async with tab(context, scripted_server, address) as page:
        yield page
