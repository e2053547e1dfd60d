"""Control of a run: start, stop, pause, clear, by mouse or keyboard alone."""

import asyncio
import contextlib
import re
import signal
from pathlib import Path

import httpx
import pytest
from playwright.async_api import BrowserContext, expect

from streaming.testing.provider import Reply, StandInProvider
from streaming.testing.server import Server
from tests.browser.answers import held, words
from tests.browser.demo_page import DemoPage, organization_of_its_own, tab
from tests.providers.openai_streams import chunk, chunks
from tests.servers import SECONDS, model_variables, serve

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

STOP_SECONDS = 15
UNENDED = Reply(chunks(chunk(content="So far")), end="hang")


async def test_stop_keeps_the_partial_answer_and_reaches_the_model(
    scripted: DemoPage, model: StandInProvider
) -> None:
    model.reply(UNENDED)
    await scripted.start("Talk for ever.")
    await expect(scripted.text).to_have_text("So far")
    await scripted.stop_button.click()
    await scripted.shows("stopped")
    async with asyncio.timeout(STOP_SECONDS):
        await model.gone.wait()
    await expect(scripted.text).to_have_text("So far")
    await expect(scripted.answer).to_contain_text("The partial answer is saved.")
    assert (await scripted.event_types())[-2:] == ["complete", "done"]


async def test_a_double_click_starts_and_another_one_stops(
    scripted: DemoPage, model: StandInProvider
) -> None:
    model.reply(UNENDED)
    await scripted.prompt.fill("Talk for ever.")
    await scripted.start_button.dblclick()
    await expect(scripted.text).to_have_text("So far")
    await scripted.stop_button.dblclick()
    await scripted.shows("stopped")
    await expect(scripted.answer).to_contain_text("The partial answer is saved.")
    await expect(scripted.exchanges).to_have_count(1)


async def test_a_prompt_written_offline_is_sent_when_the_network_is_back(
    context: BrowserContext, scripted: DemoPage, model: StandInProvider
) -> None:
    model.reply(Reply(words("Here you are.")))
    await scripted.shows("ready")
    await context.set_offline(True)
    await scripted.start("Anything new?")
    await scripted.shows("reconnecting")
    await context.set_offline(False)
    await scripted.shows("completed")
    await expect(scripted.text).to_have_text("Here you are.")


async def test_stop_before_the_response_restores_the_prompt(
    context: BrowserContext, own_server: Server
) -> None:
    async with tab(context, own_server) as page:
        await page.shows("ready")
        own_server.send_signal(signal.SIGSTOP)
        await page.start("Anybody there?")
        await page.shows("connecting")
        await page.stop_button.click()
        await expect(page.prompt).to_have_value("Anybody there?")
        await expect(page.start_button).to_be_visible()
        await expect(page.answer).to_contain_text("Disconnected")
    own_server.kill()  # or it would ask the model in the midst of another test


async def test_a_run_stopped_before_its_id_is_known_is_cancelled(
    context: BrowserContext, own_server: Server, model: StandInProvider
) -> None:
    model.reply(UNENDED)
    address = organization_of_its_own(own_server)
    async with tab(context, own_server, address) as page:
        await page.shows("ready")
        own_server.send_signal(signal.SIGSTOP)
        await page.start("Talk for ever.")
        await page.shows("connecting")
        await page.stop_button.click()
        await expect(page.prompt).to_have_value("Talk for ever.")
        own_server.send_signal(signal.SIGCONT)
        await expect(page.conversations).to_have_count(1)
        await expect(page.conversations.get_by_text("running")).to_have_count(0)


async def test_pause_disconnects_and_resume_misses_nothing(
    scripted: DemoPage, model: StandInProvider
) -> None:
    rest = asyncio.Event()
    model.reply(held(rest, *(f"{number} " for number in range(50))))
    await scripted.start("Count.")
    await expect(scripted.text).to_have_text("0")
    await scripted.pause_button.click()
    await scripted.shows("paused")
    rest.set()
    await scripted.run_ends()
    await scripted.shows("paused")
    await expect(scripted.text).to_have_text("0")
    await scripted.resume_button.click()
    await scripted.shows("completed")
    await expect(scripted.text).to_have_text(" ".join(map(str, range(50))))
    assert len(model.requests) == 1


async def test_a_paused_run_can_be_stopped(
    scripted: DemoPage, model: StandInProvider
) -> None:
    model.reply(UNENDED)
    await scripted.start("Talk for ever.")
    await expect(scripted.text).to_have_text("So far")
    await scripted.pause_button.click()
    await scripted.shows("paused")
    await scripted.stop_button.click()
    await scripted.shows("stopped")
    async with asyncio.timeout(STOP_SECONDS):
        await model.gone.wait()


