"""The JavaScript client in a real browser, against servers that fail and restart."""

import asyncio
import uuid
from collections.abc import Sequence
from typing import Any

import pytest
from playwright.async_api import BrowserContext, Page, Route

from streaming.testing.provider import Reply, StandInProvider
from streaming.testing.server import Server
from tests.browser.answers import counted, held, numbers, words
from tests.browser.documented import documented_programs
from tests.browser.wire import Wire
from tests.providers.openai_streams import chunk, chunks

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

TIMEOUT_MS = 60_000
COUNT = 400
FIRST_PART = 50

LOAD = """async ([server, orgId]) => {
  const { AgentClient } = await import("/static/streaming/client/agent-client.js");
  window.client = new AgentClient({ baseUrl: `${server}/api/v1/agent`, orgId });
}"""

#: Collect the events and states of a stream on the page.
BEGIN = """([request, options]) => {
  Object.assign(window, { seen: [], statuses: [] });
  const onState = (status) => statuses.push(status);
  window.stream = client.stream(request, { ...options, onState });
  window.over = (async () => {
    for await (const event of stream) seen.push(event);
  })();
}"""


class Tab:
    """A page that uses the client."""

    def __init__(self, page: Page) -> None:
        self.page = page

    async def begin(self) -> None:
        await self.page.evaluate(BEGIN, [{"input": "Count."}, {}])

    async def call(self, expression: str) -> Any:  # noqa: ANN401
        return await self.page.evaluate(expression)

    async def until(self, condition: str) -> None:
        await self.page.wait_for_function(condition, timeout=TIMEOUT_MS)

    async def until_state(self, state: str) -> None:
        await self.until(f"stream.state === '{state}'")

    async def until_numbers(self, count: int) -> None:
        """Wait for this many numbers."""
        await self.until(f"seen.filter((e) => e.type === 'content').length >= {count}")

    async def end(self) -> list[dict[str, Any]]:
        """Return all events after the end of the stream."""
        async with asyncio.timeout(TIMEOUT_MS / 1000):
            await self.call("over")
        events: list[dict[str, Any]] = await self.call("seen")
        return events


async def open_tab(context: BrowserContext, origin: str, api: str = "") -> Tab:
    """Open a page of an origin, with a client of its API or another's."""
    page = await context.new_page()
    await page.goto(f"{origin}/health")
    await page.evaluate(LOAD, [api, str(uuid.uuid4())])
    return Tab(page)


def text_of(events: Sequence[dict[str, Any]]) -> str:
    return "".join(e["data"]["content"] for e in events if e["type"] == "content")


def numbers_of(events: Sequence[dict[str, Any]]) -> list[int]:
    return [int(e["id"].rpartition(":")[2]) for e in events if e["id"]]


def greetings(events: Sequence[dict[str, Any]]) -> list[int | None]:
    """Return the number after which each connection resumed."""
    return [
        e["data"]["metadata"].get("resumed_after")
        for e in events
        if e["type"] == "connected"
    ]


def assert_whole(events: Sequence[dict[str, Any]]) -> None:
    """Check that no event is lost or repeated over all connections."""
    assert numbers_of(events) == list(range(1, len(numbers_of(events)) + 1))
    assert text_of(events).strip() == counted(COUNT)
    assert [event["type"] for event in events[-2:]] == ["complete", "done"]


def counting(rest: asyncio.Event) -> Reply:
    """A count that pauses until `rest` is set."""
    return held(rest, *numbers(COUNT), begun=FIRST_PART)


async def test_a_stream_survives_a_kill_and_restart_of_the_server(
    context: BrowserContext, own_server: Server, model: StandInProvider
) -> None:
    model.reply(counting(asyncio.Event()), Reply(words(*numbers(COUNT))))
    tab = await open_tab(context, own_server.url)
    await tab.begin()
    await tab.until_numbers(FIRST_PART)
    own_server.kill()
    await tab.until_state("reconnecting")
    own_server.start()
    events = await tab.end()
    ids = numbers_of(events)
    assert ids == sorted(set(ids))
    [restarted] = [event for event in events if event["type"] == "restarted"]
    assert restarted["data"]["metadata"] == {"attempt": 2, "discard_after": 0}
    assert text_of(events).strip() == f"{counted(FIRST_PART)} {counted(COUNT)}"
    assert (await tab.call("stream.text")).strip() == counted(COUNT)
    assert [event["type"] for event in events[-2:]] == ["complete", "done"]
    kept = await tab.call("client.getRun(stream.runId)")
    assert kept["output"] == await tab.call("stream.text")


