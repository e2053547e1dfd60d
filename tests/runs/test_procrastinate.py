"""The executor with procrastinate: jobs, workers, and what happens when they fail."""

import asyncio
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import transaction

from streaming import conf, runs
from streaming.agents.loops import make_loops
from streaming.models import Run, RunStatus, Worker
from streaming.principals import Principal
from streaming.runs import RunRequest, RunService, lifecycle
from streaming.runs.executors.procrastinate import jobs
from streaming.runs.executors.procrastinate.fetching import PatientConnector
from streaming.runs.timings import Timings
from streaming.runs.worker_rows import count_workers
from streaming.storage import database
from streaming.testing.provider import Reply, StandInProvider
from tests import chat
from tests.agents.conftest import InstallApp, apps_directory, install  # noqa: F401
from tests.client import API, SECONDS, Api, all_runs_end
from tests.conftest import ChangeSettings
from tests.faults.database import FaultyDatabase
from tests.runs.jobs import (
    all_jobs,
    delete,
    disconnect,
    job_of,
    set_status,
    working,
)

pytestmark = [
    pytest.mark.postgresql,
    pytest.mark.usefixtures("job_tables", "model", "procrastinate"),
]

QUICK = Timings(job_repair=0.2)
HANGING = Reply(chat.pieces("x"), end="hang")


@pytest.fixture
def procrastinate(model: None, agent_settings: ChangeSettings) -> None:
    """The service enqueues jobs."""
    agent_settings(run_executor="procrastinate")


def enqueue(agent: str = "") -> Run:
    """Enqueue a run, as synchronous code does."""
    return runs.enqueue(
        RunRequest(
            input="Hi",
            principal=Principal("default"),
            agent=agent,
            background=True,
        )
    )


aenqueue = sync_to_async(enqueue)
jobs_now = sync_to_async(all_jobs)


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition; two hundred runs start slowly on a busy machine."""
    async with asyncio.timeout(6 * SECONDS):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def until_status(run_id: str, status: str) -> Run:
    """Wait for the status of a run."""
    async with asyncio.timeout(SECONDS):
        while True:
            run = await Run.objects.aget(pk=run_id)
            if run.status == status:
                return run
            await asyncio.sleep(0.02)


async def no_job_is_left() -> None:
    """Wait until all jobs have ended."""
    async with asyncio.timeout(SECONDS):
        while await jobs_now():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def test_a_job_is_inserted_in_the_transaction_of_its_run() -> None:
    with pytest.raises(RuntimeError), transaction.atomic():
        enqueue()
        assert len(all_jobs()) == 1
        raise RuntimeError
    assert (all_jobs(), Run.objects.count()) == ([], 0)
    run = enqueue()
    [(job_id, status, queue, priority)] = all_jobs()
    assert (status, queue, priority) == ("todo", "streaming.default", 0)
    assert Run.objects.get().job_id == run.job_id == job_id


AGENTS = """
    from streaming import Agent

    fast = Agent("fast", priority=10, permission="anyone")
    slow = Agent("slow", queue="slow", priority=-5, permission="anyone")
    usual = Agent("usual", permission="anyone")
