"""The hand-over of a run at a moment when one of its writes is in progress."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from streaming import runs
from streaming.agents.loops import AgentLoops
from streaming.event_log import stored_log
from streaming.events import Content, decode
from streaming.models import Message, Run
from streaming.runs.timings import Timings
from streaming.storage import database
from streaming.testing.provider import Reply, StandInProvider
from streaming.tools import Toolbox, tool
from tests import chat
from tests.client import API, SECONDS, Api, Response
from tests.faults.database import FaultyDatabase, changed_loops, install_service
from tests.writer import busy_writer

pytestmark = pytest.mark.usefixtures("model")

QUICK = Timings(heartbeat=0.02, queue=0.02)
#: The functions that write events.
LOG_WRITES = {"save", "save_and_commit"}
Held = Callable[[FaultyDatabase], AbstractAsyncContextManager[None]]


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110  (several kinds of conditions)
            await asyncio.sleep(0.01)


def loops() -> AgentLoops:
    @tool(repeatable=True)
    async def look() -> str:
        """Look."""
        return "found"

    return changed_loops(toolbox=Toolbox([look]))


def valid_frames(*responses: Response) -> list[tuple[int, str]]:
    """Return the numbers and types of the events that no `restarted` has voided."""
    frames = [f for r in responses for f in r.frames if f.event != "connected"]
    for frame in frames:
        if frame.event == "restarted":
            after = frame.data["metadata"]["discard_after"]
            kept = range(after + 1, frame.number)
            frames = [each for each in frames if each.number not in kept]
    return [(frame.number, frame.event) for frame in frames]


async def saved_text() -> str:
    texts = [
        part["text"]
        async for message in Message.objects.filter(role="assistant").order_by("id")
        for part in message.parts
        if part["type"] == "text"
    ]
    return "".join(texts)


@asynccontextmanager
async def waiting(access: FaultyDatabase) -> AsyncIterator[None]:
    """Keep the writes of runs before the writer thread."""
    async with busy_writer():
        yield


@asynccontextmanager
async def committing(access: FaultyDatabase) -> AsyncIterator[None]:
    """Keep the first write of a run before its commit."""
    written, go_on = threading.Event(), threading.Event()

    def hold(write: Callable[[], object]) -> object:
        result = write()
        if not written.is_set():
            written.set()
            assert go_on.wait(SECONDS)
        return result

    access.around["save_and_commit"] = hold
    yield
    assert await asyncio.to_thread(written.wait, SECONDS)
    go_on.set()


@asynccontextmanager
async def failing(access: FaultyDatabase) -> AsyncIterator[None]:
    """Refuse the writes of runs."""
    access.refuse = 10**6
    yield
    access.refuse = 0


@pytest.mark.parametrize("restarts", [True, False])
@pytest.mark.parametrize("held", [waiting, committing, failing])
async def test_text_of_a_response_whose_checkpoint_is_in_progress_is_not_void(
    api: Api, upstream: StandInProvider, held: Held, restarts: bool
) -> None:
    end = asyncio.Event()
    asked = chat.tool_calls(("a", "look", {}), text="I look. ")
    said = chat.pieces("I look. ")
    upstream.reply(
        Reply.of([said, asked.body.removeprefix(said)], held=end), chat.answer("Done.")
    )
    access = FaultyDatabase()
    service = install_service(access=access, timings=QUICK, agents=loops())
    body = {"input": "Hi", "conversation_id": "c", "restarts": restarts}
    async with api.open("POST", f"{API}/stream", body) as stream:
        await stream.until("content")
        await service.log.flush()
        async with held(access):
            end.set()
            await until(lambda: "save_and_commit" in access.writes)
            before = len(access.writes)
            draining = asyncio.create_task(service.drain(0))
            # A flush may be earlier than the hand-over, which then waits for it.
            await until(lambda: LOG_WRITES & {*access.writes[before:]})
        await draining
        first = await stream.end()
    run = await Run.objects.aget()
    assert (run.status, run.checkpoint_number) == ("queued", run.log_number)
    await runs.aclose()
    install_service(timings=QUICK, agents=loops()).serve()
    last_id = first.frames[-1].id
    rest = await api.get(f"{API}/runs/{run.id}/events", last_event_id=last_id)
    assert [event for _, event in valid_frames(first, rest)] == [
        *("content", "tool_call", "tool_result", "content", "complete", "done")
    ]
    assert "restarted" not in [*first.events, *rest.events]
    entries = await database.execute_read(stored_log().read, run.id)
    assert valid_frames(first, rest) == [(e.number, e.type) for e in entries]
    logged = [
        event.content for e in entries if isinstance(event := decode(e.data), Content)
    ]
    texts = first.text + rest.text, "".join(logged), await saved_text()
    assert texts == ("I look. Done.",) * 3


async def test_the_time_for_hand_overs_grows_with_their_number(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(Reply(chat.pieces("Hal"), end="hang"))
    access = FaultyDatabase()
    timings = Timings(run_stop=0.05, least_finish=0.05, drain_per_run=SECONDS)
    service = install_service(access=access, timings=timings)
    body = {"input": "Hi", "restarts": True}
    async with api.open("POST", f"{API}/stream", body) as stream:
        await stream.until("content")
        await service.log.flush()
        async with busy_writer():
            draining = asyncio.create_task(service.drain(0))
            await until(lambda: "save_and_commit" in access.writes)
            await asyncio.sleep(0.2)  # longer than the end of a single run may take
            assert not draining.done()
        await draining
        await stream.end()
    assert (await Run.objects.aget()).status == "queued"
