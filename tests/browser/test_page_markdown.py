"""Answers are drawn as Markdown while they grow, and nothing in them is ever HTML."""

import asyncio

import pytest
from playwright.async_api import BrowserContext, Route, expect

from streaming.providers.demo.sample import MARKDOWN
from streaming.testing.provider import Reply, StandInProvider
from streaming.testing.server import Server
from tests.available import need
from tests.browser.answers import held, words
from tests.browser.demo_page import SHADOW, DemoPage, tab
from tests.browser.test_page_answers import HOSTILE
from tests.providers.openai_streams import chunk, chunks

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


@pytest.fixture(autouse=True)
def _libraries(request: pytest.FixtureRequest) -> None:
    if "without" not in request.node.name:
        need("libraries")


#: Run each frame after the work of the one before, with frame times of a fast machine.
QUICK_FRAMES = """() => {
  const { port1, port2 } = new MessageChannel();
  const tasks = [];
  let now = performance.now();
  performance.now = () => now;
  window.requestAnimationFrame = (task) => {
    tasks.push(task);
    port2.postMessage("");
  };
  port1.onmessage = () => {
    now += 16;
    for (const task of tasks.splice(0)) task(now);
  };
}"""
#: Draw a text at once, then in pieces of each size, one piece per frame.
DRAW = """async ([source, ...sizes]) => {
  const path = "/static/streaming/chat/streamed-markdown.js";
  const { StreamedMarkdown } = await import(path);
  const { codeBlock } = await import("/static/streaming/chat/code-block.js");
  const { english } = await import("/static/streaming/chat/language.js");
  const { loadMarkdown } = await import("/static/streaming/chat/markdown.js");
  await loadMarkdown();
  const block = codeBlock("if", "js", false, english);
  while (!block.querySelector(".code-keyword")) {
    await new Promise(requestAnimationFrame);
  }
  const drawn = [];
  for (const size of [source.length, ...sizes]) {
    const markdown = new StreamedMarkdown();
    for (let at = 0; at < source.length; at += size) {
      markdown.append(source.slice(at, at + size));
      await new Promise(requestAnimationFrame);
    }
    markdown.close();
    markdown.element.normalize();
    drawn.push(markdown.element.innerHTML);
  }
  return drawn;
}"""
#: Return the HTML of an unfinished text.
SHOW = """async (source) => {
  const path = "/static/streaming/chat/streamed-markdown.js";
  const { StreamedMarkdown } = await import(path);
  const { loadMarkdown } = await import("/static/streaming/chat/markdown.js");
  await loadMarkdown();
  const markdown = new StreamedMarkdown();
  markdown.append(source);
  await new Promise(requestAnimationFrame);
  return markdown.element.innerHTML;
}"""


async def draw(page: DemoPage, source: str, *sizes: int) -> str:
    await page.page.evaluate(QUICK_FRAMES)
    drawn = await page.page.evaluate(DRAW, [source, *sizes])
    assert len(set(drawn)) == 1
    html: str = drawn[0]
    return html


async def test_markdown_is_drawn_the_same_in_pieces_of_any_size(demo: DemoPage) -> None:
    html = await draw(demo, MARKDOWN, 1, 2, 3, 7, 50)
    for part in (
        '<h4 class="depth-1">How light becomes sugar</h4>',
        "<strong>light</strong>, water and carbon dioxide into <em>sugar</em>",
        '<li>load <code>ATP</code> and <code>NADPH</code><ul dir="auto"><li>which',
        "H<sub>2</sub>O",
        '<th class="right">ATP</th>',
        '<td class="right">+18</td>',
        '<blockquote dir="auto"><p>A leaf',
        "<del>no more</del>",
        "<hr>",
    ):
        assert part in html


async def test_the_demo_model_shows_every_element(demo: DemoPage) -> None:
    await demo.run("show markdown")
    await expect(demo.text.locator("table tbody tr")).to_have_count(2)
    await expect(demo.text.locator("li.task input:checked")).to_have_count(2)
    await expect(demo.text.locator("li li li")).to_have_text(
        "which are the cell's batteries"
    )
    await expect(demo.text.locator(".code .code-keyword").first).to_have_text("def")
    await expect(demo.text.locator(".code-head > span")).to_have_text(
        ["python", "json"]
    )


