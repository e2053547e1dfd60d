"""The chat embedded in the pages of a host project."""

import asyncio
import gzip
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.test import RequestFactory
from playwright.async_api import (
    Browser,
    BrowserContext,
    Page,
    Response,
    Route,
    ViewportSize,
    expect,
)

from streaming.testing.provider import Reply, StandInProvider
from streaming.testing.server import Server
from tests import available
from tests.browser.answers import held, words
from tests.browser.host_page import host_page, html
from tests.browser.test_page_accessibility import FIND_FAULTS
from tests.providers.openai_streams import chunk, chunks, fragment

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PHONE = ViewportSize(width=390, height=844)
DESKTOP = ViewportSize(width=1360, height=840)
MAX_BYTES = 100_000
UNENDED = Reply(chunks(chunk(content="So far")), end="hang")

#: Resets that sites have, and worse.
HOSTILE = """<style>
  * { all: unset; font: italic 40px/3 fantasy; letter-spacing: 1em; color: red; }
  html { font-size: 62.5%; }
  html, body, main { display: block; }
  div, section, form, button, textarea, ol, ul, li, p, dialog, h2 { display: none; }
  button { all: unset; }
  agent-chat, agent-chat * { display: none; visibility: hidden; }
  agent-chat { visibility: visible; }
  :root { --accent: red; --ink: yellow; --ground: yellow; }
  :root { --agent-chat-accent: #2459b8; }
</style>"""


async def test_a_question_has_agent_context_and_csrf_token(
    context: BrowserContext, scripted_server: Server, model: StandInProvider
) -> None:
    model.reply(Reply(words("On its way.")))
    values = {"facts": {"page": "orders"}, "request": RequestFactory().get("/")}
    page = html('{% agent_chat "Agent" context=facts %}', values)
    token = {"name": "csrftoken", "value": "t0k3n", "url": scripted_server.url}
    await context.add_cookies([token])  # type: ignore[list-item]  # of playwright
    async with host_page(context, scripted_server, page) as host:
        async with host.page.expect_request("**/stream") as sent:
            await host.chat().ask("Where is my order?")
        request = await sent.value
        body = json.loads(request.post_data or "")
        assert body["agent"] == "Agent"
        assert body["context"] == {"page": "orders"}
        assert body["background"] is True
        assert (await request.all_headers())["x-csrftoken"] == "t0k3n"
        await expect(host.chat().text).to_have_text("On its way.")
        heading = host.chat().element.locator("#heading")
        await expect(heading).to_have_text("Agent")


async def test_the_css_of_the_host_page_changes_nothing(
    context: BrowserContext, scripted_server: Server, model: StandInProvider
) -> None:
    model.reply(Reply(words("It works.")))
    page = html(
        "{% agent_chat questions=questions %}", {"questions": ["Why?"]}, head=HOSTILE
    )
    async with host_page(context, scripted_server, page) as host:
        chat = host.chat()
        for part in (chat.prompt, chat.send, chat.element.locator("#examples button")):
            await expect(part).to_be_visible()
        await expect(chat.prompt).to_have_css("font-size", "16px")
        await expect(chat.prompt).to_have_css("font-style", "normal")
        await expect(chat.send).to_have_css("background-color", "rgb(36, 89, 184)")
        box = await chat.element.locator(".root").bounding_box()
        assert box
        assert box["height"] == 640 and box["width"] > 1000
        await chat.element.locator("#examples button").click()
        await chat.prompt.press("Enter")
        await expect(chat.text).to_have_text("It works.")
        await expect(chat.text).to_have_css("letter-spacing", "normal")