async def test_a_dead_server_is_retried_with_a_countdown(
    context: BrowserContext, own_server: Server, model: StandInProvider
) -> None:
    model.reply(UNENDED, Reply(words("So far, so good.")))
    async with tab(context, own_server) as page:
        await page.start("Go on.")
        await expect(page.text).to_have_text("So far")
        own_server.kill()
        await page.shows("reconnecting")
        await expect(page.status).to_have_text(re.compile(r"Reconnecting in \d+ s"))
        await expect(page.text).to_have_text("So far")
        await page.retry_button.click()
        own_server.start()
        # The run of the dead process goes on.
        await page.shows("completed")
        await expect(page.text).to_have_text("So far, so good.")


async def test_an_idle_page_shows_that_the_server_is_unavailable_and_back(
    context: BrowserContext, own_server: Server
) -> None:
    async with tab(context, own_server) as page:
        await page.shows("ready")
        # The modules that watch the server are loaded.
        await expect(page.page.locator("#model")).not_to_have_text("")
        own_server.kill()
        await page.look_at_the_server()
        await page.shows("offline")
        await page.retry_button.click()
        await page.shows("offline")
        own_server.start()
        await page.shows("ready")


async def is_going(server: Server) -> None:
    """Wait until the server has received the signal."""
    async with httpx.AsyncClient(timeout=SECONDS) as client:
        with contextlib.suppress(httpx.TransportError):
            while (await client.get(f"{server.url}/ready")).is_success:
                pass


async def test_a_draining_server_is_shown(
    context: BrowserContext, model: StandInProvider, tmp_path: Path
) -> None:
    model.reply(UNENDED)
    # Of its own: the run would go on when a shared one starts again.
    with serve(tmp_path, DRAIN_SECONDS="2", **model_variables(model)) as server:
        async with tab(context, server) as busy, tab(context, server) as idle:
            await busy.start("Talk for ever.")
            await expect(busy.text).to_have_text("So far")
            server.send_signal(signal.SIGTERM)
            await is_going(server)
            await idle.look_at_the_server()
            # It accepts no new connections, so the state shown depends on the open
            # ones.
            await expect(idle.status).to_have_attribute(
                "data-state", re.compile("draining|offline")
            )


async def test_a_busy_conversation_is_joined(
    context: BrowserContext, scripted_server: Server, model: StandInProvider
) -> None:
    model.reply(UNENDED)
    other = await context.browser.new_context() if context.browser else context
    async with (
        tab(context, scripted_server) as first,
        tab(other, scripted_server) as second,
    ):
        for page in (first, second):
            # A page that learns of it late finds the active run and joins it.
            async with (
                page.page.expect_response(re.compile(r"/conversations\?.*busy")),
                page.page.expect_response(re.compile(r"/conversations/.*busy")),
            ):
                await page.set(Organization="busy", Conversation="the same")
            await expect(page.page.get_by_text("No conversations yet.")).to_be_visible()
        await first.start("I was first.")
        await expect(first.text).to_have_text("So far")
        await second.start("Me too.")
        await second.shows("error")
        await expect(second.failure).to_contain_text("conversation_busy")
        await expect(second.prompt).to_have_value("Me too.")
        await second.button("Join the active run").click()
        await second.shows("streaming")
        await expect(second.exchanges).to_have_count(1)
        await expect(second.exchanges.locator(".prompt p")).to_have_text("I was first.")
        await expect(second.text).to_have_text("So far")
        await second.stop_button.click()
        for page in (first, second):
            await page.shows("stopped")
    if other is not context:
        await other.close()


async def test_too_many_runs_wait_and_retry(
    context: BrowserContext, model: StandInProvider, tmp_path: Path
) -> None:
    model.reply(UNENDED, Reply(words("Now I can.")))
    with serve(tmp_path, RUN_MAX_PER_ORG="1", **model_variables(model)) as server:
        async with tab(context, server) as first, tab(context, server) as second:
            await first.start("Talk for ever.")
            await expect(first.text).to_have_text("So far")
            await second.start("And me?")
            await expect(second.status).to_have_text(
                re.compile(r"busy: trying again in \d+ s")
            )
            await first.stop_button.click()
            await first.shows("stopped")
            await second.retry_button.click()
            await second.shows("completed")
            await expect(second.text).to_have_text("Now I can.")


