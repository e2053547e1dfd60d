"""Questions during a response: they wait, can be changed, and are answered in order."""

import asyncio

import pytest
from playwright.async_api import BrowserContext, Locator, ViewportSize, expect

from streaming.testing.provider import Reply, StandInProvider
from streaming.testing.server import Server
from tests.browser.answers import held, words
from tests.browser.demo_page import DemoPage, tab
from tests.browser.host_page import host_page, html
from tests.browser.test_page_accessibility import PHONE, WIDE, check
from tests.providers.openai_streams import chunk, chunks

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

UNENDED = Reply(chunks(chunk(content="So far")), end="hang")


def waiting(page: DemoPage) -> Locator:
    """Return the texts of the questions that wait."""
    return page.page.locator(".queue-text")


async def enqueue(page: DemoPage, *questions: str) -> None:
    """Ask during a response, until the server has accepted each question."""
    for question in questions:
        await page.start(question)
        await expect(page.button(f"Move up: “{question}”")).to_be_visible()


def questions(page: DemoPage) -> Locator:
    """Return the texts of the shown questions."""
    return page.exchanges.locator(".prompt p")


async def test_questions_wait_and_are_answered_in_their_order(
    scripted: DemoPage, model: StandInProvider
) -> None:
    first, second = asyncio.Event(), asyncio.Event()
    model.reply(
        held(first, "One, ", "two."),
        held(second, "Three, ", "four."),
        Reply(words("Five.")),
    )
    await scripted.start("First?")
    await scripted.start("Second?")  # perhaps before the server knows the first one
    await expect(waiting(scripted)).to_have_text(["Second?"])
    await expect(scripted.prompt).to_have_value("")
    await enqueue(scripted, "Third?")
    await expect(waiting(scripted)).to_have_text(["Second?", "Third?"])
    await expect(scripted.text).to_have_text("One,")
    await scripted.page.reload()
    await expect(waiting(scripted)).to_have_text(["Second?", "Third?"])
    await expect(scripted.text).to_have_text("One,")
    first.set()
    await expect(scripted.text).to_have_text("Three,")
    await expect(waiting(scripted)).to_have_text(["Third?"])
    await expect(scripted.stop_button).to_be_visible()
    second.set()
    await scripted.shows("completed")
    await expect(questions(scripted)).to_have_text(["First?", "Second?", "Third?"])
    await expect(scripted.exchanges.locator(".text")).to_have_text(
        ["One, two.", "Three, four.", "Five."]
    )
    await expect(scripted.page.locator("#queue")).to_be_hidden()


async def test_waiting_questions_are_moved_edited_and_removed(
    scripted: DemoPage, model: StandInProvider
) -> None:
    model.reply(UNENDED, Reply(words("Yes.")), Reply(words("No.")))
    await scripted.start("Talk for ever.")
    await expect(scripted.text).to_have_text("So far")
    await enqueue(scripted, "A?", "B?", "C?", "D?")
    keyboard = scripted.page.keyboard
    await scripted.button("Move up: “C?”").click()
    await expect(waiting(scripted)).to_have_text(["A?", "C?", "B?", "D?"])
    await keyboard.press("Alt+ArrowUp")
    await expect(waiting(scripted)).to_have_text(["C?", "A?", "B?", "D?"])
    await expect(scripted.button("Move up: “C?”")).to_be_focused()
    await scripted.button("Remove “A?”").press("Enter")
    await expect(scripted.button("Remove “B?”")).to_be_focused()
    await scripted.button("Edit “B?”").press("Enter")
    field = scripted.page.get_by_role("textbox", name="Question")
    await expect(field).to_be_focused()
    await field.fill("Be?")
    await field.press("Enter")
    await expect(scripted.button("Edit “Be?”")).to_be_focused()
    await scripted.button("Remove “D?”").click()
    await expect(waiting(scripted)).to_have_text(["C?", "Be?"])
    await scripted.prompt.press("Escape")  # stops the active response
    await expect(questions(scripted)).to_have_text(["Talk for ever.", "C?", "Be?"])
    await expect(scripted.text).to_have_text("No.")
    await scripted.shows("completed")
    roles = [message["role"] for message in (await scripted.kept())["messages"]]
    assert roles == ["user", "assistant"] * 3


async def test_all_waiting_questions_are_removed_in_all_tabs(
    context: BrowserContext,
    scripted_server: Server,
    scripted: DemoPage,
    model: StandInProvider,
) -> None:
    model.reply(UNENDED)
    await scripted.start("Talk for ever.")
    await expect(scripted.text).to_have_text("So far")
    async with tab(context, scripted_server, scripted.page.url) as second:
        await expect(second.text).to_have_text("So far")
        await enqueue(scripted, "A?", "B?")
        await expect(waiting(second)).to_have_text(["A?", "B?"])
        await second.button("Remove all").click()
        for page in (scripted, second):
            await expect(page.page.locator("#queue")).to_be_hidden()
        await expect(second.prompt).to_be_focused()
        await second.stop_button.click()
        for page in (scripted, second):
            await page.shows("stopped")
            await expect(page.exchanges).to_have_count(1)


@pytest.mark.parametrize("size", [PHONE, WIDE], ids=["phone", "wide"])
async def test_axe_finds_no_fault_in_the_queue(
    scripted: DemoPage, model: StandInProvider, size: ViewportSize
) -> None:
    model.reply(UNENDED)
    await scripted.page.set_viewport_size(size)
    await scripted.start("Talk for ever.")
    await expect(scripted.text).to_have_text("So far")
    await enqueue(scripted, "A?", "B?")
    await scripted.button("Edit “B?”").click()
    await scripted.prompt.fill("And")
    await check(scripted)
    await scripted.prompt.clear()
    await scripted.clear_button.click()
    await expect(scripted.page.locator("#queue")).to_be_hidden()


async def test_the_queue_speaks_german(
    context: BrowserContext, scripted_server: Server, model: StandInProvider
) -> None:
    model.reply(UNENDED)
    page = html("{% agent_chat %}", lang="de")
    async with host_page(context, scripted_server, page) as host:
        chat = host.chat()
        await chat.ask("Reden Sie.")
        await expect(chat.text).to_have_text("So far")
        await chat.ask("Und dann?")
        queue = host.page.get_by_role("region", name="1 Frage wartet")
        for name in ("Nach oben", "Nach unten", "bearbeiten", "entfernen"):
            button = queue.get_by_role("button", name=name)
            await expect(button.first).to_be_visible()
        await chat.stop.click()
        await expect(queue).to_be_hidden()
        await expect(chat.exchanges).to_have_count(2)
