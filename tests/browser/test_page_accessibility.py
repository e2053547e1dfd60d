"""Accessibility: axe finds no fault, and the keyboard suffices."""

import re
from pathlib import Path

import pytest
from playwright.async_api import ViewportSize, expect

from streaming.testing.provider import Reply, StandInProvider
from tests import available
from tests.browser.answers import words
from tests.browser.demo_page import DemoPage
from tests.providers.openai_streams import chunk, chunks, fragment

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PHONE = ViewportSize(width=390, height=844)
WIDE = ViewportSize(width=1440, height=900)
FIND_FAULTS = """async () => {
  document.getAnimations().forEach((animation) => animation.finish?.());
  const { violations } = await axe.run(document, { resultTypes: ["violations"] });
  const fault = ({ html, failureSummary }) => html + failureSummary;
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(fault).join("; ")}`);
}"""

IS_OUTSIDE_OF_THE_CHAT = """() => {
  const inner = document.activeElement.shadowRoot?.activeElement;
  return !(inner ?? document.activeElement).closest("main");
}"""


async def check(page: DemoPage) -> None:
    """Return the faults that axe finds in the current page."""
    axe = Path(available.need("packages")) / "axe-core" / "axe.min.js"
    await page.page.emulate_media(reduced_motion="reduce")
    await page.page.evaluate(axe.read_text())
    for scheme in ("light", "dark"):
        await page.page.get_by_role("main").evaluate(
            "(_, scheme) => (document.documentElement.dataset.theme = scheme)", scheme
        )
        assert await page.page.evaluate(FIND_FAULTS) == [], scheme


sizes = pytest.mark.parametrize("size", [PHONE, WIDE], ids=["phone", "wide"])


@sizes
async def test_axe_finds_no_fault_in_an_empty_page(
    demo: DemoPage, size: ViewportSize
) -> None:
    await demo.page.set_viewport_size(size)
    await expect(demo.page.get_by_role("note")).to_contain_text("demo model")
    await check(demo)


@sizes
async def test_axe_finds_no_fault_in_answers_of_all_kinds(
    scripted: DemoPage, model: StandInProvider, size: ViewportSize
) -> None:
    good = fragment('{"expression":"6*7"}', id="call-1", name="calculator", index=0)
    bad = fragment('{"expression":"1/0"}', id="call-2", name="calculator", index=1)
    thought = chunk(reasoning_content="Both.")
    model.reply(
        Reply(chunks(thought, good, bad, chunk("tool_calls"))),
        Reply(
            words("# So\n\nIt is **42**, `a`.\n\n```py\na = 1\n```\n\n- [x](http://x)")
        ),
        Reply(chunks(chunk(content="Half an ans")), end="cut"),
        Reply(chunks(chunk(content="So far")), end="hang"),
    )
    await scripted.page.set_viewport_size(size)
    await scripted.run("What is 6*7?")
    await scripted.start("And on?")
    await scripted.shows("error")
    await check(scripted)
    await scripted.start("Talk for ever.")
    await expect(scripted.text).to_have_text("So far")
    await check(scripted)
    await scripted.pause_button.click()
    await scripted.shows("paused")
    await check(scripted)
    await scripted.stop_button.click()
    await scripted.shows("stopped")


@sizes
async def test_axe_finds_no_fault_in_panes_and_dialogs(
    demo: DemoPage, size: ViewportSize
) -> None:
    await demo.page.set_viewport_size(size)
    await demo.run("What is 6 * 7?")
    if size is PHONE:
        await demo.page.locator("#inspector-toggle").click()
        await check(demo)
        await demo.page.keyboard.press("Escape")
        await demo.page.locator("#sidebar-toggle").click()
    await expect(demo.conversations.first).to_be_visible()
    await demo.conversations.first.hover()
    await check(demo)
    await demo.conversations.first.locator(".rename").click()
    await check(demo)
    await demo.page.keyboard.press("Escape")
    await demo.conversations.first.locator(".delete").click()
    await check(demo)
    await demo.page.keyboard.press("Escape")
    await demo.settings_button.click()
    await check(demo)


async def test_a_drawer_takes_the_focus_and_returns_it(demo: DemoPage) -> None:
    await demo.page.set_viewport_size(PHONE)
    keyboard = demo.page.keyboard
    for name, close in (
        ("sidebar", "Close the conversations"),
        ("inspector", "Close the events"),
    ):
        toggle = demo.page.locator(f"#{name}-toggle")
        await expect(toggle).to_have_attribute("aria-expanded", "false")
        await toggle.focus()
        await keyboard.press("Enter")
        drawer = demo.page.locator(f"#{name}")
        await expect(drawer).to_have_role("dialog")
        await expect(demo.button(close)).to_be_focused()
        for _ in range(12):  # nothing behind it is ever reached
            await keyboard.press("Tab")
            assert await demo.page.evaluate(IS_OUTSIDE_OF_THE_CHAT)
        await demo.button(close).focus()
        await keyboard.press("Escape")
        await expect(drawer).to_be_hidden()
        await expect(toggle).to_be_focused()


async def test_a_conversation_is_found_opened_renamed_and_deleted_by_keyboard(
    scripted: DemoPage, model: StandInProvider
) -> None:
    model.reply(Reply(words("A.")), Reply(words("B.")))
    await scripted.set(Organization="keyboard")
    for prompt in ("Find me.", "Not me."):
        await scripted.new_button.press("Enter")
        await scripted.run(prompt)
    await expect(scripted.conversations).to_have_count(2)
    keyboard = scripted.page.keyboard
    await scripted.search.focus()
    await keyboard.type("find")
    await expect(scripted.conversations).to_have_count(1)
    await keyboard.press("Tab")
    await expect(scripted.conversations.get_by_role("link")).to_be_focused()
    await keyboard.press("Enter")
    await expect(scripted.text).to_have_text("A.")
    await keyboard.press("Tab")
    await keyboard.press("Enter")
    await keyboard.press("ControlOrMeta+A")
    await keyboard.type("Finder")
    await keyboard.press("Enter")
    await expect(scripted.conversations.get_by_role("link")).to_be_focused()
    await expect(scripted.conversations).to_contain_text("Finder")
    await expect(scripted.page).to_have_title(re.compile("Finder"))
    await keyboard.press("Tab")
    await keyboard.press("Tab")
    await keyboard.press("Enter")
    question = scripted.page.get_by_role("alertdialog")
    await expect(question.get_by_role("button", name="Cancel")).to_be_focused()
    await keyboard.press("Tab")
    await keyboard.press("Enter")
    await expect(scripted.conversations).to_have_count(0)
    # The open conversation was deleted; a new one begins.
    await expect(scripted.prompt).to_be_focused()


async def test_a_button_that_appears_on_focus_skips_to_it(
    demo: DemoPage,
) -> None:
    skip = demo.page.get_by_role("button", name="Skip to the prompt")
    await expect(skip).not_to_be_in_viewport()
    await skip.focus()
    await expect(skip).to_be_in_viewport(ratio=1)
    await demo.page.keyboard.press("Enter")
    await expect(demo.prompt).to_be_focused()
