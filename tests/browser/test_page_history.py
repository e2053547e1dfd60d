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
  const { Transcript } = await import("/static/streaming/chat/transcript.js");
  const { shadowRoot } = document.querySelector("agent-chat");
  const [list, frame] = ["transcript", "conversation"].map((id) =>
    shadowRoot.getElementById(id));
  new Transcript(list, frame, { details: true }).load(conversation);
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


async def converse(page: DemoPage, model: StandInProvider, count: int) -> None:
    """Ask numbered questions through the API."""
    model.reply(*[Reply(words(f"Answer {n}.")) for n in range(count)])
    ask = """async ([id, count]) => {
      const org_id = new URLSearchParams(location.search).get("org");
      for (let n = 0; n < count; n++) {
        const body = { input: `Question ${n}?`, conversation_id: id, org_id };
        const headers = { "Content-Type": "application/json" };
        const init = { method: "POST", headers, body: JSON.stringify(body) };
        await (await fetch("/api/v1/agent/run", init)).json();
      }
    }"""
    await page.page.evaluate(ask, ["long", count])


async def test_a_long_conversation_opens_at_its_end(
    scripted: DemoPage, model: StandInProvider
) -> None:
    await converse(scripted, model, 120)
    await scripted.page.goto(f"{scripted.page.url}&conversation=long")
    await expect(scripted.text).to_have_text("Answer 119.")
    await scripted.shows("ready")
    await expect(scripted.exchanges).to_have_count(50)
    await expect(scripted.exchanges.last).to_be_in_viewport()
    earlier = scripted.button("Show earlier messages")
    for shown in (100, 120):
        first = scripted.exchanges.first
        await first.scroll_into_view_if_needed()
        handle = await first.element_handle()
        await earlier.scroll_into_view_if_needed()
        before = await handle.bounding_box()
        await earlier.click()
        await expect(scripted.exchanges).to_have_count(shown)
        in_focus = scripted.page.locator("#transcript") if shown == 120 else earlier
        await expect(in_focus).to_be_focused()
        after = await handle.bounding_box()
        assert before
        assert after
        assert abs(after["y"] - before["y"]) < 100
    await expect(earlier).to_have_count(0)
    prompts = await scripted.exchanges.locator(".prompt p").all_inner_texts()
    assert prompts == [f"Question {n}?" for n in range(120)]
    await expect(scripted.exchanges.first).to_contain_text("Answer 0.")
    await expect(scripted.exchanges.first.locator(".summary")).to_have_count(1)
    await scripted.new_button.click()
    await expect(scripted.exchanges).to_have_count(0)


async def test_an_answer_longer_than_a_part_is_shown_whole(
    scripted: DemoPage, model: StandInProvider
) -> None:
    call = fragment('{"expression":"6*7"}', id="call", name="calculator", index=0)
    step = chunks(chunk(content="Step."), call, chunk("tool_calls"))
    model.reply(*[Reply(step) for _ in range(45)], Reply(words("It is 42.")))
    body = {"input": "Think long.", "conversation_id": "long", "max_iterations": 50}
    ask = """async (body) => {
      const org_id = new URLSearchParams(location.search).get("org");
      const headers = { "Content-Type": "application/json" };
      const sent = JSON.stringify({ ...body, org_id });
      const init = { method: "POST", headers, body: sent };
      await (await fetch("/api/v1/agent/run", init)).json();
    }"""
    await scripted.page.evaluate(ask, body)
    await converse(scripted, model, 20)  # its last part begins within the long answer
    await scripted.page.goto(f"{scripted.page.url}&conversation=long")
    await expect(scripted.exchanges).to_have_count(20)
    await scripted.button("Show earlier messages").click()
    await expect(scripted.exchanges).to_have_count(21)
    long = scripted.exchanges.first
    await expect(long.locator(".prompt p")).to_have_text("Think long.")
    await expect(long.locator(".tool")).to_have_count(45)
    await expect(long.get_by_text("It is 42.")).to_have_count(1)


async def test_a_stored_summary_is_marked_and_folded(
    scripted: DemoPage, model: StandInProvider
) -> None:
    too_long = b'{"error": {"message": "The prompt is too long."}}'
    model.reply(
        Reply(words("One.")),
        Reply(too_long, 400, "application/json"),
        Reply(words("They <b>met</b>.")),
        Reply(words("Two.")),
    )
    await scripted.run("Hello.")
    await scripted.run("And now?")
    await load(scripted)
    fold = scripted.page.locator(".answer").last.locator("details")
    label = "Summary of the 1 oldest exchange, written by the model"
    await expect(fold.locator("summary")).to_have_text(label)
    text = fold.locator(".thinking-text")
    await expect(text).not_to_be_visible()
    await fold.locator("summary").click()
    await expect(text).to_have_text("They <b>met</b>.")
    await expect(scripted.text).to_have_text("Two.")
