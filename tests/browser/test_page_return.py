"""Reloads, returns and second tabs: the page continues where it was."""

import asyncio

import pytest
from playwright.async_api import BrowserContext, expect

from streaming.testing.provider import Reply, StandInProvider
from streaming.testing.server import Server
from tests.browser.answers import held, words
from tests.browser.demo_page import DemoPage, tab
from tests.providers.openai_streams import chunk, chunks, fragment

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

SUM = '{"expression":"6*7"}'
CALL = fragment(SUM, id="call-1", name="calculator", index=0)
BEGUN = "0 1 2"
COUNTED = " ".join(map(str, range(40)))


def counting(rest: asyncio.Event) -> Reply:
    """Return a count to 40 that pauses after three numbers."""
    return held(rest, f"{BEGUN} ", *(f"{number} " for number in range(3, 40)))


async def test_a_reloaded_page_continues_the_stream(
    scripted: DemoPage, model: StandInProvider
) -> None:
    thought = chunk(reasoning_content="Six times seven.")
    rest = asyncio.Event()
    model.reply(Reply(chunks(thought, CALL, chunk("tool_calls"))), counting(rest))
    await scripted.start("Count.")
    await expect(scripted.text).to_have_text(BEGUN)
    await scripted.page.reload()
    await scripted.shows("streaming")
    await expect(scripted.exchanges.locator(".prompt p")).to_have_text("Count.")
    # The text before the reload is complete, and the run continues.
    await expect(scripted.answer.get_by_text("Thought for")).to_be_visible()
    await expect(scripted.tools.locator("dd")).to_have_text([SUM, "42"])
    await expect(scripted.stop_button).to_be_visible()
    await expect(scripted.text).to_have_text(BEGUN)
    rest.set()
    await scripted.shows("completed")
    await expect(scripted.text).to_have_text(COUNTED)
    assert len(model.requests) == 2


async def test_a_page_reloaded_later_looks_the_same(
    scripted: DemoPage, model: StandInProvider
) -> None:
    thought = chunk(reasoning_content="Hm.")
    model.reply(
        Reply(chunks(thought, CALL, chunk("tool_calls"))),
        Reply(words("It is 42.")),
        Reply(chunks(chunk(content="Half an ans")), end="cut"),
    )
    await scripted.run("What is 6*7?")
    await scripted.start("Really?")
    await scripted.shows("error")
    before = await scripted.answer.inner_text()
    await scripted.page.reload()
    await expect(scripted.failure).to_contain_text("provider_")
    await expect(scripted.exchanges).to_have_count(2)
    await expect(scripted.answer).to_have_text(before, use_inner_text=True)
    # Times of an earlier exchange are not stored.
    await expect(scripted.exchanges.first.locator(".tool dd")).to_have_text([SUM, "42"])
    await expect(scripted.exchanges.first.locator(".text")).to_have_text("It is 42.")


async def test_the_link_opened_in_a_second_tab_streams_in_both(
    context: BrowserContext,
    scripted_server: Server,
    scripted: DemoPage,
    model: StandInProvider,
) -> None:
    rest = asyncio.Event()
    model.reply(counting(rest))
    await scripted.start("Count.")
    await expect(scripted.text).to_have_text(BEGUN)
    await scripted.conversation_id()
    async with tab(context, scripted_server, scripted.page.url) as second:
        await second.shows("streaming")
        await expect(second.text).to_have_text(BEGUN)
        rest.set()
        for page in (scripted, second):
            await page.shows("completed")
            await expect(page.text).to_have_text(COUNTED)
        first_types = await scripted.event_types()
        assert await second.event_types() == first_types
    assert len(model.requests) == 1


async def test_a_run_of_one_tab_is_shown_in_the_other(
    context: BrowserContext,
    scripted_server: Server,
    scripted: DemoPage,
    model: StandInProvider,
) -> None:
    rest = asyncio.Event()
    model.reply(Reply(words("Hello.")), counting(rest))
    await scripted.run("Hi.")
    await scripted.conversation_id()
    async with tab(context, scripted_server, scripted.page.url) as second:
        await expect(second.text).to_have_text("Hello.")
        await scripted.start("Count.")
        await expect(second.exchanges).to_have_count(2)
        await expect(second.text).to_have_text(BEGUN)
        rest.set()
        await expect(second.text).to_have_text(COUNTED)
        await second.shows("completed")