async def test_without_restarts_a_killed_run_is_interrupted(
    context: BrowserContext, own_server: Server, model: StandInProvider
) -> None:
    model.reply(counting(asyncio.Event()))
    tab = await open_tab(context, own_server.url)
    await tab.page.evaluate(BEGIN, [{"input": "Count.", "restarts": False}, {}])
    await tab.until_numbers(FIRST_PART)
    own_server.kill()
    await tab.until_state("reconnecting")
    own_server.start()
    events = await tab.end()
    assert text_of(events).strip() == counted(FIRST_PART)
    error, done = events[-2:]
    assert (error["type"], done["type"]) == ("error", "done")
    assert error["data"]["metadata"]["code"] == "interrupted"
    kept = await tab.call("client.getRun(stream.runId)")
    assert text_of(events).startswith(kept["output"])


async def test_a_stream_begins_while_the_server_is_unavailable(
    context: BrowserContext, own_server: Server, model: StandInProvider
) -> None:
    model.reply(Reply(words(*numbers(COUNT))))
    tab = await open_tab(context, own_server.url)
    own_server.kill()
    await tab.begin()
    await tab.until("statuses.at(-1).attempt > 1")
    assert await tab.call("statuses.at(-1).error.code") == "unreachable"
    own_server.start()
    assert_whole(await tab.end())
    kept = await tab.call("client.conversations.list()")
    assert len(kept["conversations"]) == 1


async def drop_response(route: Route) -> None:
    """Forward the request and drop its response."""
    await route.fetch()
    await route.abort("connectionreset")


async def test_a_request_whose_response_is_lost_starts_one_run(
    context: BrowserContext, scripted_server: Server, model: StandInProvider
) -> None:
    model.reply(Reply(words(*numbers(COUNT))))
    tab = await open_tab(context, scripted_server.url)
    await tab.page.route("**/stream", drop_response, times=1)
    await tab.begin()
    assert_whole(await tab.end())
    kept = await tab.call("client.conversations.list()")
    assert len(kept["conversations"]) == 1


async def test_a_stream_resumes_when_the_network_is_back(
    context: BrowserContext, scripted_server: Server, model: StandInProvider
) -> None:
    rest = asyncio.Event()
    model.reply(counting(rest))
    tab = await open_tab(context, scripted_server.url)
    await tab.begin()
    await tab.until_numbers(FIRST_PART)
    await context.set_offline(True)
    await tab.until_state("reconnecting")
    # Offline it would retry after 30 seconds: going online retries immediately.
    await tab.until("statuses.at(-1).retryAt > Date.now() + 10_000")
    await context.set_offline(False)
    await tab.until("stream.state !== 'reconnecting'")
    assert not await tab.call("statuses.some(({ attempt }) => attempt > 1)")
    rest.set()
    events = await tab.end()
    assert_whole(events)
    first, *others = greetings(events)
    assert first is None
    assert others == [FIRST_PART]


async def test_a_stream_survives_repeated_disconnects(
    context: BrowserContext, scripted_server: Server, model: StandInProvider
) -> None:
    model.reply(Reply(words(*numbers(COUNT))))
    cuts = (20, 21, 60, 200)
    async with Wire(scripted_server.url, cuts) as wire:
        tab = await open_tab(context, wire.url)
        await tab.begin()
        for cut in cuts:
            await tab.until_numbers(cut)
            wire.cut()
        events = await tab.end()
    assert_whole(events)
    assert greetings(events) == [None, *cuts]


