"""Pages of a host project that embed the chat, at the origin of a server."""

import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from django.template import Context, Template
from playwright.async_api import BrowserContext, ConsoleMessage, Locator, Page, Route

from streaming.testing.server import Server
from tests.browser.demo_page import ADVICE, ANSWERED_WITH_AN_ERROR

PATH = "/shop/orders"
#: Records the events of the element, from before its module is loaded.
RECORD = """
window.told = [];
const names = "ready start event complete end error clear conversation open close";
for (const name of names.split(" ")) {
  document.addEventListener(`agent-chat:${name}`, ({ detail, target }) => {
    told.push({ name, detail, id: target.id });
  });
}"""


class HostPage:
    """A page with one chat or more."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def chat(self, name: str = "agent-chat") -> "Chat":
        """Return a chat by the selector of its element."""
        return Chat(self.page.locator(name))

    async def told(self, *names: str) -> list[dict[str, Any]]:
        """Return the details of the events with these names so far."""
        script = "(names) => told.filter(({ name }) => names.includes(name))"
        events: list[dict[str, Any]] = await self.page.evaluate(script, list(names))
        return [event["detail"] for event in events]

    def _note(self, message: ConsoleMessage) -> None:
        expected = message.text.startswith(ANSWERED_WITH_AN_ERROR)
        if not expected and message.type != ADVICE:
            self.complaints.append(f"{message.type}: {message.text}")


class Chat:
    """A chat as its user sees it, in any language."""

    def __init__(self, element: Locator) -> None:
        self.element = element
        self.prompt = element.locator("#prompt")
        self.send = element.locator("#start")
        self.stop = element.locator("#stop")
        self.status = element.locator("#status")
        self.exchanges = element.locator(".exchange")
        self.text = element.locator(".answer").last.locator(".text")
        self.failure = element.locator(".failure")
        self.launcher = element.locator("#launcher")
        self.panel = element.locator("#panel")

    async def ask(self, question: str) -> None:
        """Write a question and press Enter."""
        await self.prompt.fill(question)
        await self.prompt.press("Enter")


def html(
    body: str,
    values: Mapping[str, Any] | None = None,
    *,
    head: str = "",
    lang: str = "en",
) -> str:
    """Return a page whose body is a template; no other test uses its organization."""
    text = str(Template("{% load streaming %}" + body).render(Context(values or {})))
    own = f'<agent-chat request=\'{{"org_id": "shop-{uuid.uuid4()}"}}\' '
    text = text.replace("<agent-chat ", own)
    return (
        f'<!doctype html><html lang="{lang}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Shop</title>{head}</head>"
        f"<body><main><h1>Orders</h1>{text}</main></body></html>"
    )


@asynccontextmanager
async def host_page(
    context: BrowserContext, server: Server, page: str, *, policy: str = ""
) -> AsyncIterator[HostPage]:
    """Open a page of this HTML; check in the end that no error was logged."""
    headers = {"Content-Type": "text/html; charset=utf-8"}
    if policy:
        headers["Content-Security-Policy"] = policy

    async def answer(route: Route) -> None:
        await route.fulfill(body=page, headers=headers)

    tab = await context.new_page()
    await tab.route(f"**{PATH}*", answer)
    await tab.add_init_script(RECORD)
    host = HostPage(tab)
    await tab.goto(server.url + PATH)
    yield host
    assert host.complaints == []
    await tab.close()