async def test_two_chats_of_a_page_are_independent(
    context: BrowserContext, scripted_server: Server, model: StandInProvider
) -> None:
    model.reply(UNENDED)
    page = html(
        '{% agent_chat id="one" %}{% agent_chat id="two" lang="de" theme="dark" %}'
    )
    assert page.count("<script") == 1
    async with host_page(context, scripted_server, page) as host:
        one, two = host.chat("#one"), host.chat("#two")
        await one.ask("Talk for ever.")
        await expect(one.text).to_have_text("So far")
        await expect(two.exchanges).to_have_count(0)
        await expect(two.stop).to_be_hidden()
        model.reply(Reply(words("Hallo.")))
        await two.ask("Hallo?")
        await expect(two.text).to_have_text("Hallo.")
        await expect(two.send).to_have_text("Senden")
        await expect(one.stop).to_be_visible()
        await one.stop.click()
        await expect(one.send).to_be_visible()
        grounds = [
            await chat.element.locator(".root").evaluate(
                "(root) => getComputedStyle(root).backgroundColor"
            )
            for chat in (one, two)
        ]
        assert grounds == ["rgb(255, 255, 255)", "rgb(21, 24, 29)"]
        await host.page.reload()
        await expect(host.chat("#one").text).to_have_text("So far")
        await expect(host.chat("#two").text).to_have_text("Hallo.")


POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'nonce-n0nce' 'strict-dynamic'",
        "connect-src 'self'",
        "base-uri 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)


async def test_a_strict_content_security_policy_forbids_nothing(
    context: BrowserContext, scripted_server: Server, model: StandInProvider
) -> None:
    available.need("libraries")
    model.reply(Reply(words("So:\n\n```py\nif x: pass\n```\n")))
    body = '{% agent_chat layout="floating" lang="de" %}'
    page = html(body, {"csp_nonce": "n0nce"})
    async with host_page(context, scripted_server, page, policy=POLICY) as host:
        chat = host.chat()
        await chat.launcher.click()
        await chat.ask("How?")
        await expect(chat.text.locator(".code-keyword").first).to_have_text("if")
        await expect(chat.send).to_have_text("Senden")


async def test_a_floating_chat_is_beside_the_page_and_opens_again(
    context: BrowserContext, scripted_server: Server, model: StandInProvider
) -> None:
    model.reply(Reply(words("Hello.")))
    body = '<button id="buy">Buy</button>{% agent_chat layout="floating" %}'
    async with host_page(context, scripted_server, html(body)) as host:
        chat = host.chat()
        await expect(chat.panel).to_be_hidden()
        await chat.launcher.press("Enter")
        await expect(chat.prompt).to_be_focused()
        await expect(chat.launcher).to_have_attribute("aria-expanded", "true")
        await chat.ask("Hi.")
        await expect(chat.text).to_have_text("Hello.")
        await host.page.locator("#buy").click()  # the page is not covered
        await host.page.reload()
        await expect(chat.text).to_have_text("Hello.")
        await host.page.keyboard.press("Escape")
        await expect(chat.panel).to_be_hidden()
        await expect(chat.launcher).to_be_focused()
        await host.page.reload()
        await expect(chat.launcher).to_be_visible()
        await expect(chat.panel).to_be_hidden()


async def test_on_a_phone_a_floating_chat_covers_the_page(
    context: BrowserContext, scripted_server: Server, model: StandInProvider
) -> None:
    model.reply(Reply(words("incomprehensibilities" * 20)))
    body = '<button id="buy">Buy</button>{% agent_chat layout="floating" %}'
    async with host_page(context, scripted_server, html(body)) as host:
        await host.page.set_viewport_size(PHONE)
        await host.page.emulate_media(reduced_motion="reduce")
        chat = host.chat()
        await chat.launcher.click()
        box = await chat.panel.bounding_box()
        assert box == {"x": 0, "y": 0, **PHONE}
        for _ in range(20):  # the page behind it is never reached
            await host.page.keyboard.press("Tab")
            assert await host.page.evaluate("document.activeElement.id") != "buy"
        await chat.ask("Hi.")
        await expect(chat.text).to_contain_text("incomprehensibilities")
        width = await host.page.evaluate("document.documentElement.scrollWidth")
        assert width <= PHONE["width"]
        await host.page.set_viewport_size(DESKTOP)
        box = await chat.panel.bounding_box()
        assert box and box["width"] == 400
        await host.page.locator("#buy").click()
        await chat.element.locator("#close").click()
        await expect(chat.panel).to_be_hidden()


