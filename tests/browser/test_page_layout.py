"""The page fits all screens and follows the end of a growing answer."""

import pytest
from playwright.async_api import Browser, BrowserContext, ViewportSize, expect

from streaming.testing.provider import Reply, StandInProvider
from streaming.testing.server import Server
from tests.browser.answers import words
from tests.browser.demo_page import SHADOW, DemoPage
from tests.providers.openai_streams import chunk, chunks, fragment

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PHONE = ViewportSize(width=390, height=844)
LAPTOP = ViewportSize(width=1280, height=800)
WIDE = ViewportSize(width=1920, height=1080)
#: A laptop's window at 400 % zoom.
ZOOMED = ViewportSize(width=320, height=256)
SCROLLBAR = 16
LONG_WORD = "incomprehensibilities" * 20
LONG_ANSWER = [f"Line {number}\n" for number in range(200)]
ENDLESS_ANSWER = [f"Line {number}\n" for number in range(10_000)]


@pytest.mark.parametrize(
    "size", [PHONE, LAPTOP, WIDE, ZOOMED], ids=["phone", "laptop", "wide", "zoomed"]
)
async def test_nothing_is_wider_than_the_window(
    scripted: DemoPage, model: StandInProvider, size: ViewportSize
) -> None:
    call = fragment(f'"{LONG_WORD}"', id="call-1", name=LONG_WORD[:60], index=0)
    model.reply(
        Reply(chunks(call, chunk("tool_calls"))),
        Reply(words(LONG_WORD)),
    )
    await scripted.page.set_viewport_size(size)
    await scripted.run(LONG_WORD)
    assert await widest(scripted) <= size["width"]


@pytest.mark.parametrize("size", [PHONE, LAPTOP, WIDE], ids=["phone", "laptop", "wide"])
async def test_the_answer_is_as_wide_as_the_prompt_below_it(
    scripted: DemoPage, model: StandInProvider, size: ViewportSize
) -> None:
    model.reply(Reply(words(*LONG_ANSWER)))
    await scripted.page.set_viewport_size(size)
    await scripted.run("Tell me all.")
    above = await scripted.answer.bounding_box()
    below = await scripted.page.locator("#composer").bounding_box()
    assert above and below
    assert abs(above["x"] - below["x"]) <= SCROLLBAR
    assert abs(above["width"] - below["width"]) <= SCROLLBAR


@pytest.mark.parametrize("size", [PHONE, WIDE], ids=["phone", "wide"])
async def test_the_end_of_the_answer_and_the_prompt_stay_in_view(
    scripted: DemoPage, model: StandInProvider, size: ViewportSize
) -> None:
    model.reply(Reply(words(*LONG_ANSWER)))
    await scripted.page.set_viewport_size(size)
    await scripted.run("Tell me all.")
    await expect(scripted.answer.locator(".summary")).to_be_in_viewport(ratio=1)
    await expect(scripted.prompt).to_be_in_viewport(ratio=1)


