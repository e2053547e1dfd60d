"""Other event-stream clients in a browser, against this server."""

import asyncio
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext, Page, Route

from streaming.testing.provider import Reply, StandInProvider
from streaming.testing.server import Server
from tests import available
from tests.browser.answers import counted, held, numbers, words
from tests.browser.documented import documented_programs
from tests.browser.restarts import FIRST, SECOND, stream
from tests.browser.wire import Wire
from tests.servers import SECONDS
from tests.test_deploy import deployed_nginx

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

TIMEOUT_MS = 60_000
COUNT = 400
FIRST_PART = 100
CUTS = (50, 100)
TYPES = ["connected", "thinking", "content", "error", "complete", "done"]

#: The browser's own client. The server ends it; the page never closes it.
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


def prompt() -> dict[str, object]:
    """Return a request of an organization of its own."""
    return {"input": "Count.", "background": True, "org_id": str(uuid.uuid4())}


async def open_page(context: BrowserContext, url: str) -> Page:
    page = await context.new_page()
    await page.goto(f"{url}/health")
    return page


async def until(page: Page, condition: str) -> None:
    await page.wait_for_function(condition, timeout=TIMEOUT_MS)


async def until_seen(page: Page, count: int) -> None:
    await until(page, f"seen.filter(({{ id }}) => id.endsWith(':{count}')).length > 0")


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


def resumptions(events: list[dict[str, Any]]) -> list[int]:
    """Return the number after which each later connection resumed."""
    greetings = [e["data"]["metadata"] for e in events if e["type"] == "connected"]
    return [greeting["resumed_after"] for greeting in greetings[1:]]


async def start_run(server: Server) -> str:
    """Return the URL of the events of a new run."""
    url = f"{server.url}/api/v1/agent/stream"
    request = prompt()
    async with (
        httpx.AsyncClient(timeout=SECONDS) as client,
        client.stream("POST", url, json=request) as response,
    ):
        run = f"/api/v1/agent/runs/{response.headers['X-Run-Id']}"
        return f"{run}/events?org_id={request['org_id']}"


async def start_run_of_default(url: str) -> str:
    """Return the id of a new run of the default organization."""
    request = {"input": "Count.", "background": True}
    async with (
        httpx.AsyncClient(timeout=SECONDS) as client,
        client.stream("POST", f"{url}/api/v1/agent/stream", json=request) as response,
    ):
        return response.headers["X-Run-Id"]


async def stays_silent(page: Page, statuses: list[int]) -> None:
    """Wait until the documented function, which pauses for 2 s, sends nothing."""
    count = -1
    while len(statuses) > count:
        count = len(statuses)
        await page.wait_for_timeout(3000)


async def test_eventsource_resumes_by_itself_and_stops_by_itself(
    context: BrowserContext, scripted_server: Server, model: StandInProvider
) -> None:
    model.reply(Reply(words(*numbers(COUNT))))
    url = await start_run(scripted_server)
    async with Wire(scripted_server.url, CUTS) as wire:
        page = await open_page(context, wire.url)
        await page.evaluate(EVENT_SOURCE, [url, TYPES])
        for cut in CUTS:
            await until_seen(page, cut)
            wire.cut()
        events = await run_ended(page)
        # It reconnects once more, as always, and receives 204.
        await until(page, "source.readyState === EventSource.CLOSED")
    assert numbers_of(events) == list(range(1, len(numbers_of(events)) + 1))
    assert text_of(events).strip() == counted(COUNT)
    assert resumptions(events) == list(CUTS)
    assert await page.evaluate("seen.length") == len(events)


async def test_eventsource_survives_a_kill_and_restart_of_the_server(
    context: BrowserContext, own_server: Server, model: StandInProvider
) -> None:
    model.reply(held(asyncio.Event(), *numbers(COUNT), begun=FIRST_PART))
    url = await start_run(own_server)
    page = await open_page(context, own_server.url)
    await page.evaluate(EVENT_SOURCE, [url, TYPES])
    await until_seen(page, FIRST_PART)
    own_server.kill()
    await until(page, "breaks > 0")
    own_server.start()
    events = await run_ended(page)
    ids = numbers_of(events)
    assert ids == sorted(set(ids))
    assert text_of(events).strip() == counted(FIRST_PART)
    assert events[-2]["data"]["metadata"]["code"] == "interrupted"
    await until(page, "source.readyState === EventSource.CLOSED")


