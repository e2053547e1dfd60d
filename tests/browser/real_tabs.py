"""Tabs that can be hidden: Playwright's own pages are always visible.

Chromium considers a page hidden once it was frozen. Afterwards the emulation of its
focus, which Playwright switches on in the pages that it opens itself, decides.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import BrowserContext, CDPSession, Page, async_playwright

from tests import available

ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--window-size=1280,800",
    "--remote-debugging-port=0",
)
START_SECONDS = 60
POLL_SECONDS = 0.05


@asynccontextmanager
async def browser_of_real_tabs(directory: Path) -> AsyncIterator[BrowserContext]:
    """Run a Chromium whose pages behave as a user's do."""
    command = (available.need("chromium"), *ARGUMENTS, f"--user-data-dir={directory}")
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.connect_over_cdp(
                await _endpoint(directory / "DevToolsActivePort"), no_defaults=True
            )
            yield browser.contexts[0]
            await browser.close()
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _endpoint(path: Path) -> str:
    async with asyncio.timeout(START_SECONDS):
        while not path.exists() or len(path.read_text().split()) < 2:  # noqa: ASYNC110, ASYNC240
            await asyncio.sleep(POLL_SECONDS)  # Chromium reports its port only there
    port, resource = path.read_text().split()  # noqa: ASYNC240
    return f"ws://127.0.0.1:{port}{resource}"


class RealTab:
    """A page that the user of a browser shows and hides."""

    def __init__(self, page: Page, session: CDPSession) -> None:
        self.page = page
        self._session = session

    @classmethod
    async def open(cls, context: BrowserContext) -> "RealTab":
        """Open an empty tab and show it."""
        page = await context.new_page()
        tab = cls(page, await context.new_cdp_session(page))
        await tab._session.send("Page.enable")
        await tab.freeze()
        await tab.thaw()
        await tab.show()
        return tab

    async def show(self) -> None:
        """Bring the tab to the front."""
        await self._emulate_focus(True)

    async def hide(self) -> None:
        """Bring another tab to the front."""
        await self._emulate_focus(False)

    async def freeze(self) -> None:
        """Stop everything in the tab, as browsers do to save energy."""
        await self._session.send("Page.setWebLifecycleState", {"state": "frozen"})

    async def thaw(self) -> None:
        """Let the tab continue."""
        await self._session.send("Page.setWebLifecycleState", {"state": "active"})

    async def _emulate_focus(self, shown: bool) -> None:
        emulation = "Emulation.setFocusEmulationEnabled"
        await self._session.send(emulation, {"enabled": shown})
        state = "visible" if shown else "hidden"
        # A hidden page draws no frames, at which Playwright would look by default.
        await self.page.wait_for_function(
            f"document.visibilityState === '{state}'", polling=POLL_SECONDS * 1000
        )
