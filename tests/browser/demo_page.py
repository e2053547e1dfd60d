"""The demo page as a person sees it, and what the browser complained of."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

from playwright.async_api import BrowserContext, ConsoleMessage, Locator, Page, expect

from tests.browser.server import Server

State = Literal[
    "ready",
    "connecting",
    "streaming",
    "reconnecting",
    "completed",
    "stopped",
    "error",
]

#: The browser logs each answer that is an error; some tests ask for one.
ANSWERED_WITH_AN_ERROR = "Failed to load resource"


class DemoPage:
    """The page in one tab."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.prompt = page.get_by_role("textbox", name="Prompt")
        self.organization = page.get_by_label("Organization")
        self.conversation = page.get_by_role("textbox", name="Conversation")
        self.max_iterations = page.get_by_label("Max iterations")
        self.start_button = page.get_by_role("button", name="Start")
        self.stop_button = page.get_by_role("button", name="Stop")
        self.clear_button = page.get_by_role("button", name="Clear")
        self.status = page.locator("#status")
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

    async def event_types(self) -> list[str]:
        """The types in the event log, from the top."""
        return await self.events.locator(".event-type").all_inner_texts()

    def example(self, prompt: str) -> Locator:
        """The button with this example prompt."""
        return self.page.get_by_role("button", name=prompt)

    def _note(self, message: ConsoleMessage) -> None:
        if not message.text.startswith(ANSWERED_WITH_AN_ERROR):
            self.complaints.append(f"{message.type}: {message.text}")


@asynccontextmanager
async def tab(context: BrowserContext, server: Server) -> AsyncIterator[DemoPage]:
    """A server's page in a new tab; in the end the browser must have no complaint."""
    demo_page = DemoPage(await context.new_page())
    await demo_page.page.goto(server.url)
    yield demo_page
    assert demo_page.complaints == []
