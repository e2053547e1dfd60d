"""The admin's pages: axe finds no fault, and nothing is too wide."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, ViewportSize, expect

from streaming.testing.server import Server
from tests import available
from tests.browser.test_page_accessibility import FIND_FAULTS
from tests.client import API

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

SIZES = [ViewportSize(width=390, height=844), ViewportSize(width=1280, height=900)]
LISTS = ("organization", "conversation", "run")
PROMPTS = ("What is 15% of 240?", "fail after 3 words", "x" * 3_000)
#: Creates the session directly, without the slow hash of a password.
MAKE_SESSION = """
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
user, _ = User.objects.get_or_create(
    username="root", defaults={"is_staff": True, "is_superuser": True}
)
session = SessionStore()
session[SESSION_KEY] = str(user.pk)
session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
session[HASH_SESSION_KEY] = user.get_session_auth_hash()
session.create()
print(session.session_key)
"""

#: The policy of the page blocks styles of axe itself, which are no fault of the page's:
#: tests/browser/test_page_security.py collects those.
OF_AXE = ("Applying inline style", "Couldn't load preload assets")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def session_key(demo_server: Server) -> str:
    """A browser context of a user who is logged in, with some history."""
    async with httpx.AsyncClient(timeout=60) as client:
        for prompt in PROMPTS:
            body = {"input": prompt, "conversation_id": prompt[:9]}
            await client.post(f"{demo_server.url}{API}/run", json=body)
    return demo_server.run(
        "manage.py", "shell", "--verbosity", "0", "-c", MAKE_SESSION
    ).stdout.strip()


@pytest_asyncio.fixture(loop_scope="session")
async def admin(
    browser: Browser, demo_server: Server, session_key: str
) -> AsyncIterator[Page]:
    """A tab of this user; the browser must log no complaint."""
    context = await browser.new_context(reduced_motion="reduce")
    await context.add_cookies(
        [{"name": "sessionid", "value": session_key, "url": demo_server.url}]
    )
    page = await context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    yield page
    await context.close()
    assert [c for c in complaints if not any(own in c for own in OF_AXE)] == []


async def check(page: Page, ours: str) -> None:
    """Check the project's own elements with axe, and the width of the page."""
    axe = Path(available.need("packages")) / "axe-core" / "axe.min.js"
    await page.evaluate(axe.read_text())
    find_faults = FIND_FAULTS.replace("axe.run(document", f"axe.run('{ours}'")
    for size in SIZES:
        await page.set_viewport_size(size)
        for scheme in ("light", "dark"):
            await page.emulate_media(color_scheme=scheme)
            assert await page.evaluate(find_faults) == [], f"{page.url} {size} {scheme}"
        too_wide = "document.documentElement.scrollWidth - window.innerWidth"
        assert await page.evaluate(too_wide) <= 0, (page.url, size)


@pytest.mark.parametrize("model", LISTS)
async def test_lists_are_accessible(
    admin: Page, demo_server: Server, model: str
) -> None:
    await admin.goto(f"{demo_server.url}/admin/streaming/{model}/")
    await expect(admin.locator("#result_list tbody tr").first).to_be_visible()
    await check(admin, "#result_list")


@pytest.mark.parametrize(
    ("model", "part"), [("run", ".timeline li"), ("conversation", ".transcript-run")]
)
async def test_pages_are_accessible(
    admin: Page, demo_server: Server, model: str, part: str
) -> None:
    await admin.goto(f"{demo_server.url}/admin/streaming/{model}/")
    links = admin.locator("#result_list tbody th a")
    urls = [await link.get_attribute("href") for link in await links.all()]
    assert len(urls) >= len(PROMPTS)
    for url in urls[: len(PROMPTS)]:
        await admin.goto(f"{demo_server.url}{url}")
        await expect(admin.locator(part).first).to_be_visible()
        await check(admin, "#content")