async def test_the_next_prompt_continues_the_conversation(
    scripted: DemoPage, model: StandInProvider
) -> None:
    model.reply(Reply(words("Hello, Alice.")), Reply(words("Alice.")))
    await scripted.run("I am Alice.")
    await scripted.conversation_id()
    await scripted.start("Who am I?")
    await expect(scripted.exchanges).to_have_count(2)
    await expect(scripted.text).to_have_text("Alice.")
    said = [message["content"] for message in model.requests[-1].json["messages"]]
    assert said[-3:] == ["I am Alice.", "Hello, Alice.", "Who am I?"]


async def test_clear_empties_the_page_and_begins_a_new_conversation(
    scripted: DemoPage, model: StandInProvider
) -> None:
    model.reply(Reply(words("Hello, Alice.")), Reply(words("I do not know.")))
    await scripted.run("I am Alice.")
    await scripted.clear_button.click()
    await scripted.shows("ready")
    await expect(scripted.exchanges).to_have_count(0)
    await expect(scripted.events).to_have_count(0)
    assert "conversation" not in scripted.page.url
    await expect(scripted.prompt).to_be_focused()
    await scripted.run("Who am I?")
    assert "Alice" not in model.requests[-1].body.decode()


async def test_clear_cancels_the_active_run(
    scripted: DemoPage, model: StandInProvider
) -> None:
    model.reply(UNENDED)
    await scripted.start("Talk for ever.")
    await expect(scripted.text).to_have_text("So far")
    await scripted.clear_button.click()
    await scripted.shows("ready")
    async with asyncio.timeout(STOP_SECONDS):
        await model.gone.wait()
    await scripted.shows("ready")
    await expect(scripted.exchanges).to_have_count(0)


async def test_the_settings_are_sent_with_the_prompt(
    scripted: DemoPage, model: StandInProvider
) -> None:
    model.reply(Reply(words("Yes.")))
    await scripted.set(Organization="acme", Conversation="plans", Max_iterations="1")
    await scripted.run("Is it so?")
    connected = scripted.events.first
    await connected.get_by_role("button").click()
    await expect(connected).to_contain_text('"org_id": "acme"')
    await expect(connected).to_contain_text('"conversation_id": "plans"')
    # With one iteration the model must answer without tools.
    assert model.requests[-1].json.get("tool_choice", "none") == "none"


@pytest.mark.parametrize("iterations", ["0", "51", "1.5"])
async def test_invalid_settings_are_rejected(
    scripted: DemoPage, iterations: str
) -> None:
    await scripted.set(Max_iterations=iterations)
    await expect(scripted.settings.get_by_label("Max iterations")).to_be_focused()
    await scripted.page.keyboard.press("Escape")
    await expect(scripted.settings).to_be_hidden()


@pytest.mark.parametrize("prompt", ["", "  \n "])
async def test_a_blank_prompt_starts_nothing(scripted: DemoPage, prompt: str) -> None:
    await scripted.start(prompt)
    await scripted.start_button.click()
    await scripted.shows("ready")
    await expect(scripted.exchanges).to_have_count(0)


async def test_the_keyboard_suffices(
    scripted: DemoPage, model: StandInProvider
) -> None:
    model.reply(UNENDED)
    keyboard = scripted.page.keyboard
    await expect(scripted.prompt).to_be_focused()
    await keyboard.type("One line")
    await keyboard.press("Shift+Enter")
    await keyboard.type("and another")
    await keyboard.press("Enter")
    await expect(scripted.exchanges.locator(".prompt p")).to_have_text(
        "One line\nand another", use_inner_text=True
    )
    await expect(scripted.text).to_have_text("So far")
    for button in (
        scripted.clear_button,
        scripted.pause_button,
        scripted.stop_button,
    ):
        await keyboard.press("Tab")
        await expect(button).to_be_focused()
    await keyboard.press("Enter")
    await scripted.shows("stopped")
    # The button is hidden; the focus is not lost.
    await expect(scripted.prompt).to_be_focused()


async def test_a_request_can_be_copied_as_curl(
    context: BrowserContext, demo: DemoPage
) -> None:
    await context.grant_permissions(["clipboard-read", "clipboard-write"])
    await demo.set(Organization="it's acme", Max_iterations="2")
    await demo.run("What is 6 * 7?")
    await demo.button("Copy as curl").click()
    await expect(demo.answer.get_by_text("Copied")).to_be_visible()
    command = await demo.page.evaluate("navigator.clipboard.readText()")
    shell = await asyncio.create_subprocess_shell(
        f"{command} --silent --show-error --fail", stdout=asyncio.subprocess.PIPE
    )
    said, _ = await shell.communicate()
    assert shell.returncode == 0
    assert b'"org_id":"it\'s acme"' in said
    assert b"event: done" in said
