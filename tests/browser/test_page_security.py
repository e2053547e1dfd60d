"""The content security policy in a browser: no page breaks it, and it holds."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    expect,
)

from streaming.testing.server import Server, free_port
from tests.browser.demo_page import ANSWERED_WITH_AN_ERROR, DemoPage

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PASSWORD = "the right password"
MAKE_USER = f"""
from django.contrib.auth.models import User
User.objects.create_superuser("chief", password={PASSWORD!r})
"""
#: Report violations of the policy, which the console shows as well.
WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
  violations.push(`${event.effectiveDirective} ${event.blockedURI}`));
"""
#: Pages of the admin, with the widgets that have scripts.
PAGES = (
    "",
    "streaming/",
    "streaming/organization/",
    "streaming/conversation/?q=a",
    "streaming/run/?status=completed",
    "auth/user/",
    "auth/user/add/",
    "auth/group/add/",
    "password_change/",
)
INJECT = """() => {
  for (const inject of [
    () => {
      const script = document.createElement("script");
      script.textContent = "window.ran = true";
      document.body.append(script);
    },
    () => document.body.setAttribute("onclick", "window.ran = true"),
  ]) {
    try { inject(); } catch {} // Trusted Types refuse it sooner
  }
  document.body.click();
  return window.ran ?? false;
}"""


@pytest_asyncio.fixture(loop_scope="session")
async def complaints(context: BrowserContext) -> list[str]:
    """The errors and warnings that the pages of a context write to the console."""
    found: list[str] = []
    await context.add_init_script(WATCH)

    def note(message: ConsoleMessage) -> None:
        expected = message.text.startswith(ANSWERED_WITH_AN_ERROR)
        if not expected and message.type in ("error", "warning"):
            found.append(message.text)

    context.on("console", note)
    return found


@pytest_asyncio.fixture(loop_scope="session")
async def admin(context: BrowserContext, demo_server: Server) -> AsyncIterator[Page]:
    """A tab with the page of the login."""
    demo_server.run("manage.py", "shell", "--verbosity", "0", "-c", MAKE_USER)
    page = await context.new_page()
    await page.goto(f"{demo_server.url}/admin/")
    yield page


async def violations(page: Page) -> Any:  # noqa: ANN401  (of the browser)
    return await page.evaluate("window.violations")


async def login(page: Page, password: str) -> None:
    await page.get_by_label("Username").fill("chief")
    await page.get_by_label("Password").fill(password)
    await page.get_by_role("button", name="Log in").click()


async def test_no_page_of_the_admin_breaks_the_policy(
    complaints: list[str], admin: Page, demo: DemoPage, demo_server: Server
) -> None:
    await demo.run("What is 15% of 240?")
    assert await violations(admin) == []
    await login(admin, "the wrong password")
    await expect(admin.locator(".errornote")).to_be_visible()
    assert await violations(admin) == []
    await login(admin, PASSWORD)
    await expect(admin.locator("#user-tools")).to_contain_text("chief")
    root = f"{demo_server.url}/admin/"
    for path in PAGES:
        await admin.goto(root + path)
        assert await violations(admin) == [], path
    for model, part in (("run", ".timeline li"), ("conversation", ".transcript-run")):
        await admin.goto(f"{root}streaming/{model}/")
        await admin.locator("#result_list tbody th a").first.click()
        await expect(admin.locator(part).first).to_be_visible()
        assert await violations(admin) == [], model
    await admin.locator("a.deletelink").click()
    await expect(admin.get_by_text("Summary")).to_be_visible()
    assert await violations(admin) == []
    await admin.goto(f"{root}auth/user/")
    await admin.get_by_role("link", name="chief", exact=True).click()
    await expect(admin.locator(".selector").first).to_be_visible()  # made by scripts
    await admin.get_by_text("Today", exact=True).first.click()
    assert await violations(admin) == []
    await admin.get_by_role("button", name="Log out").click()
    await expect(admin.get_by_text("Logged out")).to_be_visible()
    assert complaints == []


async def test_the_page_breaks_no_policy(
    complaints: list[str], context: BrowserContext, demo: DemoPage
) -> None:
    await demo.page.reload()
    await demo.run("show markdown")
    assert await violations(demo.page) == []
    assert complaints == []


@pytest.mark.parametrize("path", ["/", "/admin/login/"])
async def test_an_injected_script_does_not_run(
    complaints: list[str], context: BrowserContext, demo_server: Server, path: str
) -> None:
    page = await context.new_page()
    await page.goto(demo_server.url + path)
    assert await page.evaluate(INJECT) is False
    assert complaints


@pytest.mark.parametrize("path", ["/", "/admin/login/"])
async def test_no_other_site_can_frame_a_page(
    browser: Browser, demo_server: Server, path: str
) -> None:
    context = await browser.new_context()
    page = await context.new_page()
    other = f"http://127.0.0.2:{free_port()}/"
    html = f'<iframe src="{demo_server.url}{path}"></iframe>'
    await page.route(other, lambda r: r.fulfill(body=html, content_type="text/html"))
    await page.goto(other)
    _, frame = page.frames
    assert frame.url.startswith("chrome-error:")
    await context.close()
