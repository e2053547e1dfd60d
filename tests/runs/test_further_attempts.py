"""Runs that outlive the process, or the lease, in which they began."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest
import pytest_asyncio
from django.utils import timezone

from streaming import runs
from streaming.account_models import Account, Limit, Reservation
from streaming.agent.tool_calls import UNKNOWN
from streaming.event_log import OwnershipLost, stored_log
from streaming.models import Message, Run, RunStatus
from streaming.principals import Principal
from streaming.runs import RunRequest, RunService, recovery
from streaming.runs.recovery import Policy
from streaming.runs.timings import Timings
from streaming.storage import database
from streaming.testing.provider import Reply, StandInProvider
from streaming.tools import Toolbox, tool
from tests import chat
from tests.client import API, SECONDS, Api, Stream
from tests.conftest import ChangeSettings
from tests.faults.database import FaultyDatabase, changed_loops, install_service

pytestmark = pytest.mark.usefixtures("model")

QUICK = Timings(heartbeat=0.02, queue=0.02)
BODY = {"input": "Hi", "conversation_id": "c", "restarts": True}
HANGING = Reply(chat.pieces("Hal"), end="hang")


class Tools:
    """Two tools, which count their calls; `slow` waits until it may end."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.may_end = asyncio.Event()

    def loops(self, *, repeatable: bool = False) -> Toolbox:
        """Return the tools of an agent."""

        @tool
        async def quick() -> str:
            """End at once."""
            self.calls.append("quick")
            return "quick result"

        @tool(repeatable=repeatable)
        async def slow() -> str:
            """End when it may."""
            self.calls.append("slow")
            await self.may_end.wait()
            return "slow result"

        return Toolbox([quick, slow])


BOTH = chat.tool_calls(("a", "quick", {}), ("b", "slow", {}), text="I look. ")


@pytest_asyncio.fixture
async def tools(api: Api) -> AsyncIterator[Tools]:
    made = Tools()
    yield made
    made.may_end.set()


async def lose_lease(run_id: str, max_attempts: int = 3) -> RunStatus | None:
    """Treat a run as another process does when its owner seems dead."""
    now, never = timezone.now() + timedelta(days=1), float("inf")
    policy = Policy(max_attempts, lambda runs: None)
    return await database.execute_write(
        recovery.recover_orphan, run_id, now, never, policy
    )


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110  (several kinds of conditions)
            await asyncio.sleep(0.01)


def run_of(stream: Stream) -> str:
    return stream.response.headers["x-run-id"]


async def roles() -> list[str]:
    return [m.role async for m in Message.objects.order_by("id")]