async def test_the_list_of_conversations_is_a_drawer_in_the_chat(
    context: BrowserContext, scripted_server: Server, model: StandInProvider
) -> None:
    model.reply(Reply(words("One.")), Reply(words("Two.")))
    body = '{% agent_chat layout="floating" %}'
    async with host_page(context, scripted_server, html(body)) as host:
        chat = host.chat()
        await chat.launcher.click()
        await chat.ask("First?")
        await expect(chat.text).to_have_text("One.")
        await chat.element.locator("#renew").click()
        await expect(chat.exchanges).to_have_count(0)
        await chat.ask("Second?")
        await expect(chat.text).to_have_text("Two.")
        await chat.element.locator("#sidebar-toggle").click()
        await chat.element.get_by_role("link", name="First?").click()
        await expect(chat.text).to_have_text("One.")
        await chat.element.locator("#sidebar-toggle").click()
        await host.page.keyboard.press("Escape")
        await expect(chat.element.locator("#sidebar")).to_be_hidden()
        await expect(chat.panel).to_be_visible()  # only the drawer was closed
        assert urlsplit(host.page.url).query == ""


@pytest.mark.parametrize(
    ("lang", "direction", "send", "placeholder"),
    [
        ("de-AT", "ltr", "Senden", "Stellen Sie eine Frage"),
        ("ar", "rtl", "إرسال", "اكتب سؤالك"),
        ("xx", "ltr", "Send", "Ask a question"),
        ("no such language", "ltr", "Send", "Ask a question"),
    ],
)
async def test_the_texts_have_the_language_of_the_page(
    context: BrowserContext,
    scripted_server: Server,
    lang: str,
    direction: str,
    send: str,
    placeholder: str,
) -> None:
    page = html("{% agent_chat %}", lang=lang)
    async with host_page(context, scripted_server, page) as host:
        chat = host.chat()
        await expect(chat.send).to_have_text(send)
        await expect(chat.prompt).to_have_attribute("placeholder", placeholder)
        await expect(chat.element.locator(".root")).to_have_css("direction", direction)
        prompt, button = (
            await chat.prompt.bounding_box(),
            await chat.send.bounding_box(),
        )
        assert prompt and button
        middle = prompt["x"] + prompt["width"] / 2
        assert (button["x"] > middle) is (direction == "ltr")


async def test_texts_of_the_host_page_replace_those_of_the_chat(
    context: BrowserContext, scripted_server: Server
) -> None:
    texts = {"send": "Envoyer", "placeholder": "Posez une question"}
    page = html("{% agent_chat texts=texts lang='fr' %}", {"texts": texts})
    async with host_page(context, scripted_server, page) as host:
        await expect(host.chat().send).to_have_text("Envoyer")
        await expect(host.chat().element.locator("#stop")).to_have_text("Stop")


def refusal(status: int, code: str) -> dict[str, Any]:
    """Return an error of the API."""
    error = {"error": "A sentence of the server.", "code": code}
    return {"status": status, "json": error}