async def test_formulas_stay_as_they_were_written(demo: DemoPage) -> None:
    html = await draw(
        demo,
        r"So \(a_1 * b_1 * c\), $x_i^*$ for $5 or $10." "\n\n" r"\[ \frac{a}{b} \]",
    )
    assert r'<span class="math">\(a_1 * b_1 * c\)</span>' in html
    assert '<span class="math">$x_i^*$</span> for $5 or $10.' in html
    assert r">\[ \frac{a}{b} \]</div>" in html


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("It is **bol", "<p>It is <strong>bol</strong></p>"),
        ("Call `rate(", "<p>Call <code>rate(</code></p>"),
        ("See [the page](https://exam", "<p>See the page</p>"),
        ("So \\(a + b", '<p>So <span class="math">\\(a + b</span></p>'),
        ("one\n\n| a | b |", "<th>b</th>"),
        ("one\n\n| a | b |\n|--", "<th>b</th>"),
        ("```py\nx = 1", "<code"),
    ],
)
async def test_unfinished_text_looks_like_the_finished_one(
    demo: DemoPage, source: str, shown: str
) -> None:
    html = await demo.page.evaluate(SHOW, source)
    assert shown in html
    assert not {"**", "`", "](", "|--"} & {
        mark for mark in ("**", "`", "](", "|--") if mark in html
    }


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (HOSTILE, HOSTILE),
        (f"- {HOSTILE}\n\n> {HOSTILE}", f"{HOSTILE}{HOSTILE}"),
        ("<sub onclick='alert(1)'>x</sub>", "<sub onclick='alert(1)'>x</sub>"),
        ("[a](javascript:alert(1))", "[a](javascript:alert(1))"),
        ("[a](data:text/html,x)", "[a](data:text/html,x)"),
        ("[a](/admin/logout/)", "[a](/admin/logout/)"),
        (
            "<iframe src=//evil.example></iframe>",
            "<iframe src=//evil.example></iframe>",
        ),
        ("```<b>\n<i>\n```", "<b>Copy code<i>"),
    ],
)
async def test_nothing_hostile_becomes_more_than_text(
    demo: DemoPage, source: str, text: str
) -> None:
    html = await draw(demo, source, 3)
    script = """([html]) => {
      const body = new DOMParser().parseFromString(html, "text/html").body;
      const kinds = "img, script, iframe, a, sub, [onclick], [onerror]";
      return [body.textContent, body.querySelectorAll(kinds).length];
    }"""
    outside = await demo.page.context.browser.new_page()  # type: ignore[union-attr]
    shown, elements = await outside.evaluate(script, [html])
    await outside.close()
    assert (shown, elements) == (text, 0)


async def test_links_leave_the_page_and_pictures_are_not_loaded(demo: DemoPage) -> None:
    asked: list[str] = []
    demo.page.on("request", lambda request: asked.append(request.url))
    html = await draw(demo, "[a](https://a.example/) ![b](https://b.example/b.png)")
    safe = 'rel="noopener noreferrer nofollow" target="_blank"'
    assert (
        f'<a href="https://a.example/" {safe} title="https://a.example/">a</a>' in html
    )
    assert f'<a href="https://b.example/b.png" {safe}' in html
    assert not [url for url in asked if "example" in url]


PATHOLOGICAL = {
    "marks": "_a_" * 30_000,
    "quotes": ">" * 5_000 + "a",
    "lists": "\n".join(f"{' ' * depth}- a" for depth in range(300)),
    "brackets": "[a](" * 20_000,
    "fences": "```\n" * 5_000,
    "one paragraph": "word " * 20_000,
}


@pytest.mark.parametrize("kind", PATHOLOGICAL)
async def test_nothing_stalls_the_page_or_is_lost(demo: DemoPage, kind: str) -> None:
    source = PATHOLOGICAL[kind]
    html = await draw(demo, source)
    assert html.count("a") >= source.count("a")


async def test_finished_blocks_are_never_touched_again(demo: DemoPage) -> None:
    await demo.page.evaluate(QUICK_FRAMES)
    touched = await demo.page.evaluate(
        """async (source) => {
          const path = "/static/streaming/chat/streamed-markdown.js";
          const { StreamedMarkdown } = await import(path);
          const { loadMarkdown } = await import("/static/streaming/chat/markdown.js");
          await loadMarkdown();
          const markdown = new StreamedMarkdown();
          document.body.append(markdown.element);
          const indexes = [];
          new MutationObserver((records) => {
            const blocks = [...markdown.element.querySelectorAll(".text-page > *")];
            for (const { target } of records) {
              const at = blocks.findIndex((block) => block.contains(target));
              if (at >= 0) indexes.push(blocks.length - at);
            }
          }).observe(markdown.element, {
            attributes: true, characterData: true, childList: true, subtree: true,
          });
          for (const word of source.match(/\\s*\\S+/g)) {
            markdown.append(word);
            await new Promise(requestAnimationFrame);
          }
          return [Math.max(...indexes), indexes.length];
        }""",
        MARKDOWN,
    )
    deepest, number = touched
    assert number > 100
    assert deepest <= 3


