"""The page's cost on the browser's main thread, and layout shifts.

The thread's own clock stops while other threads have the processor, so that a busy
machine changes little.
"""

import re

import pytest
from playwright.async_api import BrowserContext, CDPSession, expect

from streaming.providers.demo.sample import MARKDOWN
from streaming.testing.provider import Reply, StandInProvider
from tests.available import need
from tests.browser.answers import numbers, words
from tests.browser.demo_page import DemoPage

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

LONG = "\n\n".join([MARKDOWN] * (100_000 // len(MARKDOWN)))
TOKENS = 150
EVENTS = 6000
#: Maximum cost of a token in a long answer, relative to a short one. The ratio is near
#: 1; the margin covers a busy machine, but no cost that grows with the answer.
MAX_RATIO = 4

#: Show the beginning of an answer.
SHOW = """async (source) => {
  const path = "/static/streaming/chat/streamed-markdown.js";
  const { StreamedMarkdown } = await import(path);
  const { loadMarkdown } = await import("/static/streaming/chat/markdown.js");
  await loadMarkdown();
  window.markdown = new StreamedMarkdown();
  const answer = document.createElement("div");
  answer.className = "answer";
  answer.append(markdown.element);
  const { shadowRoot } = document.querySelector("agent-chat");
  shadowRoot.getElementById("transcript").replaceChildren(answer);
  markdown.append(`${source}\n\n`);
}"""
#: Append one token per frame.
GO_ON = """async (tokens) => {
  for (let number = 0; number < tokens; number += 1) {
    markdown.append(`token${number} `);
    await new Promise(requestAnimationFrame);
  }
}"""

#: Collect the shifts of visible content that are not due to scrolling.
WATCH_SHIFTS = """() => {
  window.shifted = 0;
  const add = (list) => list.getEntries().forEach(({ value }) => (shifted += value));
  new PerformanceObserver(add).observe({ type: "layout-shift" });
}"""
#: The limit for a good score according to web.dev; events that disappear for a frame
#: exceed it.
MAX_SHIFT = 0.1


class MainThread:
    """The thread of the page's scripts, styles, layout and painting."""

    def __init__(self, session: CDPSession) -> None:
        self._session = session

    async def seconds(self) -> float:
        answer = await self._session.send("Performance.getMetrics")
        metrics = {metric["name"]: metric["value"] for metric in answer["metrics"]}
        seconds: float = metrics["TaskDuration"]
        return seconds


async def main_thread_of(context: BrowserContext, page: DemoPage) -> MainThread:
    session = await context.new_cdp_session(page.page)
    await session.send("Performance.enable", {"timeDomain": "threadTicks"})
    return MainThread(session)


async def test_a_token_costs_the_same_in_long_and_short_answers(
    context: BrowserContext, scripted: DemoPage
) -> None:
    need("libraries")
    thread = await main_thread_of(context, scripted)
    costs = []
    for begun in ("Well.", LONG):
        await scripted.page.evaluate(SHOW, begun)
        await scripted.page.evaluate(GO_ON, TOKENS)  # until all is drawn and coloured
        began = await thread.seconds()
        await scripted.page.evaluate(GO_ON, TOKENS)
        costs.append(await thread.seconds() - began)
    short, long = costs
    assert long < MAX_RATIO * short


async def test_the_newest_of_thousands_of_events_are_listed(
    scripted: DemoPage, model: StandInProvider
) -> None:
    model.reply(Reply(words(*numbers(EVENTS))))
    await scripted.run("Count.")
    await expect(scripted.text).to_contain_text(f"{EVENTS - 1} {EVENTS}")
    await expect(scripted.events.last).to_contain_text("done")
    assert 4900 < await scripted.events.count() <= 5000
    await expect(scripted.events.last).to_be_in_viewport()
    await expect(scripted.events.first).not_to_be_in_viewport()


async def test_nothing_flickers_while_an_answer_grows(
    scripted: DemoPage, model: StandInProvider
) -> None:
    need("libraries")
    body = words(*re.findall(r"\s*\S+", "\n\n".join([MARKDOWN] * 3)))
    model.reply(Reply(body, chunk_size=1000, delay=0.01))
    await scripted.page.evaluate(WATCH_SHIFTS)
    await scripted.run("Tell me all.")
    await expect(scripted.events.last).to_contain_text("done")
    assert await scripted.page.evaluate("shifted") < MAX_SHIFT
