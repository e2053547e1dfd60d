"""Answers are shown completely, in order of arrival, as text."""

import asyncio
import re

import pytest
from playwright.async_api import BrowserContext, expect

from streaming.testing.provider import Reply, StandInProvider
from streaming.testing.server import Server
from tests.browser.answers import held, words
from tests.browser.demo_page import DemoPage, tab
from tests.browser.wire import Wire
from tests.providers.demo_prompts import APPLES, EXPLAIN, INTEREST, PUZZLE
from tests.providers.openai_streams import chunk, chunks, fragment

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

HOSTILE = '<img src=x onerror="alert(1)"><script>alert(2)</script>'
SUM = '{"expression":"6*7"}'

#: Scrolling to the end must follow the writes that move it.
DO_IN_ONE_FRAME = """async () => {
  const path = "/static/streaming/chat/animation-frames.js";
  const { atFrameEnd, onNextFrame } = await import(path);
  const done = [];
  const follow = () => done.push("follow");
  const write = () => {
    done.push("write");
    atFrameEnd(follow);
  };
  atFrameEnd(follow);
  for (const task of [write, write]) onNextFrame(task);
  await new Promise(requestAnimationFrame);
  return done.join(", ");
}"""


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        (EXPLAIN, "recorded"),
        (APPLES, "35 apples"),
        (INTEREST, "1,584.05"),
        (PUZZLE, "Ann: green. Bob: blue. Cleo: red."),
    ],
)
async def test_each_example_prompt_gets_its_answer(
    demo: DemoPage, prompt: str, answer: str
) -> None:
    await demo.example(prompt).click()
    await expect(demo.prompt).to_have_value(prompt)
    await demo.prompt.press("Enter")
    await demo.shows("completed")
    await expect(demo.text.last).to_contain_text(answer)
    for state in await demo.tools.all():
        await expect(state).to_have_attribute("data-state", "completed")
    await expect(demo.answer.locator(".summary")).to_contain_text("tokens")


async def test_the_demo_model_has_a_notice(demo: DemoPage, scripted: DemoPage) -> None:
    await expect(demo.page.get_by_role("note")).to_contain_text("demo model")
    await expect(scripted.page.get_by_text("openai · scripted")).to_be_visible()
    await expect(scripted.page.get_by_role("note")).to_be_hidden()


async def test_text_appears_as_it_arrives(
    scripted: DemoPage, model: StandInProvider
) -> None:
    rest = asyncio.Event()
    model.reply(held(rest, "One, ", "two, ", "three."))
    await scripted.start("Count.")
    await expect(scripted.text).to_have_text("One,")
    await scripted.shows("streaming")
    rest.set()
    await expect(scripted.text).to_have_text("One, two, three.")
    await scripted.shows("completed")


async def test_thinking_tools_and_text_are_in_order_of_arrival(
    scripted: DemoPage, model: StandInProvider
) -> None:
    call = fragment(SUM, id="call-1", name="calculator", index=0)
    usage = {"prompt_tokens": 600, "completion_tokens": 17}
    last = {"choices": [], "usage": usage}
    looking = chunks(chunk(content="Let me see. "), call, chunk("tool_calls"), last)
    model.reply(
        Reply(chunks(chunk(reasoning_content="Six times seven.")) + looking),
        Reply(chunks(chunk(reasoning_content="So it is.")) + words("It is 42.")),
    )
    await scripted.run("What is 6 times 7?")
    kinds = "element => [...element.children].map(child => child.className)"
    parts = await scripted.answer.evaluate(kinds)
    first, second = ["thinking", "text", "tools"], ["thinking", "text", "exchange-bar"]
    assert parts == ["visually-hidden", *first, *second]
    await expect(scripted.tools).to_contain_text(["calculatorDone"])
    await expect(scripted.tools.locator("dd")).to_have_text([SUM, "42"])
    summary = scripted.answer.locator(".summary")
    await expect(summary).to_contain_text("2 model calls · 1 tool call")
    await expect(summary).to_contain_text("1,800 in, 51 out")