#: The distances of the first and last character from the right edge of the text, in px.
FROM_THE_RIGHT = """(block) => {
  const { right } = block.getRootNode().querySelector(".text").getBoundingClientRect();
  const range = document.createRange();
  const node = document.createTreeWalker(block, NodeFilter.SHOW_TEXT).nextNode();
  return [0, node.length - 1].map((at) => {
    range.setStart(node, at);
    range.setEnd(node, at + 1);
    return right - range.getBoundingClientRect().right;
  });
}"""


async def test_each_paragraph_has_the_direction_of_its_language(
    scripted: DemoPage, model: StandInProvider
) -> None:
    need("libraries")
    model.reply(Reply(words("שלום לך.\n\n- אחת.\n\n> הוא.\n\nHello there.")))
    await scripted.run("שלום?")
    prompt = scripted.exchanges.locator(".prompt p")
    for block in (prompt, *(scripted.text.locator(name) for name in ("p", "li"))):
        first, last = await block.first.evaluate(FROM_THE_RIGHT)
        assert first < last
    padding = "(list) => getComputedStyle(list).paddingRight"
    assert await scripted.text.locator("ul").evaluate(padding) != "0px"
    bar = "(quote) => getComputedStyle(quote).borderRightWidth"
    assert await scripted.text.locator("blockquote").evaluate(bar) == "3px"
    first, last = await scripted.text.locator("p").last.evaluate(FROM_THE_RIGHT)
    assert first > last


async def test_a_selection_survives_new_text(
    scripted: DemoPage, model: StandInProvider
) -> None:
    rest = asyncio.Event()
    model.reply(held(rest, "First.\n\nSecond.\n\nThird ", "goes ", "on ", "and on."))
    await scripted.start("Go.")
    await expect(scripted.text).to_contain_text("Third")
    await scripted.page.evaluate(
        f"getSelection().selectAllChildren({SHADOW}.querySelector('.text p'))"
    )
    rest.set()
    await scripted.shows("completed")
    await expect(scripted.text).to_contain_text("and on.")
    assert await scripted.page.evaluate("String(getSelection())") == "First."


async def test_code_and_answers_can_be_copied(
    context: BrowserContext, scripted: DemoPage, model: StandInProvider
) -> None:
    await context.grant_permissions(["clipboard-read", "clipboard-write"])
    source = "Use **this**:\n\n```py\nx = 1\n\ny = 2\n```\n"
    model.reply(Reply(words(source)))
    await scripted.run("How?")
    await scripted.button("Copy code").click()
    await expect(scripted.text.get_by_text("Copied")).to_be_visible()
    assert await clipboard(scripted) == "x = 1\n\ny = 2"
    await scripted.answer.get_by_role("button", name="Copy", exact=True).click()
    bar = scripted.answer.locator(".exchange-bar")
    await expect(bar.get_by_text("Copied")).to_be_visible()
    assert await clipboard(scripted) == source


async def clipboard(page: DemoPage) -> str:
    text: str = await page.page.evaluate("navigator.clipboard.readText()")
    return text


async def test_without_the_libraries_plain_text_reads_well(
    context: BrowserContext, scripted_server: Server, model: StandInProvider
) -> None:
    async def without(route: Route) -> None:
        response = await route.fetch()
        page = await response.text()
        assert "libraries=" in page
        await route.fulfill(response=response, body=page.replace("libraries=", "x="))

    await context.route(f"{scripted_server.url}/", without)
    model.reply(Reply(chunks(chunk(content="**So**\n\n- a\n")) + words("  - b")))
    async with tab(context, scripted_server) as page:
        await page.run("Plain?")
        await expect(page.text).to_have_text(
            "**So**\n\n- a\n  - b", use_inner_text=True
        )
        await page.answer.get_by_role("button", name="Copy", exact=True).wait_for()