"""


def test_a_job_has_the_queue_and_the_priority_of_its_agent(
    install: InstallApp,  # noqa: F811
) -> None:
    install(agents=AGENTS)
    stored = [enqueue(name) for name in ("slow", "fast", "usual")]
    assert [(run.queue, run.priority) for run in stored] == [
        ("slow", -5),
        ("default", 10),
        ("default", 0),
    ]
    assert [job[2:] for job in all_jobs()] == [
        ("streaming.slow", -5),
        ("streaming.default", 10),
        ("streaming.default", 0),
    ]


async def test_a_process_that_serves_requests_executes_nothing(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(chat.answer("Hal", "lo"))
    async with api.open("POST", f"{API}/stream", {"input": "Hi"}) as stream:
        await stream.until("connected")
        run_id = stream.response.headers["x-run-id"]
        # Its turn of the queue, if it had one, would have come.
        await asyncio.sleep(1)
        run = await Run.objects.aget(pk=run_id)
        assert (run.status, run.worker) == ("queued", "")
        async with working() as worker:
            whole = await stream.end()
            assert not runs.get_service().worker.executions
    assert whole.events == ["connected", "content", "content", "complete", "done"]
    run = await Run.objects.aget(pk=run_id)
    assert (run.worker, run.attempt) == (worker.worker.name, 1)
    await no_job_is_left()


async def test_only_workers_have_rows(
    api: Api, agent_settings: ChangeSettings, tmp_path: Path
) -> None:
    agent_settings(metrics_token="only-for-scrapes", metrics_dir=str(tmp_path))
    at_once = Timings(worker_report=0)
    web = RunService(
        make_loops(), conf.get(), database.default, name="web", timings=at_once
    )

    async def count() -> int:
        await report_now(web)
        return (await sync_to_async(count_workers)(60)).serving

    try:
        web.serve()
        assert await count() == 0
        assert (tmp_path / f"{os.getpid()}.sock").exists()  # its metrics are exported
        async with working(timings=at_once) as worker:
            await report_now(worker)
            assert await count() == 1
            assert [row.name async for row in Worker.objects.all()] == ["worker"]
    finally:
        await web.aclose()


async def report_now(service: RunService) -> None:
    """Have a process report itself, as its thread of leases does."""

    async def drain() -> None:
        raise AssertionError("not requested")

    report = service._telemetry.report(drain)
    await sync_to_async(report.write_if_due)()


async def test_a_run_is_executed_as_soon_as_it_is_enqueued(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(*[chat.answer("Hallo")] * 3)
    async with working():
        for _ in range(3):
            assert (await api.run("Hi")).json["output"] == "Hallo"
    await no_job_is_left()


async def test_two_hundred_runs_are_executed_at_a_time(
    api: Api, upstream: StandInProvider, agent_settings: ChangeSettings
) -> None:
    agent_settings(llm_first_token_timeout_seconds=300, llm_silence_timeout_seconds=300)
    together = asyncio.Event()
    pieces = [chat.pieces("Hal"), chat.pieces("lo") + chat.ending()]
    upstream.reply(*[Reply.of(pieces, held=together)] * 200)
    async with working() as worker:
        started = [
            asyncio.create_task(
                runs.get_service().start(
                    RunRequest(
                        input="Hi", principal=Principal("default"), background=True
                    )
                )
            )
            for _ in range(200)
        ]
        await asyncio.gather(*started)
        await until(lambda: upstream.active == 200)
        assert len(worker.worker.executions) == 200
        together.set()
        await all_runs_end()
    ended = Run.objects.values_list("status", "attempt", "worker")
    assert {row async for row in ended} == {("completed", 1, "worker")}
    assert len(upstream.requests) == 200
    await no_job_is_left()


async def test_no_more_runs_than_allowed_are_executed_at_a_time(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(HANGING, HANGING, chat.answer("Hallo"))
    async with working(concurrency=2) as worker:
        queued = [await aenqueue() for _ in range(3)]
        await until(lambda: upstream.active == 2)
        await asyncio.sleep(0.5)  # a third job would have been fetched
        assert {*worker.worker.executions} == {run.id for run in queued[:2]}
        await runs.get_service().cancel(queued[0].id)
        await until_status(queued[2].id, "completed")
        await runs.get_service().cancel(queued[1].id)


async def test_runs_of_a_higher_priority_are_executed_first(
    api: Api,
    upstream: StandInProvider,
    install: InstallApp,  # noqa: F811
) -> None:
    install(agents=AGENTS)
    upstream.reply(*[chat.answer("Hallo")] * 4)
    queued = [await aenqueue(n) for n in ("slow", "usual", "fast", "usual")]
    async with working(concurrency=1):
        await all_runs_end()
    ended = Run.objects.order_by("ended_at").values_list("id", flat=True)
    slow, usual, fast, later = (run.id for run in queued)
    assert [each async for each in ended] == [fast, usual, later, slow]


async def test_a_worker_executes_the_runs_of_its_queues(
    api: Api,
    upstream: StandInProvider,
    install: InstallApp,  # noqa: F811
) -> None:
    install(agents=AGENTS)
    upstream.reply(*[chat.answer("Hallo")] * 2)
    slow, usual = await aenqueue("slow"), await aenqueue("usual")
    async with working("first", queues=["slow"]):
        assert (await until_status(slow.id, "completed")).worker == "first"
        assert (await Run.objects.aget(pk=usual.id)).status == "queued"
    async with working("second"):
        assert (await until_status(usual.id, "completed")).worker == "second"


async def test_a_queued_run_is_cancelled_with_its_job(api: Api) -> None:
    run = await aenqueue()
    assert await runs.get_service().cancel(run.id) == {run.id}
    assert (await Run.objects.aget()).status == "cancelled"
    assert await jobs_now() == []


async def test_a_run_is_cancelled_between_the_fetch_and_its_claim(api: Api) -> None:
    run = await aenqueue()
    assert run.job_id
    await sync_to_async(set_status)(run.job_id, "doing")
    await runs.get_service().cancel(run.id)
    assert (await Run.objects.aget()).status == "cancelled"
    claim = await database.execute_write(lifecycle.claim, run.id, "worker")
    assert claim is None


async def test_a_running_run_is_cancelled_at_the_provider_by_its_job(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(HANGING)
    # The worker does not read the row of the run within the time of this test.
    async with working(timings=Timings(heartbeat=60)) as worker:
        run = await runs.get_service().start(
            RunRequest(input="Hi", principal=Principal("default"), background=True)
        )
        await until(lambda: worker.worker.executions and upstream.active)
        await runs.get_service().cancel(run.id)
        async with asyncio.timeout(SECONDS):
            await upstream.gone.wait()
        await until_status(run.id, "cancelled")
        await no_job_is_left()


async def test_a_running_run_is_cancelled_by_its_row_if_its_job_is_lost(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(HANGING)
    async with working() as worker:
        run = await aenqueue()
        await until(lambda: worker.worker.executions and upstream.active)
        await sync_to_async(delete)(run.job_id)
        await sync_to_async(runs.cancel_from_thread)([run.id])
        await until_status(run.id, "cancelled")


async def test_the_cancellation_of_an_ended_run_does_nothing(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(chat.answer("Hallo"))
    async with working():
        run = await aenqueue()
        await until_status(run.id, "completed")
        assert await runs.get_service().cancel(run.id) == set()


async def test_a_cancellation_is_rolled_back_with_its_transaction(api: Api) -> None:
    run = await aenqueue()

    def cancel() -> None:
        with pytest.raises(RuntimeError), transaction.atomic():
            assert runs.cancel_from_thread([run.id]) == {run.id}
            assert all_jobs() == []
            raise RuntimeError

    await sync_to_async(cancel)()
    assert (await Run.objects.aget()).status == "queued"
    assert [job[0] for job in await jobs_now()] == [run.job_id]


async def test_a_late_job_of_a_claimed_run_does_nothing(
    api: Api, upstream: StandInProvider
) -> None:
    run = await aenqueue()
    assert await database.execute_write(lifecycle.claim, run.id, "another")
    async with working():
        await no_job_is_left()
    stored = await Run.objects.aget()
    assert (stored.status, stored.worker, stored.attempt) == ("running", "another", 1)
    assert not upstream.requests


async def test_a_job_repeats_a_claim_whose_response_is_lost(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(chat.answer("Hallo"))
    access = FaultyDatabase()
    access.lose_answers = 1
    run = await aenqueue()
    async with working(access=access):
        assert (await until_status(run.id, "completed")).attempt == 1
        await no_job_is_left()
    assert access.cut == ["claim"]


@pytest.mark.parametrize("fate", ["deleted", "doing", "never inserted"])
async def test_a_queued_run_without_a_job_is_enqueued_again(
    api: Api, upstream: StandInProvider, fate: str
) -> None:
    upstream.reply(chat.answer("Hallo"))
    run = await aenqueue()
    assert run.job_id
    if fate == "doing":
        await sync_to_async(set_status)(run.job_id, "doing")
    else:
        await sync_to_async(delete)(run.job_id)
    if fate == "never inserted":
        await Run.objects.aupdate(job_id=None)
    async with working(timings=QUICK):
        ended = await until_status(run.id, "completed")
        assert ended.job_id != run.job_id
        await no_job_is_left()


async def test_two_processes_enqueue_a_run_again_once(api: Api) -> None:
    run = await aenqueue()
    await sync_to_async(delete)(run.job_id)
    again = partial(database.execute_write, jobs.defer_again, run.id, run.job_id)
    assert [await again(), await again()] == [True, False]
    [(job_id, *_)] = await jobs_now()
    assert job_id == await sync_to_async(job_of)(run.id)


async def test_a_run_of_an_unknown_agent_waits_for_a_worker_that_has_it(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(chat.answer("Hallo"))
    run = await aenqueue()
    await sync_to_async(delete)(run.job_id)
    await Run.objects.aupdate(agent="newer")
    await database.execute_write(jobs.defer, [await Run.objects.aget()])
    async with working(timings=QUICK):
        await no_job_is_left()
        assert (await Run.objects.aget()).status == "queued"
        async with asyncio.timeout(SECONDS):
            while not await jobs_now():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await Run.objects.aupdate(agent="")
        await until_status(run.id, "completed")


async def test_runs_go_on_over_lost_connections(
    api: Api, upstream: StandInProvider, job_tables: int
) -> None:
    held = asyncio.Event()
    pieces = [chat.pieces("Hal"), chat.pieces("lo") + chat.ending()]
    upstream.reply(*[Reply.of(pieces, held=held)] * 5, chat.answer("new"), HANGING)
    async with working() as worker:
        first = [await aenqueue() for _ in range(5)]
        await until(lambda: upstream.active == 5)
        for _ in range(3):
            async with asyncio.timeout(SECONDS):  # the worker connects again
                while not await sync_to_async(disconnect)(job_tables):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            await asyncio.sleep(0.2)
        new = await aenqueue()
        assert (await until_status(new.id, "completed")).attempt == 1
        await until(lambda: len(worker.worker.executions) == 5)
        held.set()
        for run in first:
            ended = await until_status(run.id, "completed")
            assert (ended.attempt, ended.worker) == (1, "worker")
        hanging = await aenqueue()
        await until(lambda: upstream.active == 1)
        upstream.gone.clear()
        await runs.get_service().cancel(hanging.id)
        await until_status(hanging.id, "cancelled")


async def test_all_places_are_free_again_after_lost_connections(
    api: Api, upstream: StandInProvider, job_tables: int
) -> None:
    first, second = asyncio.Event(), asyncio.Event()
    pieces = [chat.pieces("Hal"), chat.pieces("lo") + chat.ending()]
    upstream.reply(*[Reply.of(pieces, held=first)] * 3)
    upstream.reply(*[Reply.of(pieces, held=second)] * 3)
    async with working(concurrency=3) as worker:
        executions = worker.worker.executions
        before = [await aenqueue() for _ in range(3)]
        await until(lambda: upstream.active == 3)
        await sync_to_async(disconnect)(job_tables)
        after = [await aenqueue() for _ in range(3)]
        await asyncio.sleep(1)  # the jobs would have been fetched, and executed
        assert {*executions} == {run.id for run in before}
        first.set()
        await until(lambda: {*executions} == {run.id for run in after})
        second.set()
        await all_runs_end()


async def test_an_outage_does_not_delay_the_end_of_a_worker(
    api: Api,
    upstream: StandInProvider,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def hang(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    upstream.reply(chat.answer("Hallo"))
    async with asyncio.timeout(6 * SECONDS):
        async with working(timings=Timings(run_stop=0.2)) as service:
            await aenqueue()
            await all_runs_end()
            await no_job_is_left()
            executor: Any = service.executor
            claiming = asyncio.create_task(hang())
            executor._executing.add(claiming)
            [fetching] = [
                task for task in asyncio.all_tasks() if "_fetch_forever" in repr(task)
            ]
            # The worker deletes its own row at the end.
            monkeypatch.setattr(PatientConnector, "execute_query_async", hang)
        await asyncio.wait([fetching, claiming])
    assert claiming.cancelled()
    assert caplog.text.count("jobs left to other workers") == 2


async def test_a_draining_worker_leaves_new_jobs_to_others(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(chat.answer("Hallo"))
    async with working("first") as first:
        await first.drain(0.1)
        run = await aenqueue()
        async with working("second"):
            assert (await until_status(run.id, "completed")).worker == "second"


async def test_a_job_that_was_fetched_when_the_drain_began_returns_to_the_queue(
    api: Api,
) -> None:
    run = await aenqueue()
    async with working(queues=["none"]) as service:
        service.worker.begin_drain()
        executor = service.executor
        await executor._execute_queued(run.id, "", run.job_id)  # type: ignore[attr-defined]
        stored = await Run.objects.aget()
        assert (stored.status, stored.attempt) == (RunStatus.QUEUED, 0)
        assert stored.job_id != run.job_id