async def test_an_ended_run_of_one_tab_is_shown_in_the_other(
    context: BrowserContext,
    scripted_server: Server,
    scripted: DemoPage,
    model: StandInProvider,
) -> None:
    model.reply(Reply(words("Hello.")), Reply(words("Bye.")), Reply(words("Yes.")))
    await scripted.run("Hi.")
    await scripted.conversation_id()
    async with tab(context, scripted_server, scripted.page.url) as second:
        await expect(second.text).to_have_text("Hello.")
        await scripted.run("See you.")
        await expect(second.text).to_have_text("Bye.")
        await second.run("Really?")
        await expect(scripted.text).to_have_text("Yes.")
        for page in (scripted, second):
            await expect(page.exchanges).to_have_count(3)


async def test_a_paused_page_resumes_after_a_kill_of_the_server(
    context: BrowserContext, own_server: Server, model: StandInProvider
) -> None:
    model.reply(
        Reply(chunks(chunk(content="So far")), end="hang"),
        Reply(words("So far, so good.")),
        Reply(words("And on.")),
    )
    async with tab(context, own_server) as page:
        await page.start("Talk for ever.")
        await expect(page.text).to_have_text("So far")
        await page.pause_button.click()
        await page.shows("paused")
        own_server.kill()
        own_server.start()
        await page.resume_button.click()
        await page.shows("completed")
        await expect(page.text).to_have_text("So far, so good.")
        await page.start("Go on.")
        await page.shows("completed")
        await expect(page.text).to_have_text("And on.")


async def test_a_page_opened_after_a_restart_shows_the_saved_answer(
    context: BrowserContext, own_server: Server, model: StandInProvider
) -> None:
    model.reply(Reply(words("Hello, Alice.")))
    async with tab(context, own_server) as page:
        await page.run("I am Alice.")
        own_server.kill()
        own_server.start()
        await page.page.reload()
        await expect(page.exchanges.locator(".prompt p")).to_have_text("I am Alice.")
        await expect(page.text).to_have_text("Hello, Alice.")
        await page.shows("ready")


async def test_back_and_forward_go_from_conversation_to_conversation(
    scripted: DemoPage, model: StandInProvider
) -> None:
    model.reply(Reply(words("One.")), Reply(words("Two.")))
    await scripted.run("First?")
    await scripted.new_button.click()
    await expect(scripted.exchanges).to_have_count(0)
    await scripted.run("Second?")
    await scripted.page.go_back()
    await expect(scripted.text).to_have_text("One.")
    await expect(scripted.page).to_have_title("First? – Agent")
    await scripted.page.go_forward()
    await expect(scripted.text).to_have_text("Two.")
    await expect(scripted.page).to_have_title("Second? – Agent")


async def test_another_conversation_is_opened_during_a_run(
    scripted: DemoPage, model: StandInProvider
) -> None:
    rest = asyncio.Event()
    model.reply(counting(rest), Reply(words("Quick.")))
    await scripted.start("Count.")
    await expect(scripted.text).to_have_text(BEGUN)
    here = await scripted.conversation_id()
    await scripted.new_button.click()
    await scripted.run("Are you quick?")
    await expect(scripted.text).to_have_text("Quick.")
    await scripted.conversations.filter(has_text="Count.").click()
    await scripted.page.wait_for_url(f"**conversation={here}*")
    await expect(scripted.text).to_have_text(BEGUN)
    rest.set()
    await expect(scripted.text).to_have_text(COUNTED)


async def test_a_link_to_an_unknown_conversation_begins_it(
    context: BrowserContext, scripted_server: Server, model: StandInProvider
) -> None:
    model.reply(Reply(words("Welcome.")))
    address = f"{scripted_server.url}/?org=acme&conversation=not+yet"
    async with tab(context, scripted_server, address) as page:
        await page.shows("ready")
        await page.run("Hello.")
        assert await page.conversation_id() == "not yet"
        await page.page.reload()
        await expect(page.text).to_have_text("Welcome.")
