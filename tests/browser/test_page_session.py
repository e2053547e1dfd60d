"""Sessions and CSRF tokens that end while a chat is open: nothing is lost."""

import asyncio
from collections.abc import Iterator

import pytest
from playwright.async_api import BrowserContext, Page, expect

from streaming.testing.provider import Reply, StandInProvider
from streaming.testing.server import Server
from tests.browser.answers import held, words
from tests.browser.demo_page import PATIENCE_MS
from tests.browser.host_page import Chat
from tests.servers import model_variables, serve

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PASSWORD = "the right password"
MAKE_USER = f"""
from django.contrib.auth.models import User
User.objects.create_superuser("chief", password={PASSWORD!r})
"""
END_SESSIONS = """
from django.contrib.sessions.models import Session
Session.objects.all().delete()
"""
#: `wait_for_function` takes the promise of an async function for true.
UNTIL_SIGNED_OUT = """async () => {
  while ((await fetch("/api/v1/agent/conversations")).status !== 401)
    await new Promise((resolve) => setTimeout(resolve, 100));
}"""
SIGNED_OUT = "You are not signed in, or your session has ended."


@pytest.fixture(scope="module")
def guarded(
    shared_model: StandInProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server whose users log in."""
    directory = tmp_path_factory.mktemp("guarded-server")
    variables = model_variables(shared_model)
    with serve(
        directory, AUTHENTICATION="streaming.auth.session", **variables
    ) as server:
        run_code(server, MAKE_USER)
        yield server


def run_code(server: Server, code: str) -> None:
    done = server.run("manage.py", "shell", "--verbosity", "0", "-c", code)
    assert done.returncode == 0, done.stderr


async def log_in(page: Page) -> None:
    await page.get_by_label("Username").fill("chief")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Log in").click()


async def open_chat(context: BrowserContext, server: Server) -> tuple[Page, Chat]:
    """Open the page of the agent, which requires a login."""
    page = await context.new_page()
    await page.goto(f"{server.url}/a/Agent/")
    await log_in(page)
    chat = Chat(page.locator("agent-chat"))
    await expect(chat.prompt).to_be_visible()
    return page, chat


async def end_sessions(server: Server, page: Page) -> None:
    """End all sessions, and wait until the server has noticed."""
    await asyncio.to_thread(run_code, server, END_SESSIONS)
    async with asyncio.timeout(PATIENCE_MS / 1000):
        await page.evaluate(UNTIL_SIGNED_OUT)


async def press(chat: Chat, name: str) -> None:
    await chat.element.get_by_role("button", name=name).click()


async def test_a_question_is_kept_through_a_login(
    context: BrowserContext, guarded: Server, model: StandInProvider
) -> None:
    model.reply(Reply(words("Hello.")), Reply(words("Still here.")))
    page, chat = await open_chat(context, guarded)
    await chat.ask("Hi.")
    await expect(chat.text).to_have_text("Hello.")
    await end_sessions(guarded, page)
    await chat.ask("Are you there?")
    await expect(chat.failure).to_have_text(SIGNED_OUT)
    await press(chat, "Sign in")
    await log_in(page)
    await expect(chat.text).to_have_text("Hello.")
    await expect(chat.prompt).to_have_value("Are you there?")
    await chat.prompt.press("Enter")
    await expect(chat.text).to_have_text("Still here.")
    await expect(chat.exchanges).to_have_count(2)
    await page.reload()
    await expect(chat.exchanges).to_have_count(2)
    await expect(chat.prompt).to_have_value("")


async def test_an_answer_goes_on_while_its_reader_logs_in_again(
    context: BrowserContext, guarded: Server, model: StandInProvider
) -> None:
    rest = asyncio.Event()
    model.reply(held(rest, "One, ", "two."))
    page, chat = await open_chat(context, guarded)
    await chat.ask("Count.")
    await expect(chat.text).to_have_text("One,")
    await end_sessions(guarded, page)
    await expect(chat.failure).to_have_text(SIGNED_OUT)
    await expect(chat.text).to_have_text("One,")
    await press(chat, "Sign in")
    rest.set()
    await log_in(page)
    await expect(chat.text).to_have_text("One, two.")
    await expect(chat.failure).to_have_count(0)
    assert len(model.requests) == 1


async def test_a_refused_csrf_token_is_renewed_by_a_reload(
    context: BrowserContext, guarded: Server, model: StandInProvider
) -> None:
    model.reply(Reply(words("Hello.")))
    page, chat = await open_chat(context, guarded)
    await context.clear_cookies(name="csrftoken")
    await chat.ask("Hi.")
    await expect(chat.failure).to_contain_text("the page is out of date")
    await expect(chat.prompt).to_have_value("Hi.")
    await press(chat, "Reload the page")
    await expect(chat.exchanges).to_have_count(0)
    await expect(chat.prompt).to_have_value("Hi.")
    await chat.prompt.press("Enter")
    await expect(chat.text).to_have_text("Hello.")
    assert len(model.requests) == 1


async def test_the_demo_page_offers_the_login(
    context: BrowserContext, guarded: Server, model: StandInProvider
) -> None:
    model.reply(Reply(words("Hello.")))
    page = await context.new_page()
    await page.goto(guarded.url)
    chat = Chat(page.locator("agent-chat"))
    await chat.ask("Hi.")
    await expect(chat.failure).to_be_visible()
    await expect(page.get_by_role("dialog", name="Settings")).to_be_hidden()
    await press(chat, "Sign in")
    await log_in(page)
    await expect(chat.prompt).to_have_value("Hi.")
    await chat.prompt.press("Enter")
    await expect(chat.text).to_have_text("Hello.")