async def test_eventsource_stops_at_once_if_no_events_remain(
    context: BrowserContext, scripted_server: Server, model: StandInProvider
) -> None:
    model.reply(Reply(words(*numbers(COUNT))))
    url = await start_run(scripted_server)
    run = scripted_server.url + url.replace("/events", "")
    page = await open_page(context, scripted_server.url)
    async with (
        httpx.AsyncClient(timeout=SECONDS) as client,
        asyncio.timeout(TIMEOUT_MS / 1000),
    ):
        while (await client.get(run)).json()["status"] == "running":  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    await page.evaluate(EVENT_SOURCE, [f"{url}&after=1000000", TYPES])
    await until(page, "source.readyState === EventSource.CLOSED")
    assert await page.evaluate("seen") == []


async def open_documented_page(context: BrowserContext, url: str, run_id: str) -> Page:
    """Open a page that has the variables of the documented program."""
    page = await open_page(context, url)
    await page.evaluate(
        """(runId) => Object.assign(window, {
          runId,
          answer: document.createElement("p"),
        })""",
        run_id,
    )
    return page


async def test_the_documented_eventsource_survives_a_server_that_responds_503(
    context: BrowserContext, own_server: Server, model: StandInProvider, tmp_path: Path
) -> None:
    model.reply(held(asyncio.Event(), *numbers(COUNT), begun=FIRST_PART))
    _, program, _ = documented_programs()
    with deployed_nginx(tmp_path, own_server.port) as url:
        run_id = await start_run_of_default(url)
        page = await open_documented_page(context, url, run_id)
        statuses: list[int] = []
        page.on("response", lambda response: statuses.append(response.status))
        await page.add_script_tag(content=program)
        begun = counted(FIRST_PART)
        await until(page, f"answer.textContent.trim() === '{begun}'")
        async with page.expect_response(lambda response: response.status == 503):
            own_server.kill()
        resumed = f"/events?after={FIRST_PART}"
        async with page.expect_response(
            lambda response: response.ok and response.url.endswith(resumed)
        ):
            own_server.start()
        # The run of the dead process ends; nothing that it sent is shown twice.
        await stays_silent(page, statuses)
        assert await page.evaluate("answer.textContent.trim()") == begun


async def test_the_documented_eventsource_ends_if_no_events_remain(
    context: BrowserContext, scripted_server: Server, model: StandInProvider
) -> None:
    model.reply(Reply(words("Yes.")))
    _, program, _ = documented_programs()
    run_id = await start_run_of_default(scripted_server.url)
    page = await open_documented_page(context, scripted_server.url, run_id)
    statuses: list[int] = []
    page.on("response", lambda response: statuses.append(response.status))
    await page.add_script_tag(content=program)
    await until(page, "answer.textContent === 'Yes.'")
    await stays_silent(page, statuses)
    assert statuses == [200]
    for run, status in ((run_id, 204), (str(uuid.uuid4()), 404)):
        statuses.clear()
        await page.evaluate("(run) => follow(run, () => {}, 1_000_000)", run)
        async with asyncio.timeout(TIMEOUT_MS / 1000):
            while len(statuses) < 2:  # noqa: ASYNC110  (EventSource, then fetch)
                await asyncio.sleep(0.05)
        await stays_silent(page, statuses)
        assert statuses == [status, status]


async def test_the_documented_eventsource_sends_a_token(
    context: BrowserContext, scripted_server: Server, model: StandInProvider
) -> None:
    model.reply(Reply(words("Yes.")))
    _, program, _ = documented_programs()
    function, _, _ = program.partition("\nfollow(")
    run_id = await start_run_of_default(scripted_server.url)
    url = f"{scripted_server.url}/api/v1/agent/runs/{run_id}/token"
    async with httpx.AsyncClient(timeout=SECONDS) as client:
        token = (await client.post(url)).json()["token"]
    page = await open_documented_page(context, scripted_server.url, run_id)
    statuses: list[int] = []
    page.on("response", lambda response: statuses.append(response.status))
    await page.add_script_tag(content=function)
    show = "(type, data) => type === 'content' && answer.append(data.content)"
    for given, status in ((f"{token}x", 401), (token, 200)):
        statuses.clear()
        await page.evaluate(f"(token) => follow(runId, {show}, 0, 0, token)", given)
        if status == 200:
            await until(page, "answer.textContent === 'Yes.'")
        await stays_silent(page, statuses)
        assert set(statuses) == {status}