@pytest.mark.parametrize(
    ("answer", "sentence", "ways"),
    [
        (
            refusal(401, "unauthenticated"),
            "You are not signed in",
            ["Sign in", "Try again"],
        ),
        (refusal(403, "forbidden"), "not allowed", ["Reload the page", "Try again"]),
        (
            {**refusal(429, "budget_exhausted"), "headers": {"Retry-After": "7200"}},
            "used up. Try again in 2 h.",
            ["Try again"],
        ),
        (refusal(409, "conversation_busy"), "Another answer", ["Join the active run"]),
        (refusal(400, "invalid_request"), "A sentence of the server.", ["Try again"]),
        ({"status": 500, "body": "<html>"}, "cannot answer", ["Try again"]),
    ],
    ids=["401", "403", "429", "409", "400", "500"],
)
async def test_an_error_is_a_sentence_with_a_way_to_go_on(
    context: BrowserContext,
    scripted_server: Server,
    model: StandInProvider,
    answer: dict[str, Any],
    sentence: str,
    ways: Sequence[str],
) -> None:
    model.reply(Reply(words("Here you are.")))
    page = html('{% agent_chat sign_in="/login/" %}')
    async with host_page(context, scripted_server, page) as host:

        async def refuse(route: Route) -> None:
            await route.fulfill(**answer)

        await host.page.route("**/stream", refuse)
        chat = host.chat()
        await chat.ask("May I?")
        await expect(chat.failure).to_contain_text(sentence)
        await expect(chat.failure).not_to_contain_text("_")
        await expect(chat.prompt).to_have_value("May I?")
        assert await chat.element.locator(".proposals button").all_inner_texts() == ways
        [told] = await host.told("error")
        assert told["status"] == answer["status"]
        await host.page.unroute("**/stream")
        if "Try again" in ways:
            await chat.element.get_by_role("button", name="Try again").click()
            await expect(chat.text).to_have_text("Here you are.")
            await expect(chat.exchanges).to_have_count(1)
            await expect(chat.prompt).to_have_value("")


async def test_a_question_asked_offline_is_sent_later(
    context: BrowserContext, scripted_server: Server, model: StandInProvider
) -> None:
    model.reply(Reply(words("Here you are.")))
    async with host_page(context, scripted_server, html("{% agent_chat %}")) as host:
        await context.set_offline(True)
        await host.chat().ask("Anything new?")
        await expect(host.chat().status).to_contain_text("You are offline")
        await context.set_offline(False)
        await expect(host.chat().text).to_have_text("Here you are.")


async def test_a_conversation_that_cannot_be_read_can_be_tried_again(
    context: BrowserContext, scripted_server: Server, model: StandInProvider
) -> None:
    model.reply(Reply(words("Hello.")))
    async with host_page(context, scripted_server, html("{% agent_chat %}")) as host:
        chat = host.chat()
        await chat.ask("Hi.")
        await expect(chat.text).to_have_text("Hello.")

        async def refuse(route: Route) -> None:
            await route.fulfill(**refusal(503, "database_unavailable"))

        await host.page.route("**/conversations/*", refuse)
        await host.page.reload()
        await expect(chat.failure).to_contain_text("cannot answer at the moment")
        await host.page.unroute("**/conversations/*")
        await chat.element.get_by_role("button", name="Try again").click()
        await expect(chat.text).to_have_text("Hello.")


async def test_the_host_page_asks_stops_and_is_told(
    context: BrowserContext, scripted_server: Server, model: StandInProvider
) -> None:
    model.reply(Reply(words("It is ", "36.")), UNENDED)
    body = '{% agent_chat id="support" layout="floating" %}'
    async with host_page(context, scripted_server, html(body)) as host:
        outcome = await host.page.evaluate("support.ask('What is 15% of 240?')")
        assert outcome["text"] == "It is 36."
        assert outcome["stopReason"] == "end_turn"
        assert outcome["conversationId"] == await host.page.evaluate(
            "support.conversationId"
        )
        assert await host.page.evaluate("support.open")
        names = [event["event"]["type"] for event in await host.told("event")]
        assert names == ["connected", "content", "content", "complete", "done"]
        assert await host.told("complete") == [outcome]

        await host.page.evaluate("void (window.second = support.ask('And on.'))")
        await expect(host.chat().text).to_have_text("So far")
        assert await host.page.evaluate("support.ask('Me too.')") is None
        await host.page.evaluate("support.stop()")
        second = await host.page.evaluate("second")
        assert (second["text"], second["stopReason"]) == ("So far", "cancelled")
        await host.page.evaluate("support.openConversation()")
        await expect(host.chat().exchanges).to_have_count(0)
        await host.page.evaluate("support.hide()")
        await expect(host.chat().panel).to_be_hidden()
        assert len(await host.told("open")) == 1
        async with asyncio.timeout(30):
            while len(await host.told("close")) != 1:  # told after it is hidden
                pass


