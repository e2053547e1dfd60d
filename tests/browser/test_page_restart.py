"""A run that loses its server in the middle of its answer: the page shows it once."""

import asyncio
import json
from collections.abc import Sequence

import pytest
from playwright.async_api import BrowserContext, Route, expect

from streaming.testing.provider import Reply, StandInProvider
from streaming.testing.server import Server
from tests.browser.answers import counted, held, numbers
from tests.browser.demo_page import DemoPage, tab
from tests.browser.restarts import (
    CALLED,
    COMPLETE,
    FIRST,
    RETURNED,
    SECOND,
    Sent,
    restarted,
    said,
    stream,
)
from tests.providers.openai_streams import chunk, chunks, fragment

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

COUNT = 400
FIRST_PART = 50
SUM = '{"expression":"6*7"}'
CALL = fragment(SUM, id="call-1", name="calculator", index=0)


async def test_the_void_part_of_an_answer_is_removed_when_the_run_goes_on(
    scripted: DemoPage,
) -> None:
    again = asyncio.Event()

    async def start(route: Route) -> None:
        assert json.loads(route.request.post_data or "")["restarts"] is True
        await route.fulfill(**stream(*FIRST))

    async def resume(route: Route) -> None:
        assert route.request.headers["last-event-id"] == "r:7"
        await again.wait()
        await route.fulfill(**stream(*SECOND))

    await scripted.page.route("**/stream", start)
    await scripted.page.route("**/runs/r/events*", resume)
    await scripted.start("What time is it?")
    await expect(scripted.text).to_have_text(["Let me look. ", "It is twelve o'clo"])
    again.set()
    await scripted.shows("completed")
    await expect(scripted.text).to_have_text(["Let me look. ", "It is noon."])
    await expect(scripted.tools).to_have_count(1)
    await expect(scripted.answer.locator(".thinking")).to_have_count(1)
    types = await scripted.event_types()
    assert types[-5:] == ["restarted", "content", "content", "complete", "done"]
    entry = scripted.events.filter(has_text="restarted")
    await expect(entry).to_contain_text("void after 4, attempt 2")
    struck = scripted.page.locator(".event[data-void] .event-id")
    await expect(struck).to_have_text(["5", "6", "7"])
    drawing = scripted.page.get_by_role("img", name="Timeline of the run")
    await expect(drawing.locator(".bar-discarded")).to_have_count(2)


async def test_an_answer_continues_when_its_server_is_killed_in_the_middle(
    context: BrowserContext, own_server: Server, model: StandInProvider
) -> None:
    rest = asyncio.Event()
    model.reply(
        Reply(chunks(CALL, chunk("tool_calls"))),
        held(asyncio.Event(), *numbers(COUNT), begun=FIRST_PART),
        held(rest, *numbers(COUNT), begun=FIRST_PART),
    )
    async with tab(context, own_server) as page:
        await page.start("What is 6*7, and count.")
        await expect(page.text).to_have_text(counted(FIRST_PART))
        own_server.kill()
        await page.shows("reconnecting")
        await expect(page.text).to_have_text(counted(FIRST_PART))
        own_server.start()
        await expect(page.status).to_have_text("Interrupted, resuming…")
        await expect(page.text).to_have_text(counted(FIRST_PART))
        rest.set()
        await page.shows("completed")
        await expect(page.text).to_have_text(counted(COUNT))
        await expect(page.tools.locator("dd")).to_have_text([SUM, "42"])
        assert len(model.requests) == 3
        await page.page.reload()
        await expect(page.text).to_have_text(counted(COUNT))
        await expect(page.exchanges).to_have_count(1)
        messages = (await page.kept())["messages"]
        texts = [p["text"] for m in messages for p in m["parts"] if p["type"] == "text"]
        assert [text.strip() for text in texts[1:]] == [counted(COUNT)]


async def test_a_restart_within_a_text_keeps_its_beginning(scripted: DemoPage) -> None:
    """The events of two responses without a tool between them are one text."""
    events: Sequence[Sent] = (
        (1, "thinking", {"thinking_step": "One. "}),
        (2, "thinking", {"thinking_step": "Two."}),
        said(3, "Kept, **all"),
        said(4, "** of it"),
        said(5, ", and void"),
        (6, "thinking", {"thinking_step": "Void."}),
        (7, "tool_call", CALLED),
        (1000, "restarted", restarted(2, 4)),
        said(1001, ", and new."),
        (1002, "restarted", restarted(3, 1)),
        said(1003, "All is new."),
        (1004, "complete", COMPLETE),
        (1005, "done", {}),
    )
    held = asyncio.Event()

    async def start(route: Route) -> None:
        await route.fulfill(**stream(*events[:9]))

    async def resume(route: Route) -> None:
        await held.wait()
        await route.fulfill(**stream(*events[9:]))

    await scripted.page.route("**/stream", start)
    await scripted.page.route("**/runs/r/events*", resume)
    await scripted.start("Tell me.")
    await expect(scripted.text).to_have_text(["Kept, all of it, and new."])
    await expect(scripted.text.first.locator("strong")).to_have_text("all")
    await expect(scripted.tools).to_have_count(0)
    thought = scripted.answer.locator(".thinking-text")
    await expect(thought).to_have_text(["One. Two."])
    held.set()
    await scripted.shows("completed")
    await expect(scripted.text).to_have_text(["All is new."])
    await expect(thought).to_have_text(["One. "])


async def test_a_call_that_is_sent_again_is_one_card(scripted: DemoPage) -> None:
    """A call whose result was lost is shown again from its beginning."""
    events: Sequence[Sent] = (
        (1, "tool_call", CALLED),
        (2, "tool_result", RETURNED),
        (1000, "tool_call", CALLED),
        (1001, "tool_result", {"tool_call": {**RETURNED["tool_call"], "result": "13"}}),
        (1002, "tool_result", {"tool_call": {**RETURNED["tool_call"], "result": "13"}}),
        said(1003, "One."),
        (1004, "complete", COMPLETE),
        (1005, "done", {}),
    )

    async def start(route: Route) -> None:
        await route.fulfill(**stream(*events))

    await scripted.page.route("**/stream", start)
    await scripted.start("What time is it?")
    await scripted.shows("completed")
    await expect(scripted.tools.locator("dd")).to_have_text(["{}", "13"])