async def test_a_run_that_lost_its_lease_goes_on_for_the_same_readers(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(HANGING, chat.answer("Hallo"))
    install_service(timings=QUICK)
    async with api.open("POST", f"{API}/stream", BODY) as stream:
        await stream.until("content")
        assert await lose_lease(run_of(stream)) == RunStatus.QUEUED
        whole = await stream.end()
    assert whole.events == [
        *("connected", "content", "restarted", "content", "complete", "done")
    ]
    first, restarted, *rest = whole.frames[1:]
    assert first.number == 1
    assert restarted.number >= 1_000_000
    assert [frame.number - restarted.number for frame in rest] == [1, 2, 3]
    assert restarted.data["metadata"] == {"attempt": 2, "discard_after": 0}
    run = await Run.objects.aget()
    assert (run.status, run.attempt) == ("completed", 2)
    answer = await Message.objects.aget(role="assistant")
    assert answer.parts == [{"type": "text", "text": "Hallo"}]
    # What is durable of the first attempt is counted; its text may not be.
    assert run.llm_calls in (1, 2)
    state = (await api.get(f"{API}/runs/{run.id}")).json
    assert state["output"] == "Hallo"


async def test_the_lost_call_counts_and_the_output_has_no_void_text(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(HANGING, Reply(chat.pieces("Ser"), end="hang"))
    service = install_service(timings=QUICK)
    async with api.open("POST", f"{API}/stream", BODY) as stream:
        await stream.until("content")
        await service.log.flush()
        run_id = run_of(stream)
        assert await lose_lease(run_id) == RunStatus.QUEUED
        await stream.until("content", 2)
        await service.log.flush()
        assert (await api.get(f"{API}/runs/{run_id}")).json["output"] == "Ser"
        await api.post(f"{API}/runs/{run_id}/cancel")
        whole = await stream.end()
    assert whole.frames[-2].data["metadata"]["execution_summary"]["llm_calls"] == 2
    run = await Run.objects.aget()
    assert (run.status, run.llm_calls) == ("cancelled", 2)
    assert run.output_tokens >= 2
    assert (await Message.objects.aget(role="assistant")).parts[0]["text"] == "Ser"


async def test_readers_that_cannot_remove_text_are_told_as_before(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(HANGING)
    service = install_service(timings=QUICK)
    body = {key: value for key, value in BODY.items() if key != "restarts"}
    async with api.open("POST", f"{API}/stream", body) as stream:
        await stream.until("content")
        await service.log.flush()
        assert await lose_lease(run_of(stream)) == RunStatus.FAILED
        whole = await stream.end()
    assert whole.events == ["connected", "content", "error", "done"]
    assert whole.frames[-2].data["metadata"]["code"] == "interrupted"
    assert (await Message.objects.aget(role="assistant")).parts[0]["text"] == "Hal"


@pytest.mark.parametrize("restarts", [True, False])
@pytest.mark.parametrize("repeatable", [True, False])
async def test_completed_tools_are_not_repeated(
    api: Api,
    upstream: StandInProvider,
    tools: Tools,
    repeatable: bool,
    restarts: bool,
) -> None:
    upstream.reply(BOTH, chat.answer("Done."))
    loops = changed_loops(toolbox=tools.loops(repeatable=repeatable))
    install_service(timings=QUICK, agents=loops)
    body = {**BODY, "restarts": restarts}
    async with api.open("POST", f"{API}/stream", body) as stream:
        await stream.until("tool_result")
        run = await Run.objects.aget()
        await until_saved(run.id, ["user", "assistant", "tool"])
        assert await lose_lease(run.id) == RunStatus.QUEUED
        if repeatable:
            await until(lambda: tools.calls.count("slow") == 2)
            tools.may_end.set()
        whole = await stream.end()
    assert whole.events == [
        *("connected", "content", "tool_call", "tool_call", "tool_result"),
        *("tool_result", "content", "complete", "done"),
    ]
    assert tools.calls == ["quick", "slow", *["slow"] * repeatable]
    told = whole.frames[5].data["tool_call"]
    assert told["id"] == "b"
    assert told["result"] == ("slow result" if repeatable else UNKNOWN)
    assert told["status"] == ("completed" if repeatable else "error")
    sent = upstream.requests[-1].json["messages"]
    results = {m["tool_call_id"]: m["content"] for m in sent if m["role"] == "tool"}
    assert sorted(results.values()) == sorted(["quick result", told["result"]])
    run = await Run.objects.aget()
    assert (run.status, run.llm_calls, run.tool_calls) == ("completed", 2, 2)
    assert run.used_tools == ["quick", "slow"]
    assert await roles() == ["user", "assistant", "tool", "tool", "assistant"]
    numbers = [frame.number for frame in whole.frames[1:]]
    assert numbers == sorted(set(numbers))


async def until_saved(run_id: str, expected: list[str]) -> None:
    """Wait until a checkpoint has saved messages of these roles."""
    async with asyncio.timeout(SECONDS):
        while await roles() != expected:  # noqa: ASYNC110  (the database tells nobody)
            await asyncio.sleep(0.01)


async def test_a_drain_in_the_middle_of_tools_keeps_the_results(
    api: Api, upstream: StandInProvider, tools: Tools
) -> None:
    upstream.reply(BOTH, chat.answer("Done."))
    loops = changed_loops(toolbox=tools.loops())
    service = install_service(timings=QUICK, agents=loops)
    body = {**BODY, "restarts": False}
    async with api.open("POST", f"{API}/stream", body) as stream:
        await stream.until("tool_result")
        await service.drain(0)
        whole = await stream.end()
    assert whole.events[-1] == "tool_result"
    run = await Run.objects.aget()
    assert (run.status, run.crashes, run.llm_calls) == ("queued", 0, 1)
    assert run.log_number == run.checkpoint_number == whole.frames[-1].number
    await service.aclose()
    events = await api_after_restart(api, whole.frames[-1].id)
    assert events == ["connected", "tool_result", "content", "complete", "done"]
    assert tools.calls == ["quick", "slow"]


async def api_after_restart(api: Api, last_id: str) -> list[str]:
    """Resume in a new process with the usual agents; return the types of events."""
    await runs.aclose()
    run_id = last_id.partition(":")[0]
    rest = await api.get(f"{API}/runs/{run_id}/events", last_event_id=last_id)
    return rest.events


async def test_a_drain_fails_a_run_whose_reader_has_text_that_would_be_void(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(HANGING)
    service = install_service(timings=QUICK)
    async with api.open("POST", f"{API}/stream", {"input": "Hi"}) as stream:
        await stream.until("content")
        await service.drain(0)
        whole = await stream.end()
    assert whole.frames[-2].data["metadata"]["code"] == "shutting_down"
    assert (await Message.objects.aget(role="assistant")).parts[0]["text"] == "Hal"


async def test_crashes_are_bounded_since_the_last_checkpoint(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(HANGING, HANGING, HANGING)
    service = install_service(timings=QUICK)
    async with api.open("POST", f"{API}/stream", BODY) as stream:
        for count in (1, 2, 3):
            await stream.until("content", count)
            status = await lose_lease(run_of(stream))
            assert status == (RunStatus.QUEUED if count < 3 else RunStatus.FAILED)
        whole = await stream.end()
    assert whole.events.count("restarted") == 2
    assert whole.frames[-2].data["metadata"]["code"] == "interrupted"
    numbers = [frame.number for frame in whole.frames[1:]]
    assert numbers == sorted(set(numbers))
    run = await Run.objects.aget()
    assert (run.status, run.attempt) == ("failed", 3)
    assert not service.worker.executions


async def test_a_queued_run_with_a_log_is_cancelled_after_it(
    api: Api, upstream: StandInProvider, tools: Tools
) -> None:
    upstream.reply(BOTH)
    loops = changed_loops(toolbox=tools.loops())
    service = install_service(timings=QUICK, agents=loops)
    async with api.open("POST", f"{API}/stream", BODY) as stream:
        await stream.until("tool_result")
        await service.drain(0)
        before = await stream.end()
    run_id = run_of(stream)
    cancelled = await api.post(f"{API}/runs/{run_id}/cancel")
    assert (cancelled.status, cancelled.json["status"]) == (202, "cancelled")
    assert cancelled.json["usage"]["total_tokens"] == 15
    entries = await database.execute_read(stored_log().read, run_id)
    last = before.frames[-1].number
    assert [(e.number, e.type) for e in entries[-2:]] == [
        (last + 1, "complete"),
        (last + 2, "done"),
    ]
    assert await roles() == ["user", "assistant", "tool"]
    run = await Run.objects.aget()
    assert run.log_state == "written"


async def test_a_cancel_that_a_dead_process_has_not_read_is_kept(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(HANGING)
    service = install_service(timings=Timings(heartbeat=60.0, queue=0.02))
    async with api.open("POST", f"{API}/stream", BODY) as stream:
        await stream.until("content")
        await service.log.flush()
        run_id = run_of(stream)
        await Run.objects.aupdate(cancel_requested_at=timezone.now())
        assert await lose_lease(run_id) == RunStatus.CANCELLED
    run = await Run.objects.aget()
    assert (run.status, run.stop_reason) == ("cancelled", "cancelled")
    assert (await Message.objects.aget(role="assistant")).parts[0]["text"] == "Hal"


async def test_an_operator_can_take_a_run_from_its_worker(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(HANGING, chat.answer("Hallo"))
    install_service(timings=QUICK)
    async with api.open("POST", f"{API}/stream", BODY) as stream:
        await stream.until("content")
        take_back = recovery.take_back
        run_id = run_of(stream)
        assert await database.execute_write(take_back, run_id, lambda runs: None)
        whole = await stream.end()
    assert whole.events[2:] == ["restarted", "content", "complete", "done"]
    assert not await database.execute_write(take_back, run_id, lambda runs: None)


async def test_a_worker_that_lost_a_run_reserves_nothing(
    api: Api, upstream: StandInProvider, agent_settings: ChangeSettings, tools: Tools
) -> None:
    await Limit.objects.acreate(kind="organization", name="", tokens_per_day=10**6)
    upstream.reply(BOTH, chat.answer("Done."))
    loops = changed_loops(toolbox=tools.loops())
    service = install_service(timings=Timings(heartbeat=60.0, queue=60.0), agents=loops)
    async with api.open("POST", f"{API}/stream", BODY) as stream:
        await stream.until("tool_result")
        run_id = run_of(stream)
        await until_saved(run_id, ["user", "assistant", "tool"])
        execution = service.worker.executions[run_id]
        assert await lose_lease(run_id) == RunStatus.QUEUED
        assert not await Reservation.objects.aexists()
        charged = (await Account.objects.aget(period__startswith="day")).tokens
        tools.may_end.set()
        async with asyncio.timeout(SECONDS):
            await execution.ended.wait()
        assert not await Reservation.objects.aexists()
        after = (await Account.objects.aget(period__startswith="day")).tokens
        assert after == charged
        assert len(upstream.requests) == 1
    run = await Run.objects.aget()
    assert (run.status, run.worker) == ("queued", "")


async def test_an_attempt_that_is_claimed_by_the_same_process_is_another(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(HANGING, chat.answer("Hallo"))
    service = install_service(timings=Timings(heartbeat=60.0, queue=60.0))
    run = await service.start(RunRequest(input="Hi", principal=Principal("default")))
    await until(lambda: len(upstream.requests) == 1)
    assert await lose_lease(run.id) == RunStatus.QUEUED
    # The first execution has not noticed that yet: it ends before the second begins.
    await service.execute_queued(run.id)
    ended = await Run.objects.aget()
    assert (ended.status, ended.attempt) == ("completed", 2)
    assert upstream.gone.is_set()
    with pytest.raises(OwnershipLost):
        await service.executor.execute(run.id, 1)


async def test_a_reader_counts_wherever_the_run_is_executed(
    api: Api,
    upstream: StandInProvider,
    other_process: RunService,
    agent_settings: ChangeSettings,
) -> None:
    upstream.reply(HANGING, Reply(chat.pieces("Ser"), end="hang"))
    agent_settings(run_abandon_seconds=2.5)
    service = install_service(timings=Timings(heartbeat=0.02, queue=60.0))
    async with api.open("POST", f"{API}/stream", BODY) as stream:
        await stream.until("content")
        run_id = run_of(stream)
        assert await lose_lease(run_id) == RunStatus.QUEUED
        execution = asyncio.create_task(other_process.execute_queued(run_id))
        await stream.until("content", 2)
        await asyncio.sleep(4.5)  # longer than a run without readers goes on
        assert not execution.done()
        await service.cancel(run_id)
        await stream.end()
        await execution


async def test_a_cancel_during_an_outage_is_kept_until_its_end(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(HANGING)
    access = FaultyDatabase()
    timings = Timings(heartbeat=0.02, queue=60.0, least_finish=0.1)
    service = install_service(access=access, timings=timings)
    async with api.open("POST", f"{API}/stream", BODY) as stream:
        await stream.until("content")
        await service.log.flush()
        execution = service.worker.executions[run_of(stream)]
        access.refuse, access.timeout_seconds = 10**6, 0.1
        assert service.executor.stop(run_of(stream))
        async with asyncio.timeout(SECONDS):
            await execution.ended.wait()
        assert not execution.is_stored
        access.refuse, access.timeout_seconds = 0, 30.0
        await until(lambda: not service.worker.lost_cancels)
        assert (await Run.objects.aget()).cancel_requested_at
        assert await lose_lease(run_of(stream)) == RunStatus.CANCELLED
    assert len(upstream.requests) == 1


async def test_an_end_that_the_database_did_not_store_is_reached_by_another_attempt(
    api: Api, upstream: StandInProvider
) -> None:
    held = asyncio.Event()
    upstream.reply(
        Reply(chat.pieces("Hal", "lo") + chat.ending(), chunk_size=100, held=held),
        chat.answer("Hello"),
    )
    access = FaultyDatabase()
    timings = Timings(heartbeat=0.02, queue=0.02, least_finish=0.1)
    service = install_service(access=access, timings=timings)
    async with api.open("POST", f"{API}/stream", BODY) as stream:
        await stream.until("connected")
        await until(lambda: upstream.requests)
        execution = service.worker.executions[run_of(stream)]
        access.refuse, access.timeout_seconds = 10**6, 0.1
        held.set()
        async with asyncio.timeout(SECONDS):
            await execution.ended.wait()
        access.refuse, access.timeout_seconds = 0, 30.0
        assert await lose_lease(run_of(stream)) == RunStatus.QUEUED
        await stream.hang_up()
    whole = await api.get(f"{API}/runs/{run_of(stream)}/events")
    assert "error" not in [*stream.response.events, *whole.events]
    assert whole.events[-4:] == ["restarted", "content", "complete", "done"]
