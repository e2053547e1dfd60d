"""What the page costs the browser's main thread, by the thread's own clock.

That clock stands still while others have the processor, so that a busy machine changes
little.
"""

import asyncio
from collections.abc import Sequence

import pytest
from playwright.async_api import BrowserContext, CDPSession, expect

from streaming.providers.demo.sample import MARKDOWN
from tests.available import need
from tests.browser.answers import held, numbers, words
from tests.browser.demo_page import DemoPage
from tests.upstream import Reply, Upstream

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

TOKENS = 150
TOKEN_SECONDS = 0.01
LONG = "\n\n".join([MARKDOWN] * (100_000 // len(MARKDOWN)))
#: Some ten times what a slow machine takes.
SECONDS_AN_EVENT = 0.003
EVENTS = 6000

REST_SECONDS = 0.2

COUNT_FRAMES = """() => {
  window.frames_drawn = 0;
  const count = () => {
    frames_drawn += 1;
    requestAnimationFrame(count);
  };
  count();
}"""


class MainThread:
    """Where the page's scripts, styles, layout and painting take their time."""

    def __init__(self, page: DemoPage, session: CDPSession) -> None:
        self._page = page
        self._session = session

    async def seconds(self) -> float:
        answer = await self._session.send("Performance.getMetrics")
        metrics = {metric["name"]: metric["value"] for metric in answer["metrics"]}
        seconds: float = metrics["TaskDuration"]
        return seconds

    async def rests(self) -> None:
        """Wait until there is nothing left to do."""
        before = await self.seconds()
        await asyncio.sleep(REST_SECONDS)
        while await self.seconds() - before > REST_SECONDS / 4:
            before = await self.seconds()
            await asyncio.sleep(REST_SECONDS)

    async def seconds_a_frame(self, tokens: Sequence[str]) -> float:
        """While these tokens are shown at the end of the answer."""
        end = self._page.text.locator("> :last-child > :last-child")
        await expect(end).to_contain_text(tokens[0])
        began, frames = await self.seconds(), await self._frames()
        await expect(end).to_contain_text(tokens[-1])
        took = await self.seconds() - began
        return took / (await self._frames() - frames)

    async def _frames(self) -> int:
        frames: int = await self._page.page.evaluate("frames_drawn")
        return frames


async def main_thread_of(context: BrowserContext, page: DemoPage) -> MainThread:
    session = await context.new_cdp_session(page.page)
    await session.send("Performance.enable", {"timeDomain": "threadTicks"})
    await page.page.evaluate(COUNT_FRAMES)
    return MainThread(page, session)


async def test_a_long_answer_grows_at_the_cost_of_a_short_one(
    context: BrowserContext, scripted: DemoPage, model: Upstream
) -> None:
    need("libraries")
    thread = await main_thread_of(context, scripted)
    tokens = [f"token{number} " for number in range(TOKENS)]
    costs = []
    for begun in ("Well.", LONG):
        rest = asyncio.Event()
        model.reply(held(rest, f"{begun}\n\n", *tokens, delay=TOKEN_SECONDS))
        await scripted.start("Tell me all.")
        await expect(scripted.text).not_to_be_empty()
        await thread.rests()
        rest.set()
        costs.append(await thread.seconds_a_frame(tokens))
        await scripted.shows("completed")
        await scripted.clear_button.click()
    short, long = costs
    assert long < 2.5 * short


async def test_thousands_of_events_leave_the_page_quick(
    context: BrowserContext, scripted: DemoPage, model: Upstream
) -> None:
    model.reply(Reply(words(*numbers(EVENTS))))
    thread = await main_thread_of(context, scripted)
    began = await thread.seconds()
    await scripted.run("Count.")
    await expect(scripted.text).to_contain_text(f"{EVENTS - 1} {EVENTS}")
    await expect(scripted.events.last).to_contain_text("done")
    assert (await thread.seconds() - began) / EVENTS < SECONDS_AN_EVENT
    assert 4900 < await scripted.events.count() <= 5000
    await expect(scripted.events.last).to_be_in_viewport()
    await expect(scripted.events.first).not_to_be_in_viewport()
