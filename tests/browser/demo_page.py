"""The demo page as a person sees it, and what the browser complained of."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal
from urllib.parse import parse_qs, urlsplit

from playwright.async_api import BrowserContext, ConsoleMessage, Locator, Page, expect

from tests.browser.server import Server

State = Literal[
    "ready",
    "connecting",
    "streaming",
    "paused",
    "reconnecting",
    "completed",
    "stopped",
    "error",
    "draining",
    "offline",
]

#: The browser logs each answer that is an error; some tests ask for one.
ANSWERED_WITH_AN_ERROR = "Failed to load resource"
#: Advice, such as to name the account that a password belongs to.
ADVICE = "verbose"
#: A slow machine starts and stops processes slowly.
PATIENCE_MS = 30_000
expect.set_options(timeout=PATIENCE_MS)


class DemoPage:
    """The page in one tab."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.prompt = page.get_by_role("textbox", name="Prompt")
        self.start_button = page.get_by_role("button", name="Start")
        self.stop_button = page.get_by_role("button", name="Stop", exact=True)
        self.pause_button = page.get_by_role("button", name="Pause")
        self.resume_button = page.get_by_role("button", name="Resume")
        self.retry_button = page.get_by_role("button", name="Retry now")
        self.clear_button = page.get_by_role("button", name="Clear")
        self.new_button = page.get_by_role("button", name="New conversation")
        self.status = page.locator("#status")
        self.settings = page.get_by_role("dialog", name="Settings")
        self.conversations = page.locator(".conversation-row")
        self.search = page.get_by_role("searchbox", name="Search conversations")
        self.turns = page.locator(".turn")
        self.answer = page.locator(".answer").last
        self.text = self.answer.locator(".text")
        self.tools = self.answer.locator(".tool")
        self.failure = page.locator(".failure")
        self.events = page.get_by_role("list", name="Events").locator(".event")

    async def start(self, prompt: str) -> None:
        """Write a prompt and press Enter."""
        await self.prompt.fill(prompt)
        await self.prompt.press("Enter")

    async def run(self, prompt: str) -> None:
        """Start, and wait until it is completed."""
        await self.start(prompt)
        await self.shows("completed")

    async def shows(self, state: State) -> None:
        """Wait for a state."""
        await expect(self.status).to_have_attribute("data-state", state)

    async def set(self, **values: str) -> None:
        """Change settings by their labels, as in `organization="acme"`."""
        await self.page.get_by_role("button", name="Settings").click()
        for label, value in values.items():
            name = label.replace("_", " ")
            await self.settings.get_by_label(name).fill(value)
        await self.settings.get_by_role("button", name="Save").click()

    async def conversation_id(self) -> str:
        """The conversation that the page's address names."""
        await self.page.wait_for_url("**conversation=*")
        [conversation_id] = parse_qs(urlsplit(self.page.url).query)["conversation"]
        return conversation_id

    async def run_ends(self) -> None:
        """Wait until the run has ended at the server, whatever the page shows."""
        script = """async (id) => {
          const answer = await fetch(`/api/v1/agent/conversations/${id}`);
          return (await answer.json()).active_run_id === null;
        }"""
        here = await self.conversation_id()
        async with asyncio.timeout(PATIENCE_MS / 1000):
            while not await self.page.evaluate(script, here):  # noqa: ASYNC110
                await asyncio.sleep(0.1)

    async def look_at_the_server(self) -> None:
        """Let the page ask how the server stands now, and not when it is time."""
        await self.page.evaluate("dispatchEvent(new Event('online'))")

    async def event_types(self) -> list[str]:
        """The types in the event log, from the top."""
        return await self.events.locator(".event-type").all_inner_texts()

    def example(self, prompt: str) -> Locator:
        """The button with this example prompt."""
        return self.page.get_by_role("button", name=prompt)

    def _note(self, message: ConsoleMessage) -> None:
        expected = message.text.startswith(ANSWERED_WITH_AN_ERROR)
        if not expected and message.type != ADVICE:
            self.complaints.append(f"{message.type}: {message.text}")


@asynccontextmanager
async def tab(
    context: BrowserContext, server: Server, address: str = ""
) -> AsyncIterator[DemoPage]:
    """A server's page in a new tab; in the end the browser must have no complaint."""
    demo_page = DemoPage(await context.new_page())
    await demo_page.page.goto(address or server.url)
    yield demo_page
    assert demo_page.complaints == []
