"""The sidebar: conversations, settings and stored values."""

import pytest
from playwright.async_api import BrowserContext, expect

from streaming.testing.provider import Reply, StandInProvider
from streaming.testing.server import Server
from tests.browser.answers import words
from tests.browser.demo_page import DemoPage, tab
from tests.browser.gate import gate
from tests.browser.test_page_answers import HOSTILE
from tests.providers.openai_streams import chunk, chunks

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

FORBID_STORAGE = """for (const name of ["localStorage", "sessionStorage"])
  Object.defineProperty(window, name, {
    get() { throw new DOMException("Forbidden.", "SecurityError"); },
  });"""


async def ask_each(page: DemoPage, organization: str, *prompts: str) -> None:
    """Start a conversation with each prompt."""
    await page.set(Organization=organization)
    for prompt in prompts:
        await page.new_button.click()
        await page.run(prompt)


async def test_conversations_are_listed_newest_first_and_opened(
    scripted: DemoPage, model: StandInProvider
) -> None:
    model.reply(Reply(words("A.")), Reply(words("B.")))
    await ask_each(scripted, "listed", "First?", "Second?")
    titles = scripted.conversations.locator(".conversation-title")
    await expect(titles).to_have_text(["Second?", "First?"])
    current = scripted.conversations.locator("[aria-current=page]")
    await expect(current).to_contain_text("Second?")
    await scripted.conversations.nth(1).locator("a").click()
    await expect(scripted.text).to_have_text("A.")
    await expect(current).to_contain_text("First?")


async def test_search_finds_conversations_or_says_that_there_are_none(
    scripted: DemoPage, model: StandInProvider
) -> None:
    model.reply(Reply(words("A.")), Reply(words("B.")))
    await ask_each(scripted, "searched", "Why is grass green?", "Why is the sky blue?")
    await scripted.search.fill("GRASS")
    await expect(scripted.conversations).to_have_count(1)
    await expect(scripted.conversations).to_contain_text("green")
    await scripted.search.fill("mud")
    await expect(scripted.page.get_by_text("Nothing found.")).to_be_visible()
    await scripted.search.fill("")
    await expect(scripted.conversations).to_have_count(2)


async def test_more_than_a_page_is_loaded_on_request(
    scripted: DemoPage, model: StandInProvider
) -> None:
    model.reply(Reply(words("Hi.")))
    await ask_each(scripted, "many", "One of many")
    for number in range(32):
        model.reply(Reply(words("Hi.")))
        await scripted.page.evaluate(
            """(input) => fetch("/api/v1/agent/run", {
              method: "POST",
              headers: {"Content-Type": "application/json"},
              body: JSON.stringify({ input, org_id: "many" }),
            })""",
            f"Number {number}",
        )
    await scripted.page.reload()
    await expect(scripted.conversations).to_have_count(30)
    await scripted.button("Load more").click()
    await expect(scripted.conversations).to_have_count(33)
    await expect(scripted.conversations.last).to_contain_text("One of many")
    await expect(scripted.button("Load more")).to_be_hidden()


async def test_deleting_asks_for_confirmation(
    scripted: DemoPage, model: StandInProvider
) -> None:
    model.reply(Reply(words("A.")), Reply(words("B.")))
    await ask_each(scripted, "deleted", "Keep me.", "Delete me.")
    question = scripted.page.get_by_role("alertdialog")
    delete = scripted.button("Delete “Delete me.”")
    await scripted.conversations.first.hover()
    await delete.click()
    await expect(question).to_contain_text("Delete me.")
    await question.get_by_role("button", name="Cancel").click()
    await expect(scripted.conversations).to_have_count(2)
    await scripted.conversations.first.hover()
    await delete.click()
    await question.get_by_role("button", name="Delete", exact=True).click()
    await expect(scripted.conversations).to_have_count(1)
    await expect(scripted.conversations).to_contain_text("Keep me.")
    # The deleted conversation was open.
    await expect(scripted.exchanges).to_have_count(0)
    assert "conversation" not in scripted.page.url


async def test_an_active_run_is_shown_in_the_list(
    scripted: DemoPage, model: StandInProvider
) -> None:
    model.reply(Reply(chunks(chunk(content="So far")), end="hang"))
    await scripted.set(Organization="running")
    await scripted.start("Talk for ever.")
    await expect(scripted.conversations).to_contain_text("running")
    await scripted.stop_button.click()
    await scripted.shows("stopped")
    await expect(scripted.conversations).to_contain_text("just now")


