"""The contract of executors, for the one in the process and for one that queues."""

import asyncio
from collections.abc import Sequence

import pytest
import pytest_asyncio
from django.core.exceptions import ImproperlyConfigured
from django.db import connection

from streaming import conf, runs
from streaming.agents.loops import make_loops
from streaming.event_log import OwnershipLost, stored_log
from streaming.events import Done
from streaming.models import Message, Run
from streaming.principals import Principal
from streaming.runs import RunRequest, RunService
from streaming.runs.start import RunDefaults, start_runs
from streaming.storage import database
from streaming.testing.provider import Reply, StandInProvider
from tests import chat
from tests.client import API, SECONDS, Api, Response, all_runs_end
from tests.conftest import ChangeSettings
from tests.runs.queue_executor import QueueExecutor
from tests.writer import busy_writer

pytestmark = pytest.mark.usefixtures("model")

QUEUE = f"{QueueExecutor.__module__}.{QueueExecutor.__name__}"
BODY = {"input": "Hi", "conversation_id": "c"}


@pytest.fixture(
    params=[
        "in_process",
        QUEUE,
        pytest.param("procrastinate", marks=pytest.mark.postgresql),
    ]
)
def chosen(
    request: pytest.FixtureRequest, model: None, agent_settings: ChangeSettings
) -> str:
    """The executor of the service, by its setting."""
    if request.param == "procrastinate":
        request.getfixturevalue("job_tables")
    agent_settings(run_executor=request.param)
    return str(request.param)


@pytest_asyncio.fixture
async def executor(chosen: str, transactional_db: None) -> str:
    """The executor of the service, which also executes the runs."""
    runs.get_service().work()
    return chosen


@pytest.fixture
def queue(agent_settings: ChangeSettings) -> None:
    """The service queues its runs."""
    agent_settings(run_executor=QUEUE)


def queue_executor() -> QueueExecutor:
    """The service's executor, whose runs stay queued until it goes on."""
    executor = runs.get_service().executor
    assert isinstance(executor, QueueExecutor)
    return executor


@pytest.mark.usefixtures("chosen", "transactional_db")
async def test_a_process_that_works_executes_queued_runs() -> None:
    service = RunService(make_loops(), conf.get(), database.default)
    service.work()
    assert service.executor.executes_queued
    assert service._telemetry.load() == (0, 0)  # it has a row, although it is idle
    await service.aclose()


async def three_starts_wait(api: Api) -> list[asyncio.Task[Response]]:
    """Return three requests whose runs the busy writer is to insert."""
    tasks = [asyncio.create_task(api.run("Hi")) for _ in range(3)]
    async with asyncio.timeout(SECONDS):
        while starts_that_wait() < 3:  # noqa: ASYNC110  (the writer has no event)
            await asyncio.sleep(0.01)
    return tasks


def starts_that_wait() -> int:
    return sum(write.function is start_runs for write in database.default.pending)


async def start_executing() -> str:
    """Start a run, and wait until this process executes it."""
    service = runs.get_service()
    run = await service.start(RunRequest(input="Hi", principal=Principal("default")))
    async with asyncio.timeout(SECONDS):
        while run.id not in service.worker.executions:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return run.id


