"""The JavaScript client in a real browser, against real servers that come and go."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext, Page, Route

from tests.browser.server import Server, serve
from tests.browser.wire import Wire
from tests.providers.openai_streams import chunk, chunks
from tests.upstream import Reply, Upstream

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PATIENCE_MS = 60_000
COUNT = 400

LOAD = """async (server) => {
  const { AgentClient } = await import("/static/streaming/agent-client.js");
  window.client = new AgentClient({ baseUrl: `${server}/api/v1/agent` });
}"""

#: What a page does with a stream; the test looks at what it gathers.
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

    async def begin(self, prompt: str, **options: object) -> None:
        await self.page.evaluate(BEGIN, [{"input": prompt}, options])

    async def call(self, expression: str) -> Any:  # noqa: ANN401
        return await self.page.evaluate(expression)

    async def until(self, condition: str) -> None:
        await self.page.wait_for_function(condition, timeout=PATIENCE_MS)

    async def until_state(self, state: str) -> None:
        await self.until(f"stream.state === '{state}'")

    async def until_numbers(self, count: int) -> None:
        """Wait for some more of a count."""
        await self.until(f"seen.filter((e) => e.type === 'content').length > {count}")

    async def end(self) -> list[dict[str, Any]]:
        """All events, once the stream has ended."""
        async with asyncio.timeout(PATIENCE_MS / 1000):
            await self.call("over")
        events: list[dict[str, Any]] = await self.call("seen")
        return events


async def open_tab(context: BrowserContext, origin: str, api: str = "") -> Tab:
    """A page of an origin, with a client of its API or of another's."""
    page = await context.new_page()
    await page.goto(f"{origin}/health")
    await page.evaluate(LOAD, api)
    return Tab(page)


def text_of(events: Sequence[dict[str, Any]]) -> str:
    return "".join(e["data"]["content"] for e in events if e["type"] == "content")


def numbers_of(events: Sequence[dict[str, Any]]) -> list[int]:
    return [int(e["id"].rpartition(":")[2]) for e in events if e["id"]]


def greetings(events: Sequence[dict[str, Any]]) -> list[int | None]:
    """After which number each connection went on."""
    return [
        e["data"]["metadata"].get("resumed_after")
        for e in events
        if e["type"] == "connected"
    ]


def counted(last: int) -> str:
    return " ".join(map(str, range(1, last + 1)))


def assert_whole(events: Sequence[dict[str, Any]], last: int = COUNT) -> None:
    """Nothing lost and nothing twice, over all connections."""
    assert numbers_of(events) == list(range(1, len(numbers_of(events)) + 1))
    assert text_of(events).strip() == counted(last)
    assert [event["type"] for event in events[-2:]] == ["complete", "done"]


@pytest_asyncio.fixture(loop_scope="session")
async def counting(tmp_path: Path) -> AsyncIterator[Server]:
    """A server that counts quickly, for a test to do it harm."""
    environment = {"DEMO_DELAY_MS": "5", "RUN_LEASE_SECONDS": "1", "CORS_ORIGINS": "*"}
    with serve(tmp_path, LLM_PROVIDER="demo", **environment) as server:
        yield server


async def test_a_server_is_killed_in_mid_stream_and_started_again(
    context: BrowserContext, counting: Server
) -> None:
    tab = await open_tab(context, counting.url)
    await tab.begin(f"count to {COUNT}")
    await tab.until_numbers(100)
    counting.kill()
    await tab.until_state("reconnecting")
    counting.start()
    events = await tab.end()
    numbers = numbers_of(events)
    assert numbers == sorted(set(numbers))
    # What came before is there, and what else was kept; nothing between is missing.
    text = text_of(events)
    assert counted(COUNT).startswith(text.strip())
    assert len(text.split()) > 100
    error, done = events[-2:]
    assert (error["type"], done["type"]) == ("error", "done")
    assert error["data"]["metadata"]["code"] == "interrupted"
    kept = await tab.call("client.getRun(stream.runId)")
    assert text.startswith(kept["output"])


async def test_a_stream_begins_while_the_server_is_away(
    context: BrowserContext, counting: Server
) -> None:
    tab = await open_tab(context, counting.url)
    counting.kill()
    await tab.begin("count to 30")
    await tab.until("statuses.at(-1).attempt > 1")
    assert await tab.call("statuses.at(-1).error.code") == "unreachable"
    counting.start()
    assert_whole(await tab.end(), 30)
    kept = await tab.call("client.conversations.list()")
    assert len(kept["conversations"]) == 1


async def lose_the_answer(route: Route) -> None:
    """The request arrives, and its answer is lost on the way."""
    await route.fetch()
    await route.abort("connectionreset")