async def test_the_element_works_in_plain_html_and_in_a_program(
    context: BrowserContext, scripted_server: Server, model: StandInProvider
) -> None:
    model.reply(Reply(words("Hello.")))
    script = (
        '<script type="module" src="/static/streaming/chat/agent-chat.js"></script>'
    )
    async with host_page(context, scripted_server, html(script)) as host:
        async with host.page.expect_request("**/stream") as sent:
            await host.page.evaluate(
                """async () => {
                  const chat = document.createElement("agent-chat");
                  chat.context = { cart: "3 articles" };
                  chat.request = { max_iterations: 2 };
                  chat.headers = async () => ({ "X-Shop": "acme" });
                  document.querySelector("main").append(chat);
                  await customElements.whenDefined("agent-chat");
                  void chat.ask("Hi.");
                }"""
            )
        request = await sent.value
        body = json.loads(request.post_data or "")
        assert body["context"] == {"cart": "3 articles"}
        assert body["max_iterations"] == 2
        assert (await request.all_headers())["x-shop"] == "acme"
        await expect(host.chat().text).to_have_text("Hello.")


async def test_an_element_that_is_removed_closes_its_stream_and_can_return(
    context: BrowserContext, scripted_server: Server, model: StandInProvider
) -> None:
    rest = asyncio.Event()
    model.reply(held(rest, "One, ", "two."))
    body = '{% agent_chat id="support" %}'
    async with host_page(context, scripted_server, html(body)) as host:
        await host.chat().ask("Count.")
        await expect(host.chat().text).to_have_text("One,")
        async with host.page.expect_event("requestfailed") as closed:
            await host.page.evaluate("(window.chat = support).remove()")
        assert urlsplit((await closed.value).url).path.endswith("/stream")
        rest.set()
        await host.page.evaluate("document.querySelector('main').append(chat)")
        await expect(host.chat().text).to_have_text("One, two.")
        assert len(model.requests) == 1


async def test_the_host_page_keeps_its_place_while_an_answer_grows(
    context: BrowserContext, scripted_server: Server, model: StandInProvider
) -> None:
    model.reply(Reply(words(*[f"Line {number}\n\n" for number in range(100)])))
    filler = "<p>Text.</p>" * 100
    page = html(f"{filler}{{% agent_chat %}}{filler}")
    async with host_page(context, scripted_server, page) as host:
        chat = host.chat()
        await chat.prompt.scroll_into_view_if_needed()
        before = await host.page.evaluate("scrollY")
        await chat.ask("Tell me all.")
        await expect(chat.text).to_contain_text("Line 99")
        await expect(chat.text.get_by_text("Line 99")).to_be_in_viewport()
        assert await host.page.evaluate("scrollY") == before


async def test_shortcuts_of_the_host_page_do_not_hear_the_field(
    context: BrowserContext, scripted_server: Server
) -> None:
    async with host_page(context, scripted_server, html("{% agent_chat %}")) as host:
        script = "window.heard = []; void (onkeydown = ({ key }) => heard.push(key))"
        await host.page.evaluate(script)
        await host.chat().prompt.press_sequentially("k?")
        await expect(host.chat().prompt).to_have_value("k?")
        await host.chat().send.press("k")
        assert await host.page.evaluate("heard") == ["k"]