async def test_hostile_titles_stay_text(
    scripted: DemoPage, model: StandInProvider
) -> None:
    model.reply(Reply(words("Hi.")))
    await ask_each(scripted, HOSTILE, HOSTILE)
    await expect(scripted.conversations).to_contain_text(HOSTILE)
    await expect(scripted.page.locator(".pane :is([src=x], script)")).to_have_count(0)


async def test_organizations_do_not_see_each_other(
    scripted: DemoPage, model: StandInProvider
) -> None:
    model.reply(Reply(words("Secret.")))
    await ask_each(scripted, "alice's", "What is secret?")
    link = scripted.page.url
    await scripted.set(Organization="charlie's")
    await expect(scripted.exchanges).to_have_count(0)
    await expect(scripted.page.get_by_text("No conversations yet.")).to_be_visible()
    await scripted.page.goto(link.replace("alice", "charlie"))
    await scripted.shows("ready")
    await expect(scripted.exchanges).to_have_count(0)


async def test_settings_and_panes_are_stored(
    context: BrowserContext, scripted: DemoPage, scripted_server: Server
) -> None:
    await scripted.set(Organization="acme", Max_iterations="7")
    await scripted.settings_button.click()
    await scripted.settings.get_by_label("thinking").uncheck()
    await scripted.settings.get_by_label("Run in the background").uncheck()
    await scripted.settings.get_by_role("button", name="Save").click()
    await scripted.page.get_by_role("radio", name="Dark").check()
    await scripted.page.locator("#inspector-toggle").click()
    async with tab(context, scripted_server) as other:
        await expect(other.page.locator("#inspector")).to_be_hidden()
        await expect(other.page.locator("html")).to_have_attribute("data-theme", "dark")
        await expect(other.page.locator("#organization")).to_have_text("acme")
        await other.settings_button.click()
        settings = other.settings
        await expect(settings.get_by_label("Organization")).to_have_value("acme")
        await expect(settings.get_by_label("Max iterations")).to_have_value("7")
        await expect(settings.get_by_label("thinking")).not_to_be_checked()
        await expect(settings.get_by_label("content")).to_be_checked()
        background = settings.get_by_label("Run in the background")
        await expect(background).not_to_be_checked()


async def test_unselected_events_are_not_sent(
    scripted: DemoPage, model: StandInProvider
) -> None:
    model.reply(Reply(chunks(chunk(reasoning_content="Hm.")) + words("Yes.")))
    await scripted.settings_button.click()
    await scripted.settings.get_by_label("thinking").uncheck()
    await scripted.settings.get_by_role("button", name="Save").click()
    await scripted.run("Is it so?")
    await expect(scripted.text).to_have_text("Yes.")
    assert "thinking" not in await scripted.event_types()


async def test_the_page_works_without_browser_storage(
    context: BrowserContext, scripted_server: Server, model: StandInProvider
) -> None:
    await context.add_init_script(FORBID_STORAGE)
    model.reply(Reply(words("Yes.")))
    async with tab(context, scripted_server) as page:
        await page.set(Organization="forgotten")
        await page.page.get_by_role("radio", name="Dark").check()
        await page.run("Is it so?")
        await expect(page.text).to_have_text("Yes.")


async def test_an_api_key_is_requested_sent_and_kept_in_the_tab(
    context: BrowserContext, scripted_server: Server, model: StandInProvider
) -> None:
    model.reply(Reply(words("Come in.")))
    async with gate(scripted_server.url, "sesame") as url:
        async with tab(context, scripted_server, url) as page:
            await expect(page.settings).to_contain_text("An API key is needed.")
            key = page.settings.get_by_label("API key")
            await expect(key).to_be_focused()
            await key.fill("sesame")
            await page.settings.get_by_role("button", name="Save").click()
            await expect(page.settings).to_be_hidden()
            await page.run("Let me in.")
            await expect(page.text).to_have_text("Come in.")
            await page.page.reload()
            await expect(page.text).to_have_text("Come in.")
            stored = await page.page.evaluate("JSON.stringify(localStorage)")
            assert "sesame" not in stored
        async with tab(context, scripted_server, url) as other:
            await expect(other.settings).to_contain_text("An API key is needed.")
