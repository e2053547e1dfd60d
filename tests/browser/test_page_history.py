"""A stored conversation looks as it did when it was streamed."""

import pytest
from playwright.async_api import expect

from streaming.testing.provider import Reply, StandInProvider
from tests.browser.answers import words
from tests.browser.demo_page import DemoPage
from tests.browser.test_page_answers import HOSTILE
from tests.providers.openai_streams import chunk, chunks, fragment

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

#: Replace the shown conversation by the one that the API returns.
LOAD = """async (conversation) => {
  const { Transcript } = await import("/static/streaming/page/transcript.js");
  const [list, frame] = ["transcript", "conversation"].map((id) =>
    document.getElementById(id));
  new Transcript(list, frame).load(conversation);
}"""
#: The text of an answer without its times, some of which are not stored.
PARTS = r"""(answer) => [...answer.children]
  .map((part) => (part.querySelector(".summary") ?? part).textContent)
  .map((text) => text.replace(/( for| in)? ?([\d.]+ m?s|a moment)/g, ""))"""


async def load(page: DemoPage) -> None:
    await page.page.evaluate(LOAD, await page.kept())


async def test_a_stored_conversation_looks_as_streamed(
    scripted: DemoPage, model: StandInProvider
) -> None:
    thought = chunk(reasoning_content="Both.")
    first = fragment('{"expression":"6*7"}', id="call-1", name="calculator", index=0)
    second = fragment('{"expression":"1/0"}', id="call-2", name="calculator", index=1)
    model.reply(
        Reply(
            chunks(thought, chunk(content="I ask."), first, second, chunk("tool_calls"))
        ),
        Reply(words("It is **42**.\n\n- so\n- it is")),
        Reply(words("You are welcome.")),
    )
    await scripted.run("What is 6*7?")
    await scripted.run("Thank you.")
    await expect(scripted.exchanges).to_have_count(2)
    answers = scripted.page.locator(".answer")
    streamed = await answers.evaluate_all(f"(all) => all.map({PARTS})")
    await load(scripted)
    await expect(scripted.exchanges).to_have_count(2)
    await expect(answers.first.locator(".tools > .tool")).to_have_count(2)
    await expect(answers.last).to_contain_text("You are welcome.")
    assert await answers.evaluate_all(f"(all) => all.map({PARTS})") == streamed
    states = await scripted.page.locator(".tool").evaluate_all(
        "(tools) => tools.map((tool) => tool.dataset.state)"
    )
    assert states == ["completed", "error"]


async def test_the_ends_of_stored_answers_are_shown(
    scripted: DemoPage, model: StandInProvider
) -> None:
    model.reply(
        Reply(chunks(chunk(content="So far")), end="hang"),
        Reply(chunks(chunk(content="Half an ans")), end="cut"),
        Reply(words("Whole.")),
    )
    await scripted.start("Talk for ever.")
    await expect(scripted.text).to_have_text("So far")
    await scripted.stop_button.click()
    await scripted.shows("stopped")
    await scripted.start("Go on.")
    await scripted.shows("error")
    await scripted.run("And now?")
    answers = scripted.page.locator(".answer")
    streamed = await answers.evaluate_all(f"(all) => all.map({PARTS})")
    await scripted.page.reload()
    await expect(scripted.text).to_have_text("Whole.")
    await scripted.shows("ready")
    assert await answers.evaluate_all(f"(all) => all.map({PARTS})") == streamed
    await expect(answers.nth(0)).to_contain_text(
        "Stopped. The partial answer is saved."
    )
    await expect(answers.nth(1).locator(".failure")).to_contain_text("provider_")


async def test_stored_text_stays_text(
    scripted: DemoPage, model: StandInProvider
) -> None:
    model.reply(Reply(words(HOSTILE)))
    await scripted.run(HOSTILE)
    await load(scripted)
    await expect(scripted.exchanges.locator(".prompt p")).to_have_text(HOSTILE)
    await expect(scripted.text).to_have_text(HOSTILE)
    await expect(scripted.page.locator("#transcript :is(img, script)")).to_have_count(0)
