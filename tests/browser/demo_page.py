"""The demo page as a user sees it, and the errors that the browser logged."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from playwright.async_api import BrowserContext, ConsoleMessage, Locator, Page, expect

from streaming.testing.server import Server

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
ENDS = ("completed", "stopped", "error")

#: The browser logs each response with an error status; some tests cause one.
ANSWERED_WITH_AN_ERROR = "Failed to load resource"
#: Advice, such as to name the account that a password belongs to.
ADVICE = "verbose"
#: The root of the component's elements. Locators look into it by themselves.
SHADOW = "document.querySelector('agent-chat').shadowRoot"
#: Opens the events, which are closed until the user opens them.
SHOW_EVENTS = """try {
  if (!localStorage.getItem("agent.inspector"))
    localStorage.setItem("agent.inspector", "open");
} catch {}"""
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
        self.start_button = page.locator("#start")
        self.stop_button = self.button("Stop")
        self.pause_button = self.button("Pause")
        self.resume_button = self.button("Resume")
        self.retry_button = self.button("Retry now")
        self.clear_button = self.button("Clear")
        self.new_button = self.button("New conversation")
        self.settings_button = page.locator("#open-settings")
        self.status = page.locator("#status")
        self.settings = page.get_by_role("dialog", name="Settings", exact=True)
        self.conversations = page.locator(".conversation-row")
        self.search = page.get_by_role("searchbox")
        self.exchanges = page.locator(".exchange")
        self.answer = page.locator(".answer").last
        self.text = self.answer.locator(".text")
        self.tools = self.answer.locator(".tool")
        self.failure = page.locator(".failure")
        self.events = page.locator("#events .event")

    def button(self, name: str) -> Locator:
        """Return a button by its whole name: titles may contain a part of it."""
        return self.page.get_by_role("button", name=name, exact=True)

    async def start(self, prompt: str) -> None:
        """Write a prompt and press Enter."""
        await self.prompt.fill(prompt)
        await self.prompt.press("Enter")

    async def run(self, prompt: str) -> None:
        """Start a run as soon as possible and wait until it is completed."""
        await expect(self.start_button).to_be_visible()
        await self.start(prompt)
        await self.shows("completed")

    async def shows(self, state: State) -> None:
        """Wait for a state and, if it is an end, until a prompt can be sent again."""
        await expect(self.status).to_have_attribute("data-state", state)
        if state in ENDS:
            await expect(self.start_button).to_be_visible()

    async def set(self, **values: str) -> None:
        """Change settings by their labels, as in `organization="acme"`."""
        await self.settings_button.click()
        for label, value in values.items():
            name = label.replace("_", " ")
            await self.settings.get_by_label(name).fill(value)
        await self.settings.get_by_role("button", name="Save").click()

    async def conversation_id(self) -> str:
        """Return the conversation that the page's address names."""
        await self.page.wait_for_url("**conversation=*")
        [conversation_id] = parse_qs(urlsplit(self.page.url).query)["conversation"]
        return conversation_id

    async def kept(self) -> dict[str, Any]:
        """Return the conversation as the server stores it."""
        script = """async (id) => {
          const org = new URLSearchParams(location.search).get("org") ?? "default";
          const path = `/api/v1/agent/conversations/${id}?org_id=${org}`;
          return (await fetch(path)).json();
        }"""
        kept: dict[str, Any]
        kept = await self.page.evaluate(script, await self.conversation_id())
        return kept

    async def run_ends(self) -> None:
        """Wait until the run has ended on the server, apart from the page's state."""
        async with asyncio.timeout(PATIENCE_MS / 1000):
            while (await self.kept())["active_run_id"] is not None:  # noqa: ASYNC110
                await asyncio.sleep(0.05)  # the page may not follow the run

    async def look_at_the_server(self) -> None:
        """Make the page check the server at once instead of at its next interval."""
        await self.page.evaluate("dispatchEvent(new Event('online'))")

    async def event_types(self) -> list[str]:
        """Return the types in the event log from the top, once the run has ended."""
        await expect(self.events.last.locator(".event-type")).to_have_text("done")
        return await self.events.locator(".event-type").all_inner_texts()

    def example(self, prompt: str) -> Locator:
        """Return the button with this example prompt."""
        return self.page.locator("#examples button", has_text=prompt)

    def _note(self, message: ConsoleMessage) -> None:
        expected = message.text.startswith(ANSWERED_WITH_AN_ERROR)
        if not expected and message.type != ADVICE:
            self.complaints.append(f"{message.type}: {message.text}")


def organization_of_its_own(server: Server) -> str:
    """Return an address of an organization that no other test uses."""
    return f"{server.url}/?org={uuid.uuid4()}"


@asynccontextmanager
async def tab(
    context: BrowserContext, server: Server, address: str = ""
) -> AsyncIterator[DemoPage]:
    """Open a server's page in a new tab; check in the end that no error was logged."""
    demo_page = DemoPage(await context.new_page())
    await demo_page.page.goto(address or server.url)
    yield demo_page
    assert demo_page.complaints == [], demo_page.complaints
