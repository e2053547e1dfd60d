"""Branches: edited questions and repeated answers, and the choice between them."""

import asyncio

import pytest
from playwright.async_api import Locator, ViewportSize, expect

from streaming.testing.provider import Reply, StandInProvider
from tests.browser.answers import held, words
from tests.browser.demo_page import DemoPage
from tests.browser.test_page_accessibility import PHONE, WIDE, check

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


def questions(page: DemoPage) -> Locator:
    """Return the texts of the shown questions."""
    return page.exchanges.locator(".prompt p")


def versions(page: DemoPage, name: str) -> Locator:
    """Return the choice that shows such a version."""
    return page.page.get_by_role("group", name=name)


async def edit(page: DemoPage, before: str, after: str) -> None:
    """Edit a question in its place."""
    await page.button(f"Edit “{before}”").press("Enter")
    field = page.page.get_by_role("textbox", name="Question")
    await expect(field).to_have_value(before)
    await field.fill(after)
    await field.press("Enter")


def asked_last(model: StandInProvider) -> list[str]:
    """Return the contents of the last request's messages, but the instructions."""
    return [each["content"] for each in model.requests[-1].json["messages"][1:]]


async def test_an_edited_question_begins_a_branch_and_both_can_be_shown(
    scripted: DemoPage, model: StandInProvider
) -> None:
    model.reply(*[Reply(words(f"{name}.")) for name in ("One", "Two", "Three", "Four")])
    await scripted.run("First?")
    await scripted.run("Second?")
    await edit(scripted, "First?", "Another?")
    await expect(scripted.text).to_have_text("Three.")
    await expect(questions(scripted)).to_have_text(["Another?"])
    await expect(versions(scripted, "Version 2 of 2")).to_be_visible()
    assert asked_last(model) == ["Another?"]
    await scripted.button("Previous version").click()
    await expect(questions(scripted)).to_have_text(["First?", "Second?"])
    await expect(scripted.text).to_have_text("Two.")
    # The focus stays where it was, so that the keyboard goes on.
    await expect(scripted.button("Previous version")).to_be_focused()
    await scripted.page.reload()
    await expect(questions(scripted)).to_have_text(["First?", "Second?"])
    await expect(versions(scripted, "Version 1 of 2")).to_be_visible()
    await edit(scripted, "Second?", "Third?")
    await expect(scripted.text).to_have_text("Four.")
    assert asked_last(model) == ["First?", "One.", "Third?"]
    await expect(versions(scripted, "Version 2 of 2")).to_be_visible()
    await (
        versions(scripted, "Version 1 of 2")
        .get_by_role("button", name="Next version")
        .press("Enter")
    )
    await expect(questions(scripted)).to_have_text(["Another?"])


async def test_regenerate_adds_a_version_of_the_answer(
    scripted: DemoPage, model: StandInProvider
) -> None:
    rest = asyncio.Event()
    model.reply(
        Reply(words("One.")), Reply(words("Two.")), held(rest, "Three, ", "four.")
    )
    await scripted.run("Hello?")
    await scripted.button("Regenerate").click()
    await expect(scripted.text).to_have_text("Two.")
    await expect(versions(scripted, "Version 2 of 2")).to_be_visible()
    assert asked_last(model) == ["Hello?"]
    await scripted.button("Regenerate").click()
    await expect(scripted.text).to_have_text("Three,")
    await expect(questions(scripted)).to_have_text(["Hello?"])
    await scripted.page.reload()
    await expect(questions(scripted)).to_have_text(["Hello?"])
    await expect(scripted.text).to_have_text("Three,")
    rest.set()
    await scripted.shows("completed")
    await scripted.page.reload()
    await expect(versions(scripted, "Version 3 of 3")).to_be_visible()
    await scripted.button("Previous version").click()
    await expect(scripted.text).to_have_text("Two.")
    await expect(versions(scripted, "Version 2 of 3")).to_be_visible()
    assert len(model.requests) == 3


async def test_escape_leaves_a_question_as_it_was(
    scripted: DemoPage, model: StandInProvider
) -> None:
    model.reply(Reply(words("One.")))
    await scripted.run("First?")
    button = scripted.button("Edit “First?”")
    await button.click()
    field = scripted.page.get_by_role("textbox", name="Question")
    await field.fill("Another?")
    await field.press("Escape")
    await expect(button).to_be_focused()
    await expect(questions(scripted)).to_have_text(["First?"])
    assert len(model.requests) == 1


@pytest.mark.parametrize("size", [PHONE, WIDE], ids=["phone", "wide"])
async def test_axe_finds_no_fault_in_branches(
    scripted: DemoPage, model: StandInProvider, size: ViewportSize
) -> None:
    model.reply(*[Reply(words(f"Answer {number}.")) for number in range(3)])
    await scripted.page.set_viewport_size(size)
    await scripted.run("First?")
    await edit(scripted, "First?", "Second?")
    await expect(scripted.text).to_have_text("Answer 1.")
    await scripted.shows("completed")
    await scripted.button("Regenerate").click()
    await expect(versions(scripted, "Version 2 of 2")).to_have_count(2)
    await scripted.exchanges.first.hover()
    await check(scripted)
    await scripted.button("Edit “Second?”").click()
    await check(scripted)
