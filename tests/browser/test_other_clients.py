"""What others wrote to read event streams in a browser, against our server."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext, Page, Route

from tests import available
from tests.browser.server import Server, serve
from tests.browser.wire import Wire

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PATIENCE_MS = 60_000
COUNT = 400
PROMPT = {"input": f"count to {COUNT}", "background": True}
TYPES = ["connected", "thinking", "content", "error", "complete", "done"]

#: The browser's own client. It is never told to stop: the server does that.
EVENT_SOURCE = """([url, types]) => {
  Object.assign(window, { seen: [], breaks: 0 });
  window.source = new EventSource(url);
  for (const type of types) {
    source.addEventListener(type, ({ data, lastEventId }) => {
      if (data) seen.push({ type, id: lastEventId, data: JSON.parse(data) });
      else breaks += 1;
    });
  }
}"""

FETCH_EVENT_SOURCE = """async ([body, headers]) => {
  const { fetchEventSource } = await import("/fetch-event-source/index");
  Object.assign(window, { seen: [], breaks: 0 });
  window.over = fetchEventSource("/api/v1/agent/stream", {
    method: "POST",
    headers: { "Content-Type": "application/json", ...headers },
    body: JSON.stringify(body),
    openWhenHidden: true,
    onmessage({ event: type, id, data }) {
      if (type) seen.push({ type, id, data: JSON.parse(data) });
    },
    onerror() {
      breaks += 1;
    },
  });
}"""


@pytest_asyncio.fixture(loop_scope="session")
async def counting(tmp_path: Path) -> AsyncIterator[Server]:
    """A server that counts quickly, for a test to do it harm."""
    environment = {"DEMO_DELAY_MS": "5", "RUN_LEASE_SECONDS": "1"}
    with serve(tmp_path, LLM_PROVIDER="demo", **environment) as server:
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def page(context: BrowserContext, counting: Server) -> Page:
    page = await context.new_page()
    await page.goto(f"{counting.url}/health")
    return page


async def until(page: Page, condition: str) -> None:
    await page.wait_for_function(condition, timeout=PATIENCE_MS)


async def until_seen(page: Page, count: int) -> None:
    await until(page, f"seen.length > {count}")


async def run_ended(page: Page) -> list[dict[str, Any]]:
    await until(page, "seen.at(-1)?.type === 'done'")
    events: list[dict[str, Any]] = await page.evaluate("seen")
    return events


def numbers_of(events: list[dict[str, Any]]) -> list[int]:
    return [
        int(event["id"].rpartition(":")[2])
        for event in events
        if event["type"] != "connected"
    ]


def text_of(events: list[dict[str, Any]]) -> str:
    return "".join(e["data"]["content"] for e in events if e["type"] == "content")


def counted(last: int) -> str:
    return " ".join(map(str, range(1, last + 1)))


def resumptions(events: list[dict[str, Any]]) -> list[int]:
    """After which number each connection but the first went on."""
    greetings = [e["data"]["metadata"] for e in events if e["type"] == "connected"]
    return [greeting["resumed_after"] for greeting in greetings[1:]]


async def start_run(server: Server) -> str:
    url = f"{server.url}/api/v1/agent/stream"
    async with (
        httpx.AsyncClient() as client,
        client.stream("POST", url, json=PROMPT) as response,
    ):
        return f"/api/v1/agent/runs/{response.headers['X-Run-Id']}/events"


async def test_eventsource_resumes_by_itself_and_stops_by_itself(
    page: Page, counting: Server
) -> None:
    url = await start_run(counting)
    async with Wire(counting.url) as wire:
        await page.goto(f"{wire.url}/health")
        await page.evaluate(EVENT_SOURCE, [url, TYPES])
        for count in (50, 100):
            await until_seen(page, count)
            wire.cut()
        events = await run_ended(page)
        # It asks once more, as it always does, and is told that nothing is left.
        await until(page, "source.readyState === EventSource.CLOSED")
    assert numbers_of(events) == list(range(1, len(numbers_of(events)) + 1))
    assert text_of(events).strip() == counted(COUNT)
    assert len(resumptions(events)) == 2
    assert await page.evaluate("seen.length") == len(events)


async def test_eventsource_finds_a_server_that_was_killed_and_started_again(
    page: Page, counting: Server
) -> None:
    url = await start_run(counting)
    await page.evaluate(EVENT_SOURCE, [url, TYPES])
    await until_seen(page, 100)
    counting.kill()
    await until(page, "breaks > 0")
    counting.start()
    events = await run_ended(page)
    numbers = numbers_of(events)
    assert numbers == sorted(set(numbers))
    assert counted(COUNT).startswith(text_of(events).strip())
    assert events[-2]["data"]["metadata"]["code"] == "interrupted"
    await until(page, "source.readyState === EventSource.CLOSED")


async def test_eventsource_stops_at_once_when_nothing_is_left(
    page: Page, counting: Server
) -> None:
    url = await start_run(counting)
    run = counting.url + url.removesuffix("/events")
    async with httpx.AsyncClient() as client, asyncio.timeout(PATIENCE_MS / 1000):
        while (await client.get(run)).json()["status"] == "running":  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    await page.evaluate(EVENT_SOURCE, [f"{url}?after=1000000", TYPES])
    await until(page, "source.readyState === EventSource.CLOSED")
    assert await page.evaluate("seen") == []


async def serve_package(route: Route) -> None:
    package = Path(available.need("packages")) / "@microsoft/fetch-event-source"
    name = route.request.url.rpartition("/")[2]
    path = package / "lib" / "esm" / f"{name}.js"
    await route.fulfill(path=path, content_type="text/javascript")


@pytest_asyncio.fixture(loop_scope="session")
async def fetching(page: Page) -> Page:
    """A page that can import `@microsoft/fetch-event-source`."""
    available.need("packages")
    await page.route("**/fetch-event-source/*", serve_package)
    return page


async def test_fetch_event_source_sends_its_request_again_and_resumes(
    fetching: Page, counting: Server
) -> None:
    async with Wire(counting.url) as wire:
        await fetching.goto(f"{wire.url}/health")
        await fetching.evaluate(FETCH_EVENT_SOURCE, [PROMPT, {}])
        for count in (50, 100):
            await until_seen(fetching, count)
            wire.cut()
        events = await run_ended(fetching)
        await fetching.evaluate("over")
    assert numbers_of(events) == list(range(1, len(numbers_of(events)) + 1))
    assert text_of(events).strip() == counted(COUNT)
    assert len(resumptions(events)) == 2
    assert await number_of_conversations(counting) == 1


async def test_fetch_event_source_finds_a_server_that_was_killed(
    fetching: Page, counting: Server
) -> None:
    await fetching.evaluate(FETCH_EVENT_SOURCE, [PROMPT, {}])
    await until_seen(fetching, 100)
    counting.kill()
    await until(fetching, "breaks > 0")
    counting.start()
    events = await run_ended(fetching)
    await fetching.evaluate("over")
    numbers = numbers_of(events)
    assert numbers == sorted(set(numbers))
    assert counted(COUNT).startswith(text_of(events).strip())
    assert events[-2]["data"]["metadata"]["code"] == "interrupted"
    assert await number_of_conversations(counting) == 1


async def lose_the_answer(route: Route) -> None:
    await route.fetch()
    await route.abort("connectionreset")


async def test_fetch_event_source_with_a_key_starts_one_run(
    fetching: Page, counting: Server
) -> None:
    await fetching.route("**/stream", lose_the_answer, times=1)
    await fetching.evaluate(FETCH_EVENT_SOURCE, [PROMPT, {"Idempotency-Key": "k"}])
    events = await run_ended(fetching)
    assert text_of(events).strip() == counted(COUNT)
    assert await number_of_conversations(counting) == 1


async def number_of_conversations(server: Server) -> int:
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"{server.url}/api/v1/agent/conversations")
    return len(answer.json()["conversations"])
