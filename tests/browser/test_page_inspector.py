"""The inspector: events, figures and timeline of a run."""

import asyncio
import json
import re
from pathlib import Path

import pytest
from playwright.async_api import BrowserContext, Locator, expect

from streaming.testing.provider import Reply, StandInProvider
from tests.browser.answers import held, words
from tests.browser.demo_page import DemoPage
from tests.providers.openai_streams import chunk, chunks, fragment

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

SPEAKING_SECONDS = 0.1
TYPES = ["connected", "content", "complete", "done"]


async def test_each_event_is_listed_with_id_time_and_json(
    scripted: DemoPage, model: StandInProvider
) -> None:
    model.reply(Reply(words("Hi.")))
    await scripted.run("Say hi.")
    await expect(scripted.page.locator("#event-count")).to_have_text("4 events")
    assert await scripted.event_types() == ["connected", "content", "complete", "done"]
    await expect(scripted.events.locator(".event-id")).to_have_text(
        ["–", "1", "2", "3"]
    )
    times = await scripted.events.locator(".event-time").all_inner_texts()
    assert all(time.startswith("+") and time.endswith(" ms") for time in times)
    await scripted.events.nth(1).get_by_role("button").click()
    await expect(scripted.events.nth(1)).to_contain_text('"content": "Hi."')
    await expect(scripted.events.nth(1)).to_contain_text(":1")


def switch(page: DemoPage, event_type: str) -> Locator:
    return page.page.locator(f".event-switch[data-type={event_type}]")


def meter(page: DemoPage, name: str) -> Locator:
    return page.page.locator(".meter", has_text=name).locator("dd")


async def test_types_of_events_can_be_hidden_and_shown_again(
    scripted: DemoPage, model: StandInProvider
) -> None:
    model.reply(Reply(words("Hi ", "there.")), Reply(words("Bye.")))
    await scripted.run("Say hi.")
    await expect(switch(scripted, "content")).to_have_text("content 2")
    await switch(scripted, "content").press("Enter")
    await expect(switch(scripted, "content")).to_have_attribute("aria-pressed", "false")
    assert await scripted.event_types() == ["connected", "complete", "done"]
    await scripted.start("Say bye.")
    await expect(scripted.events).to_have_count(6)
    await expect(switch(scripted, "content")).to_have_text("content 3")
    await switch(scripted, "content").press("Enter")
    await expect(scripted.events).to_have_count(9)


async def test_the_list_can_be_held_while_events_arrive(
    scripted: DemoPage, model: StandInProvider
) -> None:
    model.reply(Reply(words("Hi.")), Reply(words("Bye.")))
    await scripted.run("Say hi.")
    await scripted.button("Hold").click()
    await scripted.start("Say bye.")
    await expect(scripted.exchanges).to_have_count(2)
    await expect(scripted.page.locator("#event-count")).to_have_text("8 events, 4 held")
    assert await scripted.event_types() == TYPES
    await scripted.button("Continue").click()
    await expect(scripted.events).to_have_count(8)
    await expect(scripted.page.locator("#event-count")).to_have_text("8 events")


async def test_all_events_can_be_copied_and_downloaded(
    context: BrowserContext, scripted: DemoPage, model: StandInProvider, tmp_path: Path
) -> None:
    await context.grant_permissions(["clipboard-read", "clipboard-write"])
    model.reply(Reply(words("Hi.")))
    await scripted.run("Say hi.")
    await expect(scripted.events).to_have_count(4)
    actions = scripted.page.locator(".event-actions")
    await actions.get_by_text("Copy").click()
    await expect(actions.get_by_text("Copied")).to_be_visible()
    copied = await scripted.page.evaluate("navigator.clipboard.readText()")
    async with scripted.page.expect_download() as download:
        await scripted.button("Download").click()
    saved = await (await download.value).path()
    assert saved.read_text() == copied
    events = [json.loads(line) for line in copied.splitlines()]
    assert [event["type"] for event in events] == TYPES
    assert events[1]["id"].endswith(":1") and events[1]["data"]["content"] == "Hi."
    assert all(event["offset_ms"] >= 0 for event in events)


async def test_the_meters_show_the_servers_figures(
    scripted: DemoPage, model: StandInProvider
) -> None:
    rest = asyncio.Event()
    model.reply(held(rest, "One, ", "two, ", "three."))
    await scripted.start("Count.")
    await expect(meter(scripted, "Tokens in / out")).to_contain_text("≈")
    await asyncio.sleep(SPEAKING_SECONDS)  # over a shorter time there is no speed
    rest.set()
    await scripted.shows("completed")
    await expect(meter(scripted, "Tokens in / out")).to_have_text("1,200 / 34")
    await expect(meter(scripted, "Events")).to_have_text("6")
    await expect(meter(scripted, "Reconnects")).to_have_text("0")
    await expect(meter(scripted, "First token")).to_contain_text("s")
    speed = await meter(scripted, "Tokens/s").inner_text()
    assert 0 < int(speed) <= 34 / SPEAKING_SECONDS


async def test_the_timeline_has_a_description_in_words(
    scripted: DemoPage, model: StandInProvider
) -> None:
    thought = chunk(reasoning_content="Both.")
    first = fragment('{"expression":"6*7"}', id="call-1", name="calculator", index=0)
    second = fragment('{"expression":"1/0"}', id="call-2", name="calculator", index=1)
    model.reply(
        Reply(chunks(thought, first, second, chunk("tool_calls"))),
        Reply(words("It is ", "42.")),
    )
    await scripted.run("What is 6*7?")
    drawing = scripted.page.get_by_role("img", name="Timeline of the run")
    await expect(drawing).to_have_attribute("aria-label", told())
    bars = await drawing.locator("rect").evaluate_all(
        "(bars) => bars.map((bar) => bar.getAttribute('class'))"
    )
    assert bars == ["bar-thinking", "bar-tool", "bar-failed", "bar-text"]
    heights = await drawing.locator("rect").evaluate_all(
        "(bars) => bars.map((bar) => Number(bar.getAttribute('y')))"
    )
    assert heights == [2, 12, 22, 2]


def told() -> re.Pattern[str]:
    parts = ("Thinking", "calculator", "calculator failed after", "Text")
    return re.compile(", ".join(rf"{part} [\d,.]+ m?s" for part in parts) + "$")


async def test_clear_empties_the_meters_too(
    scripted: DemoPage, model: StandInProvider
) -> None:
    model.reply(Reply(words("Hi.")))
    await scripted.run("Say hi.")
    await expect(scripted.page.locator(".meters")).to_be_visible()
    await scripted.clear_button.click()
    await expect(scripted.page.locator(".meters")).to_be_hidden()
    await expect(scripted.page.locator(".event-switch")).to_have_count(0)


async def test_the_newest_event_is_in_view_also_of_a_second_run(
    demo: DemoPage,
) -> None:
    for prompt in ("What is 6 * 7?", "What time is it in Paris and in Atlantis?"):
        await demo.start(prompt)
        await demo.shows("completed")
        await expect(demo.events.last).to_contain_text("done")
        await expect(demo.events.last).to_be_in_viewport(ratio=1)
    await demo.events.last.hover()
    await demo.page.mouse.wheel(0, -100_000)
    await expect(demo.events.first).to_be_in_viewport()
