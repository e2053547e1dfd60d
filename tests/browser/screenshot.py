"""Take the screenshot of the demo page for README.md: `make screenshot`.

The demo page answers a prompt with tool calls, by the demo model, in a real Chromium;
the events of the run are shown beside it.
"""

import asyncio
import tempfile
from pathlib import Path

from playwright.async_api import Page, ViewportSize, async_playwright, expect

from tests import available
from tests.browser.conftest import CHROMIUM_ARGUMENTS
from tests.browser.demo_page import DemoPage
from tests.browser.png import with_palette
from tests.servers import ROOT, serve

SCREENSHOT = ROOT / "docs" / "images" / "page.png"
WINDOW = ViewportSize(width=1360, height=800)
#: Sharp on displays of high density.
SCALE = 2
DELAY_MS = 8
EARLIER = (
    "Explain how photosynthesis works",
    "What is 15% of 240, and what is the square root of 144?",
    "What time is it in Tokyo, Berlin and New York?",
)
PROMPT = "Calculate the compound interest for $5000 at 3.5% annual rate for 8 years"


async def take(page: Page) -> None:
    """Fill the list of conversations, run the last prompt, and save the screenshot."""
    demo = DemoPage(page)
    for prompt in EARLIER:
        await demo.run(prompt)
        await demo.new_button.click()
    await demo.run(PROMPT)
    await expect(demo.tools.first).to_be_visible()
    await demo.prompt.blur()
    await page.mouse.move(WINDOW["width"] / 2, 0)
    png = await page.screenshot(animations="disabled", caret="hide")
    SCREENSHOT.write_bytes(with_palette(png))


async def main() -> None:
    """Serve the demo model, open the page, and take the screenshot."""
    with tempfile.TemporaryDirectory() as directory:
        environment = {"LLM_PROVIDER": "demo", "DEMO_DELAY_MS": str(DELAY_MS)}
        with serve(Path(directory), **environment) as server:
            async with async_playwright() as playwright:
                browser = await playwright.chromium.launch(
                    executable_path=available.chromium_path(), args=CHROMIUM_ARGUMENTS
                )
                page = await browser.new_page(
                    viewport=WINDOW, device_scale_factor=SCALE, color_scheme="light"
                )
                await page.goto(server.url)
                await take(page)
                await browser.close()
    print(f"{SCREENSHOT.relative_to(ROOT)}: {SCREENSHOT.stat().st_size:,} bytes")


if __name__ == "__main__":
    asyncio.run(main())