async def serve_package(route: Route) -> None:
    package = Path(available.need("packages")) / "@microsoft/fetch-event-source"
    name = route.request.url.rpartition("/")[2]
    path = package / "lib" / "esm" / f"{name}.js"
    await route.fulfill(path=path, content_type="text/javascript")


@pytest_asyncio.fixture(loop_scope="session")
async def fetching(context: BrowserContext) -> BrowserContext:
    """Let its pages import `@microsoft/fetch-event-source`."""
    available.need("packages")
    await context.route("**/fetch-event-source/*", serve_package)
    return context


async def test_fetch_event_source_repeats_its_request_and_resumes(
    fetching: BrowserContext, scripted_server: Server, model: StandInProvider
) -> None:
    model.reply(Reply(words(*numbers(COUNT))))
    request = prompt()
    async with Wire(scripted_server.url, CUTS) as wire:
        page = await open_page(fetching, wire.url)
        await page.evaluate(FETCH_EVENT_SOURCE, [request, {}])
        for cut in CUTS:
            await until_seen(page, cut)
            wire.cut()
        events = await run_ended(page)
        await page.evaluate("over")
    assert numbers_of(events) == list(range(1, len(numbers_of(events)) + 1))
    assert text_of(events).strip() == counted(COUNT)
    assert resumptions(events) == list(CUTS)
    assert await number_of_conversations(scripted_server, request) == 1


async def test_fetch_event_source_survives_a_kill_of_the_server(
    fetching: BrowserContext, own_server: Server, model: StandInProvider
) -> None:
    model.reply(held(asyncio.Event(), *numbers(COUNT), begun=FIRST_PART))
    request = prompt()
    page = await open_page(fetching, own_server.url)
    await page.evaluate(FETCH_EVENT_SOURCE, [request, {}])
    await until_seen(page, FIRST_PART)
    own_server.kill()
    await until(page, "breaks > 0")
    own_server.start()
    events = await run_ended(page)
    await page.evaluate("over")
    ids = numbers_of(events)
    assert ids == sorted(set(ids))
    assert text_of(events).strip() == counted(FIRST_PART)
    assert events[-2]["data"]["metadata"]["code"] == "interrupted"
    assert await number_of_conversations(own_server, request) == 1


@pytest.mark.parametrize("way", ["EventSource", "fetch-event-source"])
async def test_the_documented_programs_remove_what_a_restart_made_void(
    fetching: BrowserContext, scripted_server: Server, way: str
) -> None:
    page = await open_documented_page(fetching, scripted_server.url, "r")
    bodies = [stream(*FIRST), stream(*SECOND)]

    async def respond(route: Route) -> None:
        await route.fulfill(**bodies.pop(0))

    path = "**/stream" if way != "EventSource" else "**/runs/r/events*"
    await page.route(path, respond)
    _, event_source, fetch_event_source = documented_programs()
    program = event_source if way == "EventSource" else fetch_event_source
    installed = program.replace(
        "@microsoft/fetch-event-source", "/fetch-event-source/index"
    )
    await page.add_script_tag(content=installed, type="module")
    await until(page, "answer.textContent === 'Let me look. It is noon.'")


async def lose_the_answer(route: Route) -> None:
    await route.fetch()
    await route.abort("connectionreset")


async def test_fetch_event_source_with_a_key_starts_one_run(
    fetching: BrowserContext, scripted_server: Server, model: StandInProvider
) -> None:
    model.reply(Reply(words(*numbers(COUNT))))
    request = prompt()
    page = await open_page(fetching, scripted_server.url)
    await page.route("**/stream", lose_the_answer, times=1)
    await page.evaluate(FETCH_EVENT_SOURCE, [request, {"Idempotency-Key": "k"}])
    events = await run_ended(page)
    assert text_of(events).strip() == counted(COUNT)
    assert await number_of_conversations(scripted_server, request) == 1


async def number_of_conversations(server: Server, request: dict[str, object]) -> int:
    url = f"{server.url}/api/v1/agent/conversations?org_id={request['org_id']}"
    async with httpx.AsyncClient(timeout=SECONDS) as client:
        answer = await client.get(url)
    return len(answer.json()["conversations"])