@pytest.mark.parametrize("size", [PHONE, WIDE], ids=["phone", "wide"])
async def test_scrolling_up_stops_following(
    scripted: DemoPage, model: StandInProvider, size: ViewportSize
) -> None:
    body = words(*ENDLESS_ANSWER)
    model.reply(Reply(body, chunk_size=len(body) // len(ENDLESS_ANSWER), delay=0.01))
    await scripted.page.set_viewport_size(size)
    await scripted.start("Tell me all.")
    await expect(scripted.text).to_contain_text("Line 90")
    await scripted.page.mouse.move(size["width"] / 2, size["height"] / 2)
    prompt = scripted.exchanges.locator(".prompt")
    is_down = f"{SHADOW}.getElementById('transcript').scrollTop + scrollY > 0"
    while await scripted.page.evaluate(is_down):
        await scripted.page.mouse.wheel(0, -10_000)
    await expect(prompt).to_be_in_viewport(ratio=1)
    lines = len((await scripted.text.inner_text()).splitlines())
    await expect(scripted.text).to_contain_text(f"Line {lines + 50}")
    await expect(prompt).to_be_in_viewport(ratio=1)
    await scripted.stop_button.click()
    await scripted.shows("stopped")


async def test_dark_and_light_follow_the_system(
    context: BrowserContext, scripted: DemoPage
) -> None:
    grounds = []
    for scheme in ("light", "dark"):
        await scripted.page.emulate_media(color_scheme=scheme)
        script = "getComputedStyle(document.body).backgroundColor"
        grounds.append(await scripted.page.evaluate(script))
    assert grounds == ["rgb(255, 255, 255)", "rgb(21, 24, 29)"]


async def test_the_theme_switch_overrides_the_system(scripted: DemoPage) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    await scripted.page.emulate_media(color_scheme="light")
    await scripted.page.get_by_role("radio", name="Dark").check()
    assert await scripted.page.evaluate(ground) == "rgb(21, 24, 29)"
    colours = "[...document.querySelectorAll('[name=theme-color]')].map(m => m.content)"
    assert await scripted.page.evaluate(colours) == ["#15181d", "#15181d"]
    await scripted.page.get_by_role("radio", name="As the system").check()
    assert await scripted.page.evaluate(ground) == "rgb(255, 255, 255)"
    assert await scripted.page.evaluate(colours) == ["#ffffff", "#15181d"]


async def test_panes_are_beside_the_chat_in_wide_windows(
    scripted: DemoPage,
) -> None:
    sidebar, inspector = (
        scripted.page.locator(f"#{name}") for name in ("sidebar", "inspector")
    )
    for width, shown in (
        (1920, (True, True)),
        (1280, (True, True)),
        (1000, (True, False)),
        (390, (False, False)),
        (1280, (True, True)),
    ):
        await scripted.page.set_viewport_size({"width": width, "height": 800})
        await expect(sidebar).to_be_visible(visible=shown[0])
        await expect(inspector).to_be_visible(visible=shown[1])
    for name, pane in (("sidebar", sidebar), ("inspector", inspector)):
        before = await scripted.page.locator("#chat").bounding_box()
        await scripted.page.locator(f"#{name}-toggle").click()
        await expect(pane).to_be_hidden()
        after = await scripted.page.locator("#chat").bounding_box()
        assert before and after and after["width"] > before["width"]


async def test_the_events_are_closed_until_the_user_opens_them(
    browser: Browser, demo_server: Server
) -> None:
    async with await browser.new_context(viewport=LAPTOP) as visitor:
        page = await visitor.new_page()
        await page.goto(demo_server.url)
        inspector = page.locator("#inspector")
        await expect(page.locator("#sidebar")).to_be_visible()
        await expect(inspector).to_be_hidden()
        await page.locator("#inspector-toggle").click()
        await expect(inspector).to_be_visible()
        await page.reload()
        await expect(inspector).to_be_visible()


async def test_a_drawer_closes_after_use(
    scripted: DemoPage, model: StandInProvider
) -> None:
    model.reply(Reply(words("Yes.")))
    await scripted.page.set_viewport_size(PHONE)
    await scripted.run("Is it so?")
    sidebar = scripted.page.locator("#sidebar")
    toggle = scripted.page.locator("#sidebar-toggle")
    await toggle.click()
    await scripted.conversations.first.get_by_role("link").click()
    await expect(sidebar).to_be_hidden()
    await expect(scripted.text).to_have_text("Yes.")
    await toggle.click()
    await scripted.page.locator("#scrim").click(position={"x": 380, "y": 400})
    await expect(sidebar).to_be_hidden()


async def test_nothing_moves_with_reduced_motion(
    scripted: DemoPage, model: StandInProvider
) -> None:
    await scripted.page.emulate_media(reduced_motion="reduce")
    model.reply(Reply(chunks(chunk(content="So far")), end="hang"))
    await scripted.start("Talk for ever.")
    await expect(scripted.text).to_have_text("So far")
    moving = await scripted.page.evaluate("document.getAnimations().length")
    assert moving == 0
    await scripted.stop_button.click()
    await scripted.shows("stopped")


async def widest(demo_page: DemoPage) -> int:
    """Return the right edge of the page, in px."""
    width: int = await demo_page.page.evaluate("document.documentElement.scrollWidth")
    return width