async def test_a_request_whose_answer_is_lost_starts_one_run(
    context: BrowserContext, counting: Server
) -> None:
    tab = await open_tab(context, counting.url)
    await tab.page.route("**/stream", lose_the_answer, times=1)
    await tab.begin("count to 30")
    assert_whole(await tab.end(), 30)
    kept = await tab.call("client.conversations.list()")
    assert len(kept["conversations"]) == 1


async def test_the_network_goes_and_comes_back(
    context: BrowserContext, counting: Server
) -> None:
    tab = await open_tab(context, counting.url)
    await tab.begin(f"count to {COUNT}")
    await tab.until_numbers(50)
    await context.set_offline(True)
    await tab.until_state("reconnecting")
    # Offline it would look again only after half a minute: it is called back at once.
    await tab.until("statuses.at(-1).retryAt > Date.now() + 10_000")
    await context.set_offline(False)
    await tab.until("stream.state !== 'reconnecting'")
    assert not await tab.call("statuses.some(({ attempt }) => attempt > 1)")
    events = await tab.end()
    assert_whole(events)
    first, *others = greetings(events)
    assert first is None
    assert len(others) >= 1
    assert all(after and after >= 50 for after in others)


async def test_the_connection_breaks_again_and_again(
    context: BrowserContext, counting: Server
) -> None:
    async with Wire(counting.url) as wire:
        tab = await open_tab(context, wire.url)
        await tab.begin("count to 2000")
        for _ in range(4):
            await tab.until(f"seen.length > {10 + await tab.call('seen.length')}")
            wire.cut()
            await tab.until("['reconnecting', 'ended'].includes(stream.state)")
        events = await tab.end()
    assert_whole(events, 2000)
    assert len(greetings(events)) > 2


async def test_a_stream_is_paused_and_resumed_while_its_run_goes_on(
    context: BrowserContext, counting: Server
) -> None:
    tab = await open_tab(context, counting.url)
    await tab.begin(f"count to {COUNT}")
    await tab.until_numbers(50)
    await tab.call("stream.pause()")
    seen = await tab.call("seen.length")
    run_ended = "client.getRun(stream.runId).then((run) => run.status === 'completed')"
    await tab.until(run_ended)
    assert await tab.call("[stream.state, seen.length]") == ["paused", seen]
    await tab.call("stream.resume()")
    events = await tab.end()
    assert_whole(events)
    assert len(greetings(events)) == 2


async def test_a_cancel_reaches_the_model(
    context: BrowserContext, scripted_server: Server, model: Upstream
) -> None:
    model.reply(Reply(chunks(chunk(content="So far")), end="hang"))
    tab = await open_tab(context, scripted_server.url)
    await tab.begin("Talk for ever.")
    await tab.until_numbers(0)
    await tab.call("void stream.cancel()")
    async with asyncio.timeout(PATIENCE_MS / 1000):
        await model.gone.wait()
    events = await tab.end()
    assert text_of(events) == "So far"
    complete, done = events[-2:]
    assert (complete["type"], done["type"]) == ("complete", "done")
    assert complete["data"]["metadata"]["stop_reason"] == "cancelled"


async def test_a_run_is_cancelled_that_is_not_known_yet(
    context: BrowserContext, scripted_server: Server, model: Upstream
) -> None:
    model.reply(Reply(chunks(chunk(content="So far")), end="hang"))
    tab = await open_tab(context, scripted_server.url)
    await tab.begin("Talk for ever.")
    await tab.call("void stream.cancel()")
    complete, _ = (await tab.end())[-2:]
    assert complete["data"]["metadata"]["stop_reason"] == "cancelled"


async def test_leaving_the_loop_leaves_the_run_alone(
    context: BrowserContext, counting: Server
) -> None:
    tab = await open_tab(context, counting.url)
    run_id = await tab.call(
        """(async () => {
          const stream = client.stream({ input: "count to 100", background: true });
          for await (const { type } of stream) if (type === "content") break;
          return stream.runId;
        })()"""
    )
    follow = "(id) => { window.stream = client.follow(id); }"
    await tab.page.evaluate(follow, run_id)
    text = await tab.call(
        """(async () => {
          let text = "";
          for await (const event of stream) {
            if (event.type === "content") text += event.data.content;
          }
          return text;
        })()"""
    )
    assert text.strip() == counted(100)


async def test_a_page_of_another_origin_resumes_as_well(
    context: BrowserContext, counting: Server
) -> None:
    origin = counting.url.replace("127.0.0.1", "localhost")
    tab = await open_tab(context, origin, counting.url)
    await tab.begin(f"count to {COUNT}")
    await tab.until_numbers(50)
    await tab.call("stream.pause()")
    await tab.call("stream.resume()")
    assert_whole(await tab.end())