@pytest.mark.usefixtures("executor")
async def test_a_started_run_is_executed_once_by_its_claimant(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(chat.answer("Hal", "lo"))
    whole = await api.stream("Hi")
    assert whole.events == ["connected", "content", "content", "complete", "done"]
    assert [frame.number for frame in whole.frames[1:]] == [1, 2, 3, 4]
    run = await Run.objects.aget()
    assert (run.status, run.attempt) == ("completed", 1)
    assert run.worker == runs.get_service().worker.name
    assert len(upstream.requests) == 1


@pytest.mark.usefixtures("executor")
async def test_a_run_has_the_history_of_its_conversation(
    api: Api, upstream: StandInProvider
) -> None:
    for question, answer in (("one", "first"), ("two", "second")):
        upstream.reply(chat.answer(answer))
        body = {**BODY, "input": question}
        assert (await api.post(f"{API}/run", body)).json["output"] == answer
    sent = upstream.requests[-1].json["messages"]
    texts = [m["content"] for m in sent if m["role"] != "system"]
    assert texts == ["one", "first", "two"]


@pytest.mark.usefixtures("executor")
async def test_a_conversation_is_busy_until_its_run_ends(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(Reply(chat.pieces("x"), end="hang"), chat.answer("next"))
    async with api.open("POST", f"{API}/stream", BODY) as stream:
        await stream.until("connected")
        second = await api.post(f"{API}/stream", BODY)
        run_id = stream.response.headers["x-run-id"]
        assert (second.status, second.json["run_id"]) == (409, run_id)
        await stream.until("content")
        assert (await api.post(f"{API}/runs/{run_id}/cancel")).status == 202
        whole = await stream.end()
    assert whole.frames[-2].data["metadata"]["stop_reason"] == "cancelled"
    async with asyncio.timeout(SECONDS):
        await upstream.gone.wait()
    assert (await api.post(f"{API}/run", BODY)).json["output"] == "next"


@pytest.mark.usefixtures("executor")
async def test_runs_that_start_together_are_all_executed(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(*[chat.answer("Hallo")] * 3)
    async with busy_writer():
        tasks = await three_starts_wait(api)
    outputs = [(await task).json["output"] for task in tasks]
    assert outputs == ["Hallo"] * 3


@pytest.mark.usefixtures("executor")
async def test_a_run_is_loaded_from_the_database_for_its_claim_only(
    api: Api, upstream: StandInProvider
) -> None:
    service = runs.get_service()
    upstream.reply(chat.answer("Hallo"))
    result = await database.execute_write_batched(
        start_runs,
        RunRequest(input="Hi", principal=Principal("default"), context={"a": "b"}),
        RunDefaults(
            worker=service.worker.name, agents=make_loops(), history_chars=1000
        ),
        lambda runs: None,  # it is claimed already
    )
    for wrong in (0, 2):
        with pytest.raises(OwnershipLost):
            await service.executor.execute(result.run.id, wrong)
    await service.executor.execute(result.run.id, 1)
    assert (await Run.objects.aget()).status == "completed"
    roles = [m.role async for m in Message.objects.order_by("id")]
    assert roles == ["user", "assistant"]
    with pytest.raises(OwnershipLost):
        await service.executor.execute(result.run.id, 1)
    assert not service.executor.stop(result.run.id)


@pytest.mark.usefixtures("executor")
async def test_a_drain_hands_the_active_runs_over(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(Reply(chat.pieces("x"), end="hang"), chat.answer("Hallo"))
    run_id = await start_executing()
    path = f"{API}/runs/{run_id}/events"
    async with api.open("GET", path) as stream:
        await stream.until("content")
        await runs.get_service().aclose()
        whole = await stream.end()
    assert whole.events == ["connected", "content"]
    run = await Run.objects.aget()
    assert (run.status, run.worker, run.attempt) == ("queued", "", 1)
    await runs.aclose()
    runs.get_service().work()
    rest = await api.get(path, last_event_id=whole.frames[-1].id)
    assert rest.events == ["connected", "restarted", "content", "complete", "done"]
    assert [frame.number for frame in rest.frames[1:]] == [2, 3, 4, 5]
    restarted = rest.frames[1].data["metadata"]
    assert restarted == {"attempt": 2, "discard_after": 0}
    run = await Run.objects.aget()
    assert (run.status, run.attempt, run.crashes) == ("completed", 2, 0)
    assert run.llm_calls == 2


@pytest.mark.usefixtures("executor")
async def test_a_worker_whose_run_was_claimed_again_writes_no_more(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(Reply(chat.pieces("Hal", "lo"), end="hang"))
    run_id = await start_executing()
    async with api.open("GET", f"{API}/runs/{run_id}/events") as stream:
        await stream.until("content", 2)
        await Run.objects.aupdate(attempt=2)
        async with asyncio.timeout(SECONDS):
            await upstream.gone.wait()
        run = await Run.objects.aget()
        assert (run.status, run.attempt) == ("running", 2)
        # The readers here follow the owner of the second attempt.
        await database.execute_write(stored_log().append, run_id, 1000, [Done()])
        whole = await stream.end()
    assert whole.events == ["connected", "content", "content", "done"]
    assert whole.frames[-1].number == 1000
    assert not await Message.objects.filter(role="assistant").aexists()


@pytest.mark.usefixtures("queue")
async def test_runs_are_enqueued_in_the_transaction_that_inserts_them(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(*[chat.answer("Hallo")] * 3)
    executor = queue_executor()
    async with busy_writer():
        tasks = await three_starts_wait(api)
    for task in tasks:
        await task
    ids = {run_id async for run_id in Run.objects.values_list("id", flat=True)}
    assert [set(batch) for batch in executor.enqueued] == [ids]


async def test_a_run_that_cannot_be_enqueued_is_not_inserted(api: Api) -> None:
    in_transaction: list[bool] = []

    def refuse(queued: Sequence[Run]) -> None:
        in_transaction.append(connection.in_atomic_block)
        assert Run.objects.filter(pk__in=[run.pk for run in queued]).exists()
        raise RuntimeError("the queue is full")

    with pytest.raises(RuntimeError):
        await database.execute_write_batched(
            start_runs,
            RunRequest(input="Hi", principal=Principal("default")),
            RunDefaults(worker="", agents=make_loops(), history_chars=1),
            refuse,
        )
    assert in_transaction
    assert all(in_transaction)
    assert not await Run.objects.aexists()


@pytest.mark.usefixtures("queue")
async def test_a_queued_run_can_be_followed_before_it_is_claimed(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(chat.answer("Hallo"))
    queue_executor().paused = True
    async with api.open("POST", f"{API}/stream", BODY) as stream:
        await stream.until("connected")
        run_id = stream.response.headers["x-run-id"]
        state = (await api.get(f"{API}/runs/{run_id}")).json
        assert (state["status"], state["ended_at"]) == ("queued", None)
        listed = (await api.get(f"{API}/conversations")).json["conversations"]
        assert [each["active_run_id"] for each in listed] == [run_id]
        queue_executor().paused = False
        whole = await stream.end()
    assert whole.text == "Hallo"
    assert whole.events[-2:] == ["complete", "done"]


@pytest.mark.usefixtures("queue")
async def test_a_queued_run_is_cancelled_without_a_worker(
    api: Api, upstream: StandInProvider
) -> None:
    queue_executor().paused = True
    answer = asyncio.create_task(api.post(f"{API}/run", BODY))
    async with api.open("POST", f"{API}/stream", {"input": "Hi"}) as stream:
        await stream.until("connected")
        async with asyncio.timeout(SECONDS):
            while await Run.objects.acount() < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        async for run in Run.objects.all():
            cancelled = await api.post(f"{API}/runs/{run.id}/cancel")
            assert (cancelled.status, cancelled.json["status"]) == (202, "cancelled")
            again = await api.post(f"{API}/runs/{run.id}/cancel")
            assert again.status == 200
        whole = await stream.end()
    assert [frame.event for frame in whole.frames] == ["connected", "complete", "done"]
    assert [frame.number for frame in whole.frames[1:]] == [1, 2]
    metadata = whole.frames[1].data["metadata"]
    assert metadata["stop_reason"] == "cancelled"
    assert metadata["usage"]["total_tokens"] == 0
    summary = (await answer).json["execution_summary"]
    assert (summary["stop_reason"], summary["llm_calls"]) == ("cancelled", 0)
    assert not upstream.requests
    queue_executor().paused = False
    upstream.reply(chat.answer("next"))
    assert (await api.post(f"{API}/run", BODY)).json["output"] == "next"


@pytest.mark.usefixtures("queue")
async def test_a_drain_leaves_queued_runs_to_other_processes(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(chat.answer("Hallo"))
    queue_executor().paused = True
    service = runs.get_service()
    run = await service.start(RunRequest(input="Hi", principal=Principal("default")))
    await service.aclose()
    assert (await Run.objects.aget()).status == "queued"
    other = RunService(make_loops(), conf.get(), database.default, name="other")
    await all_runs_end()
    await other.aclose()
    ended = await Run.objects.aget(pk=run.pk)
    assert (ended.status, ended.worker) == ("completed", "other")


async def test_a_setting_that_names_no_executor_is_an_error(
    api: Api, agent_settings: ChangeSettings
) -> None:
    for name in ("nowhere", "streaming.runs.Nothing"):
        agent_settings(run_executor=name)
        with pytest.raises(ImproperlyConfigured, match=f"RUN_EXECUTOR=.*{name}"):
            runs.get_service()


@pytest.mark.usefixtures("executor")
async def test_pending_runs_follow_the_end_of_the_run_before_them(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(
        Reply(chat.pieces("x"), end="hang"), chat.answer("now"), chat.answer("later")
    )
    async with api.open("POST", f"{API}/stream", BODY) as active:
        await active.until("content")
        patient = {**BODY, "input": "patient", "on_busy": "queue"}
        async with api.open("POST", f"{API}/stream", patient) as second:
            await second.until("connected")
            urgent = {**BODY, "input": "urgent", "on_busy": "interrupt"}
            assert (await api.post(f"{API}/run", urgent)).json["output"] == "now"
            assert (await second.end()).text == "later"
        assert (await active.end()).text == "x"
    assert [run.attempt async for run in Run.objects.all()] == [1, 1, 1]
    assert runs.get_service().worker.coming == 0
