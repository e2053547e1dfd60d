"""Take the screenshot of the demo page for README.md: `make screenshot`.

The demo page answers a prompt with tool calls, by the demo model, in a real Chromium;
the events of the run are shown beside it.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

from playwright.async_api import Page, ViewportSize, async_playwright, expect

from streaming.testing.server import Server, clean_environment
from tests import available
from tests.browser.demo_page import DemoPage
from tests.browser.png import with_palette
from tests.providers.demo_prompts import APPLES, EXPLAIN, INTEREST, PUZZLE

ROOT = Path(__file__).resolve().parents[2]
SCREENSHOT = ROOT / "docs" / "images" / "page.png"
WINDOW = ViewportSize(width=1360, height=840)
#: Sharp on displays of high density.
SCALE = 2
DELAY_MS = 8
COMMAND = (
    *(sys.executable, "-m", "uvicorn", "agentsite.asgi:application"),
    *("--port", "{port}"),
)


async def take(page: Page) -> None:
    """Fill the list of conversations, run the last prompt, and save the screenshot."""
    demo = DemoPage(page)
    await page.locator("#inspector-toggle").click()
    for prompt in (EXPLAIN, PUZZLE, INTEREST):
        await demo.run(prompt)
        await demo.new_button.click()
    await demo.run(APPLES)
    await expect(demo.tools.first).to_be_visible()
    await demo.prompt.blur()
    await page.mouse.move(WINDOW["width"] / 2, 0)
    png = await page.screenshot(animations="disabled", caret="hide")
    SCREENSHOT.write_bytes(with_palette(png))


async def open_page(url: str) -> None:
    """Open the page in a browser and take the screenshot."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=available.chromium_path(), args=["--no-sandbox"]
        )
        page = await browser.new_page(
            viewport=WINDOW, device_scale_factor=SCALE, color_scheme="light"
        )
        await page.goto(url)
        await take(page)
        await browser.close()


def main() -> None:
    """Serve the demo model from an empty database and take the screenshot."""
    with tempfile.TemporaryDirectory() as directory:
        environment = clean_environment(
            DATA_DIR=directory,
            AUTHENTICATION="streaming.auth.open",
            LLM_PROVIDER="demo",
            DEMO_DELAY_MS=str(DELAY_MS),
        )
        server = Server(
            COMMAND,
            Path(directory),
            environment=environment,
            cwd=ROOT,
            ready="/ready",
        )
        server.run("manage.py", "migrate", "--verbosity", "0")
        with server:
            asyncio.run(open_page(server.url))
    print(f"{SCREENSHOT.relative_to(ROOT)}: {SCREENSHOT.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