async def test_a_stream_is_paused_and_resumed_while_its_run_continues(
    context: BrowserContext, scripted_server: Server, model: StandInProvider
) -> None:
    rest = asyncio.Event()
    model.reply(counting(rest))
    tab = await open_tab(context, scripted_server.url)
    await tab.begin()
    await tab.until_numbers(FIRST_PART)
    await tab.call("stream.pause()")
    rest.set()
    seen = await tab.call("seen.length")
    status = "client.getRun(stream.runId).then((run) => run.status)"
    async with asyncio.timeout(TIMEOUT_MS / 1000):
        while (await tab.call(status)) != "completed":  # noqa: ASYNC110  (it is paused)
            await asyncio.sleep(0.05)
    assert await tab.call("[stream.state, seen.length]") == ["paused", seen]
    await tab.call("stream.resume()")
    events = await tab.end()
    assert_whole(events)
    assert greetings(events) == [None, FIRST_PART]


async def test_a_cancel_reaches_the_model(
    context: BrowserContext, scripted_server: Server, model: StandInProvider
) -> None:
    model.reply(Reply(chunks(chunk(content="So far")), end="hang"))
    tab = await open_tab(context, scripted_server.url)
    await tab.begin()
    await tab.until_numbers(1)
    await tab.call("void stream.cancel()")
    async with asyncio.timeout(TIMEOUT_MS / 1000):
        await model.gone.wait()
    events = await tab.end()
    assert text_of(events) == "So far"
    complete, done = events[-2:]
    assert (complete["type"], done["type"]) == ("complete", "done")
    assert complete["data"]["metadata"]["stop_reason"] == "cancelled"


async def test_a_run_is_cancelled_before_its_id_is_known(
    context: BrowserContext, scripted_server: Server, model: StandInProvider
) -> None:
    model.reply(Reply(chunks(chunk(content="So far")), end="hang"))
    tab = await open_tab(context, scripted_server.url)
    await tab.begin()
    await tab.call("void stream.cancel()")
    complete, _ = (await tab.end())[-2:]
    assert complete["data"]["metadata"]["stop_reason"] == "cancelled"


async def test_leaving_the_loop_does_not_stop_the_run(
    context: BrowserContext, scripted_server: Server, model: StandInProvider
) -> None:
    rest = asyncio.Event()
    model.reply(counting(rest))
    tab = await open_tab(context, scripted_server.url)
    run_id = await tab.call(
        """(async () => {
          const stream = client.stream({ input: "Count.", background: true });
          for await (const { type } of stream) if (type === "content") break;
          return stream.runId;
        })()"""
    )
    follow = "(id) => { window.stream = client.follow(id); }"
    await tab.page.evaluate(follow, run_id)
    rest.set()
    text = await tab.call(
        """(async () => {
          let text = "";
          for await (const event of stream) {
            if (event.type === "content") text += event.data.content;
          }
          return text;
        })()"""
    )
    assert text.strip() == counted(COUNT)


async def test_a_page_of_another_origin_resumes(
    context: BrowserContext, scripted_server: Server, model: StandInProvider
) -> None:
    rest = asyncio.Event()
    model.reply(counting(rest))
    origin = scripted_server.url.replace("127.0.0.1", "localhost")
    tab = await open_tab(context, origin, scripted_server.url)
    await tab.begin()
    await tab.until_numbers(FIRST_PART)
    await tab.call("stream.pause()")
    await tab.call("stream.resume()")
    rest.set()
    events = await tab.end()
    assert_whole(events)
    assert greetings(events) == [None, FIRST_PART]


async def test_the_documented_program_works(
    context: BrowserContext, scripted_server: Server, model: StandInProvider
) -> None:
    model.reply(Reply(words("It is ", "36.")))
    page = (await open_tab(context, scripted_server.url)).page
    await page.evaluate(
        """() => Object.assign(window, {
          stopButton: document.createElement("button"),
          answer: document.createElement("p"),
        })"""
    )
    program, *_ = documented_programs()
    end = "window.ended = true;"
    await page.add_script_tag(content=program + end, type="module")
    await page.wait_for_function("window.ended", timeout=TIMEOUT_MS)
    assert await page.evaluate("answer.textContent") == "It is 36."
