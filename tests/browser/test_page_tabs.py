"""Many tabs of one browser over HTTP/1.1, which allows six connections to a server."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext, expect

from streaming.testing.provider import Reply, StandInProvider
from streaming.testing.server import Server
from tests.browser.answers import counted, held, numbers, words
from tests.browser.demo_page import SHOW_EVENTS, DemoPage, organization_of_its_own
from tests.browser.real_tabs import RealTab, browser_of_real_tabs
from tests.providers.openai_streams import chunk, chunks
from tests.servers import model_variables, serve

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

CONNECTIONS = 6
COUNT = 400
FIRST_PART = 50
#: More than the time between two visits, and less than two of them.
ABANDON_SECONDS = "24"
PATIENCE_SECONDS = 60
UNENDED = Reply(chunks(chunk(content="So far")), end="hang")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def real_tabs(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[BrowserContext]:
    async with browser_of_real_tabs(tmp_path_factory.mktemp("chromium")) as context:
        await context.add_init_script(SHOW_EVENTS)
        yield context


async def open_page(
    context: BrowserContext, server: Server
) -> tuple[RealTab, DemoPage]:
    tab = await RealTab.open(context)
    page = DemoPage(tab.page)
    await tab.page.goto(organization_of_its_own(server))
    await page.shows("ready")
    return tab, page


async def until_active(model: StandInProvider, replies: int) -> None:
    """Wait until the model sends so many replies."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while model.active != replies:  # noqa: ASYNC110
            await asyncio.sleep(0.05)  # the stand-in reports only the first that left


async def test_six_streams_leave_room_for_stop_and_hidden_ones_for_more_tabs(
    real_tabs: BrowserContext, scripted_server: Server, model: StandInProvider
) -> None:
    tabs = []
    for _ in range(CONNECTIONS):
        model.reply(UNENDED)
        tab, page = await open_page(real_tabs, scripted_server)
        await page.start("Talk for ever.")
        await expect(page.text).to_have_text("So far")
        tabs.append((tab, page))
    _, first = tabs.pop()
    await first.stop_button.click()
    await first.shows("stopped")
    await until_active(model, CONNECTIONS - 1)
    model.reply(UNENDED, Reply(words("Here I am.")))
    await first.start("Again.")
    await expect(first.text).to_have_text("So far")

    for tab, _ in tabs:
        await tab.hide()
    _, seventh = await open_page(real_tabs, scripted_server)
    await seventh.run("Is there room?")
    await expect(seventh.text).to_have_text("Here I am.")

    for left, (tab, page) in reversed([*enumerate(tabs, start=1)]):
        await tab.show()
        await page.stop_button.click()
        await page.shows("stopped")
        await until_active(model, left)
        assert (await page.event_types())[-2:] == ["complete", "done"]
    await first.stop_button.click()
    await first.shows("stopped")
    await until_active(model, 0)
    for page in (first, seventh, *(page for _, page in tabs)):
        assert page.complaints == []
        await page.page.close()


async def next_visit(page: DemoPage) -> None:
    """Wait until a hidden page connects for a moment."""
    await page.page.wait_for_event(
        "request",
        lambda request: "/events" in request.url,
        timeout=PATIENCE_SECONDS * 1000,
    )


async def test_a_hidden_tab_keeps_its_run_and_misses_nothing(
    real_tabs: BrowserContext, model: StandInProvider, tmp_path: Path
) -> None:
    rest = asyncio.Event()
    model.reply(held(rest, *numbers(COUNT), begun=FIRST_PART))
    variables = model_variables(model)
    with serve(tmp_path, RUN_ABANDON_SECONDS=ABANDON_SECONDS, **variables) as server:
        tab, page = await open_page(real_tabs, server)
        await page.settings_button.click()
        await page.settings.get_by_label("Run in the background").uncheck()
        await page.settings.get_by_role("button", name="Save").click()
        await page.start("Count.")
        await expect(page.text).to_have_text(counted(FIRST_PART))
        await tab.hide()
        for _ in range(2):
            await next_visit(page)
        rest.set()
        await tab.show()
        await page.shows("completed")
        await expect(page.text).to_have_text(counted(COUNT))
        await expect(page.events.last.locator(".event-type")).to_have_text("done")
        # Chromium gives no inner text of the events that are out of view.
        types = await page.events.locator(".event-type").all_text_contents()
        assert types.count("connected") > 2
        content = ["content"] * COUNT
        assert [type for type in types if type != "connected"] == [
            *content,
            "complete",
            "done",
        ]
        assert page.complaints == []
        await page.page.close()


async def test_the_back_button_returns_to_a_stream_that_continues(
    real_tabs: BrowserContext, scripted_server: Server, model: StandInProvider
) -> None:
    rest = asyncio.Event()
    model.reply(held(rest, *numbers(COUNT), begun=FIRST_PART))
    _, page = await open_page(real_tabs, scripted_server)
    await page.start("Count.")
    await expect(page.text).to_have_text(counted(FIRST_PART))
    await page.page.goto(f"{scripted_server.url}/health")
    await page.page.go_back()
    await expect(page.text).to_have_text(counted(FIRST_PART))
    await page.shows("streaming")
    rest.set()
    await page.shows("completed")
    await expect(page.text).to_have_text(counted(COUNT))
    assert page.complaints == []
    await page.page.close()


async def test_a_frozen_tab_continues_when_it_is_thawed(
    real_tabs: BrowserContext, scripted_server: Server, model: StandInProvider
) -> None:
    rest = asyncio.Event()
    model.reply(held(rest, *numbers(COUNT), begun=FIRST_PART))
    tab, page = await open_page(real_tabs, scripted_server)
    await page.start("Count.")
    await expect(page.text).to_have_text(counted(FIRST_PART))
    await tab.hide()
    await tab.freeze()
    rest.set()
    await tab.thaw()
    await tab.show()
    await page.shows("completed")
    await expect(page.text).to_have_text(counted(COUNT))
    assert page.complaints == []
    await page.page.close()
