"""What a person does: start, stop, clear, go on; by mouse or keyboard alone."""

import asyncio
import signal

import pytest
from playwright.async_api import BrowserContext, expect

from tests.browser.demo_page import DemoPage, tab
from tests.browser.server import Server
from tests.browser.test_page_answers import words
from tests.providers.openai_streams import chunk, chunks
from tests.upstream import Reply, Upstream

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

STOP_SECONDS = 5
UNENDED = Reply(chunks(chunk(content="So far")), end="hang")


async def test_stop_keeps_what_came_and_reaches_the_model(
    scripted: DemoPage, model: Upstream
) -> None:
    model.reply(UNENDED)
    await scripted.start("Talk for ever.")
    await expect(scripted.text).to_have_text("So far")
    await scripted.stop_button.click()
    await scripted.shows("stopped")
    async with asyncio.timeout(STOP_SECONDS):
        await model.gone.wait()
    await expect(scripted.text).to_have_text("So far")
    await expect(scripted.answer).to_contain_text("What had come is kept.")
    assert (await scripted.event_types())[-2:] == ["complete", "done"]


async def test_stop_before_the_server_answered_gives_the_prompt_back(
    context: BrowserContext, own_server: Server
) -> None:
    async with tab(context, own_server) as page:
        own_server.process.send_signal(signal.SIGSTOP)
        await page.start("Anybody there?")
        await page.shows("connecting")
        await page.stop_button.click()
        await page.shows("stopped")
        await expect(page.prompt).to_have_value("Anybody there?")


async def test_a_server_that_dies_is_looked_for_and_what_came_is_kept(
    context: BrowserContext, own_server: Server, model: Upstream
) -> None:
    model.reply(UNENDED)
    async with tab(context, own_server) as page:
        await page.start("Go on.")
        await expect(page.text).to_have_text("So far")
        own_server.process.kill()
        await page.shows("reconnecting")
        await expect(page.text).to_have_text("So far")


async def test_a_refused_prompt_is_explained_and_given_back(
    context: BrowserContext, scripted_server: Server, model: Upstream
) -> None:
    model.reply(UNENDED)
    async with (
        tab(context, scripted_server) as first,
        tab(context, scripted_server) as second,
    ):
        for page in (first, second):
            await page.conversation.fill("the same")
        await first.start("I was first.")
        await expect(first.text).to_have_text("So far")
        await second.start("Me too.")
        await second.shows("error")
        await expect(second.failure).to_contain_text("conversation_busy")
        await expect(second.prompt).to_have_value("Me too.")
        await first.stop_button.click()
        await first.shows("stopped")


async def test_the_next_prompt_goes_on_with_the_conversation(
    scripted: DemoPage, model: Upstream
) -> None:
    model.reply(Reply(words("Hello, Alice.")), Reply(words("Alice.")))
    await scripted.run("I am Alice.")
    await expect(scripted.conversation).not_to_have_value("")
    await scripted.start("Who am I?")
    await expect(scripted.turns).to_have_count(2)
    await expect(scripted.text).to_have_text("Alice.")
    said = [message["content"] for message in model.requests[-1].json["messages"]]
    assert said[-3:] == ["I am Alice.", "Hello, Alice.", "Who am I?"]


async def test_clear_empties_the_page_and_begins_a_new_conversation(
    scripted: DemoPage, model: Upstream
) -> None:
    model.reply(Reply(words("Hello, Alice.")), Reply(words("I do not know.")))
    await scripted.run("I am Alice.")
    await scripted.clear_button.click()
    await scripted.shows("ready")
    await expect(scripted.turns).to_have_count(0)
    await expect(scripted.events).to_have_count(0)
    await expect(scripted.conversation).to_have_value("")
    await expect(scripted.prompt).to_be_focused()
    await scripted.run("Who am I?")
    assert "Alice" not in model.requests[-1].body.decode()


async def test_clear_ends_the_run_under_way(
    scripted: DemoPage, model: Upstream
) -> None:
    model.reply(UNENDED)
    await scripted.start("Talk for ever.")
    await expect(scripted.text).to_have_text("So far")
    await scripted.clear_button.click()
    await scripted.shows("ready")
    async with asyncio.timeout(STOP_SECONDS):
        await model.gone.wait()
    await scripted.shows("ready")
    await expect(scripted.turns).to_have_count(0)


async def test_the_settings_go_with_the_prompt(
    scripted: DemoPage, model: Upstream
) -> None:
    model.reply(Reply(words("Yes.")))
    await scripted.organization.fill("acme")
    await scripted.conversation.fill("plans")
    await scripted.max_iterations.fill("1")
    await scripted.run("Is it so?")
    connected = scripted.events.first
    await connected.locator("summary").click()
    await expect(connected).to_contain_text('"org_id": "acme"')
    await expect(connected).to_contain_text('"conversation_id": "plans"')
    # With one iteration the model must answer at once, without tools.
    assert model.requests[-1].json.get("tool_choice", "none") == "none"


@pytest.mark.parametrize("iterations", ["0", "51", "1.5"])
async def test_impossible_settings_start_nothing(
    scripted: DemoPage, iterations: str
) -> None:
    await scripted.max_iterations.fill(iterations)
    await scripted.start("Is it so?")
    await expect(scripted.max_iterations).to_be_focused()
    await scripted.shows("ready")
    await expect(scripted.turns).to_have_count(0)


@pytest.mark.parametrize("prompt", ["", "  \n "])
async def test_a_blank_prompt_starts_nothing(scripted: DemoPage, prompt: str) -> None:
    await scripted.start(prompt)
    await scripted.start_button.click()
    await scripted.shows("ready")
    await expect(scripted.turns).to_have_count(0)


async def test_the_keyboard_is_enough(scripted: DemoPage, model: Upstream) -> None:
    model.reply(UNENDED)
    keyboard = scripted.page.keyboard
    await expect(scripted.prompt).to_be_focused()
    await keyboard.type("One line")
    await keyboard.press("Shift+Enter")
    await keyboard.type("and another")
    await keyboard.press("Enter")
    await expect(scripted.turns.locator(".prompt p")).to_have_text(
        "One line\nand another", use_inner_text=True
    )
    await expect(scripted.text).to_have_text("So far")
    await keyboard.press("Tab")
    await expect(scripted.clear_button).to_be_focused()
    await keyboard.press("Tab")
    await expect(scripted.stop_button).to_be_focused()
    await keyboard.press("Enter")
    await scripted.shows("stopped")
    await expect(scripted.stop_button).to_be_focused()


async def test_one_run_at_a_time_is_started(
    scripted: DemoPage, model: Upstream
) -> None:
    model.reply(UNENDED)
    await scripted.start("First.")
    await expect(scripted.text).to_have_text("So far")
    await scripted.start("Second.")
    await scripted.start_button.click(force=True)
    await expect(scripted.turns).to_have_count(1)
    await expect(scripted.prompt).to_have_value("Second.")
    await scripted.stop_button.click()
    await scripted.shows("stopped")