async def test_the_theme_and_the_css_properties_are_applied_at_once(
    context: BrowserContext, scripted_server: Server
) -> None:
    style = "<style>agent-chat { --agent-chat-accent: rgb(1, 2, 3); }</style>"
    page = html('{% agent_chat id="support" %}', head=style)
    async with host_page(context, scripted_server, page) as host:
        root, send = host.chat().element.locator(".root"), host.chat().send
        await expect(send).to_have_css("background-color", "rgb(1, 2, 3)")
        await expect(root).to_have_css("background-color", "rgb(255, 255, 255)")
        await host.page.emulate_media(color_scheme="dark")
        await expect(root).to_have_css("background-color", "rgb(21, 24, 29)")
        await host.page.evaluate("support.setAttribute('theme', 'light')")
        await expect(root).to_have_css("background-color", "rgb(255, 255, 255)")


async def test_the_whole_chat_weighs_less_than_its_budget_in_one_round(
    context: BrowserContext, scripted_server: Server, model: StandInProvider
) -> None:
    model.reply(Reply(words("So **it** is.")))
    page = html("{% agent_chat questions=questions %}", {"questions": ["Why?"]})
    answered: list[Response] = []
    context.on("response", lambda response: answered.append(response))
    async with host_page(context, scripted_server, page) as host:
        await host.chat().ask("Is it so?")
        await expect(host.chat().text).to_have_text(re.compile("So .*it.* is."))
        loaded = [each for each in answered if "/static/" in each.url]
        bodies = [await each.body() for each in loaded]
    assert len(loaded) > 30
    assert {each.status for each in loaded} == {200}
    weight = sum(len(gzip.compress(body)) for body in (page.encode(), *bodies))
    print(f"{weight:,} bytes in {len(loaded)} files")
    assert weight < MAX_BYTES
    named = set(re.findall(r'(?:href|src)="(/static/[^"]+)"', page))
    assert {urlsplit(each.url).path for each in loaded} == named


async def check(page: Page) -> None:
    """Check that axe finds no fault in a page, light and dark."""
    axe = Path(available.need("packages")) / "axe-core" / "axe.min.js"
    await page.evaluate(axe.read_text())
    for scheme in ("light", "dark"):
        await page.evaluate(
            "(scheme) => document.querySelector('agent-chat')"
            ".setAttribute('theme', scheme)",
            scheme,
        )
        find = FIND_FAULTS.replace("axe.run(document", "axe.run('agent-chat'")
        assert await page.evaluate(find) == [], scheme


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
@pytest.mark.parametrize("layout", ["inline", "floating", "page"])
async def test_axe_finds_no_fault_in_any_layout(
    browser: Browser,
    scripted_server: Server,
    model: StandInProvider,
    layout: str,
    size: ViewportSize,
) -> None:
    call = fragment('{"expression":"6*7"}', id="call-1", name="calculator", index=0)
    model.reply(Reply(chunks(call, chunk("tool_calls"))), Reply(words("It is **42**.")))
    values = {"layout": layout, "questions": ["Why?", {"title": "A", "prompt": "B"}]}
    page = html("{% agent_chat layout=layout questions=questions %}", values)
    if layout == "page":
        page = re.sub("</?main>|<h1>.*?</h1>", "", page)
    async with (
        await browser.new_context(viewport=size, reduced_motion="reduce") as context,
        host_page(context, scripted_server, page) as host,
    ):
        chat = host.chat()
        if layout == "floating":
            await chat.launcher.click()
        await expect(chat.prompt).to_be_visible()
        await check(host.page)
        await chat.ask("What is 6 * 7?")
        await expect(chat.text).to_have_text("It is 42.")
        await expect(chat.send).to_be_visible()
        await check(host.page)
        if layout != "page" or size is PHONE:
            await chat.element.locator("#sidebar-toggle").click()
        await expect(chat.element.locator("#sidebar")).to_be_visible()
        await check(host.page)
