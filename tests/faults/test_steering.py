"""Runs that are stopped, or whose database fails, while they take a text."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from streaming.event_log import stored_log
from streaming.models import Message as MessageRow
from streaming.models import Run, RunInput
from streaming.runs import RunService
from streaming.storage import database
from streaming.testing.provider import Reply, StandInProvider
from streaming.tools import Toolbox, tool
from tests import chat
from tests.client import API, SECONDS, Api, Stream
from tests.conftest import ChangeSettings
from tests.faults.database import FaultyDatabase, changed_loops, install_service
from tests.runs.test_further_attempts import QUICK, until

pytestmark = pytest.mark.usefixtures("model")

BODY = {"input": "first", "conversation_id": "c", "restarts": True}
#: The writes of a run: its response, the result, the text that it takes, its end.
RESULT, TAKING, END = 2, 3, 4


class Scene:
    """A run that a text steers while its tool waits, and whose writes are counted."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self.may_end = threading.Event()
        self.access = FaultyDatabase()
        self.writes = 0
        self.held = 0
        self.is_held, self.go_on = threading.Event(), threading.Event()
        self.before = False
        self.access.around["save_and_commit"] = self._write

    def _write(self, write: Callable[[], object]) -> object:
        self.writes += 1
        if self.writes != self.held:
            return write()
        written = None if self.before else write()
        self.is_held.set()
        assert self.go_on.wait(SECONDS)
        return write() if self.before else written

    def install(self) -> RunService:
        """Install a service whose agent has the tool."""

        @tool
        def slow() -> str:
            """End when it may."""
            assert self.may_end.wait(SECONDS)
            return "slow result"

        loops = changed_loops(toolbox=Toolbox([slow]))
        return install_service(access=self.access, timings=QUICK, agents=loops)

    async def steer(self, stream: Stream) -> str:
        """Add the text once the tool is under way; return the id of the run."""
        await stream.until("tool_call")
        run_id = stream.response.headers["x-run-id"]
        url = f"{API}/runs/{run_id}/input"
        assert (await self._api.post(url, {"input": "In French."})).status == 202
        self.may_end.set()
        return run_id


async def texts() -> list[str]:
    rows = MessageRow.objects.filter(role="user").order_by("id")
    return [parts[0]["text"] async for parts in rows.values_list("parts", flat=True)]


async def entries(run_id: str) -> list[str]:
    read = await database.execute_read(stored_log().read, run_id)
    return [entry.type for entry in read]


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("write", [RESULT, TAKING])
async def test_a_run_that_is_stopped_while_it_takes_a_text_has_it_once_or_returns_it(
    api: Api,
    upstream: StandInProvider,
    agent_settings: ChangeSettings,
    write: int,
    before: bool,
) -> None:
    agent_settings(event_flush_ms=60_000)  # only the run itself writes
    upstream.reply(chat.tool_calls(("a", "slow", {})), chat.answer("Done."))
    scene = Scene(api)
    scene.held, scene.before = write, before
    service = scene.install()
    async with api.open("POST", f"{API}/stream", BODY) as stream:
        run_id = await scene.steer(stream)
        await until(scene.is_held.is_set)
        service.executor.stop(run_id)
        scene.go_on.set()
        whole = await stream.end()
    assert whole.frames[-2].data["metadata"]["stop_reason"] == "cancelled"
    is_taken = write == TAKING
    assert await texts() == ["first", *["In French."] * is_taken]
    assert (await entries(run_id)).count("input") == is_taken
    row = await RunInput.objects.aget()
    assert (bool(row.taken_at), row.next_run) == (is_taken, "")
    assert await Run.objects.acount() == 1


@pytest.mark.parametrize("before", [True, False])
async def test_a_run_that_is_handed_over_while_it_takes_a_text_has_it_once(
    api: Api,
    upstream: StandInProvider,
    agent_settings: ChangeSettings,
    before: bool,
) -> None:
    agent_settings(event_flush_ms=60_000)
    upstream.reply(chat.tool_calls(("a", "slow", {})), chat.answer("Done."))
    scene = Scene(api)
    scene.held, scene.before = TAKING, before
    service = scene.install()
    async with api.open("POST", f"{API}/stream", BODY) as stream:
        run_id = await scene.steer(stream)
        await until(scene.is_held.is_set)
        service.worker.executions[run_id].hand_over()
        scene.go_on.set()
        await until(lambda: not service.worker.executions or scene.writes > END)
        await stream.end()
    assert await texts() == ["first", "In French."]
    log = await entries(run_id)
    assert (log.count("input"), log[-3:]) == (1, ["content", "complete", "done"])
    assert (await RunInput.objects.aget()).next_run == ""
    run = await Run.objects.aget()
    assert (run.status, run.attempt) == ("completed", 2)


@pytest.mark.parametrize("write", [RESULT, TAKING, END])
async def test_a_lost_answer_of_the_database_repeats_no_text(
    api: Api,
    upstream: StandInProvider,
    agent_settings: ChangeSettings,
    write: int,
) -> None:
    agent_settings(event_flush_ms=60_000)
    upstream.reply(chat.tool_calls(("a", "slow", {})), chat.answer("Done."))
    scene = Scene(api)
    scene.held = write
    scene.install()
    async with api.open("POST", f"{API}/stream", BODY) as stream:
        run_id = await scene.steer(stream)
        await until(scene.is_held.is_set)
        scene.access.lose_answers = 1
        scene.go_on.set()
        whole = await stream.end()
    assert scene.access.cut == ["save_and_commit"]
    assert whole.events.count("input") == 1
    assert whole.events[-3:] == ["content", "complete", "done"]
    assert await texts() == ["first", "In French."]
    assert (await entries(run_id)).count("input") == 1
    assert await Run.objects.acount() == 1


async def test_a_lost_answer_at_the_end_makes_one_next_run(
    api: Api, upstream: StandInProvider, agent_settings: ChangeSettings
) -> None:
    agent_settings(event_flush_ms=60_000)
    end = asyncio.Event()
    upstream.reply(
        Reply.of([chat.pieces("one"), chat.ending()], held=end), chat.answer("two")
    )
    scene = Scene(api)
    scene.install()
    async with api.open("POST", f"{API}/stream", BODY) as stream:
        await stream.until("content")
        url = f"{API}/runs/{stream.response.headers['x-run-id']}/input"
        assert (await api.post(url, {"input": "second"})).status == 202
        scene.access.lose_answers = 1
        end.set()
        whole = await stream.end()
    assert scene.access.cut == ["save_and_commit"]
    next_run = whole.frames[-2].data["metadata"]["next_run_id"]
    await api.get(f"{API}/runs/{next_run}/events")
    assert await texts() == ["first", "second"]
    assert await Run.objects.acount() == 2