async def test_a_task_runs_once_per_frame_and_scrolling_last(
    scripted: DemoPage,
) -> None:
    assert await scripted.page.evaluate(DO_IN_ONE_FRAME) == "write, follow"


async def test_thinking_is_collapsed_until_it_is_opened(
    scripted: DemoPage, model: StandInProvider
) -> None:
    thought = chunks(chunk(reasoning_content="Deeply."))
    model.reply(Reply(thought + words("Yes.")))
    await scripted.run("Think.")
    thinking = scripted.answer.get_by_text("Deeply.")
    await expect(thinking).to_be_hidden()
    await scripted.answer.get_by_text("Thought for").click()
    await expect(thinking).to_be_visible()


async def test_running_parts_show_their_elapsed_time(
    context: BrowserContext, scripted_server: Server, model: StandInProvider
) -> None:
    rest = asyncio.Event()
    thought = chunks(chunk(reasoning_content="Deeply."))
    call = chunks(fragment(SUM, id="call-1", name="calculator", index=0))
    body = thought + call + chunks(chunk("tool_calls"))
    model.reply(Reply(body, cuts=[len(thought)], held=rest), Reply(words("42.")))
    async with (
        Wire(scripted_server.url, cuts=[2]) as wire,
        tab(context, scripted_server, wire.url) as page,
    ):
        await page.start("What is 6 times 7?")
        thinking = page.answer.locator(".thinking summary")
        await expect(thinking).to_have_text(re.compile(r"Thinking… [1-9]\d* s"))
        rest.set()
        await expect(thinking).to_have_text(re.compile(r"Thought for [\d.]+ s"))
        await expect(page.tools).to_contain_text(re.compile(r"Running… [1-9]\d* s"))
        wire.cut()
        await page.shows("completed")
        await expect(page.tools).to_contain_text(re.compile(r"Done in [\d.]+ m?s"))


async def test_prompts_and_answers_stay_text(
    scripted: DemoPage, model: StandInProvider
) -> None:
    call = fragment(HOSTILE, id="call-1", name=HOSTILE, index=0)
    thought = chunk(reasoning_content=HOSTILE)
    model.reply(
        Reply(chunks(thought, call, chunk("tool_calls"))), Reply(words(HOSTILE))
    )
    await scripted.run(HOSTILE)
    await expect(scripted.exchanges.locator(".prompt p")).to_have_text(HOSTILE)
    await expect(scripted.text).to_have_text(HOSTILE)
    await expect(scripted.tools.locator(".tool-name")).to_have_text(HOSTILE)
    await expect(scripted.tools).to_have_attribute("data-state", "error")
    await expect(scripted.events.last).to_contain_text("done")
    for event in await scripted.events.all():
        await event.get_by_role("button").click()
    await expect(scripted.page.locator("main :is(img, script)")).to_have_count(0)


async def test_a_failed_model_is_shown_and_the_partial_answer_kept(
    scripted: DemoPage, model: StandInProvider
) -> None:
    model.reply(Reply(chunks(chunk(content="Half an ans")), end="cut"))
    await scripted.start("Go on.")
    await scripted.shows("error")
    await expect(scripted.text).to_have_text("Half an ans")
    await expect(scripted.failure).to_contain_text("provider_")


async def test_only_start_and_end_are_announced(
    scripted: DemoPage, model: StandInProvider
) -> None:
    rest = asyncio.Event()
    model.reply(held(rest, *(f"{i} " for i in range(5))))
    await scripted.page.evaluate(
        """() => {
          window.announced = [];
          const { shadowRoot } = document.querySelector("agent-chat");
          const region = shadowRoot.querySelector("[role=status]");
          new MutationObserver(() => announced.push(region.textContent))
            .observe(region, { childList: true });
        }"""
    )
    await scripted.start("Count.")
    await expect(scripted.text).to_have_text("0")
    rest.set()
    await scripted.shows("completed")
    # An announcement is removed after a while.
    announced = await scripted.page.evaluate("announced.filter(Boolean)")
    assert announced == ["The agent is working.", "Completed. 0 1 2 3 4 "]
