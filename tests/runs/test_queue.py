"""The queue: each run is claimed once, in turns of owners, within the places."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from streaming import conf, runs
from streaming.agents.loops import make_loops
from streaming.event_log import OwnershipLost
from streaming.models import Run, RunStatus
from streaming.principals import Principal
from streaming.runs import RunRequest, RunService, lifecycle
from streaming.runs.queue import BATCH, next_in_queue
from streaming.runs.timings import Timings
from streaming.signals import run_ended
from streaming.storage import database
from streaming.testing.provider import Reply, StandInProvider
from tests import chat
from tests.client import API, SECONDS, Api, all_runs_end
from tests.conftest import ChangeSettings
from tests.faults.database import FaultyDatabase, install_service
from tests.runs.test_lifecycle import make_run
from tests.threads import in_thread


def enqueue(input: str = "Hi", org_id: str = "default", owner: str = "") -> Run:
    """Enqueue a run, as synchronous code does."""
    return runs.enqueue(
        RunRequest(
            input=input, principal=Principal(org_id, owner=owner), background=True
        )
    )


async def enqueue_some(count: int) -> list[str]:
    """Enqueue runs in a thread."""
    return [(await in_thread(enqueue)).id for _ in range(count)]


@asynccontextmanager
async def serving(name: str) -> AsyncIterator[RunService]:
    """A process that serves, and shares only the database with others."""
    service = RunService(make_loops(), conf.get(), database.default, name=name)
    service.serve()
    yield service
    await service.aclose()


async def until(condition: object) -> None:
    """Wait for a condition, given as a function."""
    assert callable(condition)
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.mark.django_db
def test_owners_take_turns() -> None:
    long = [enqueue(org_id="acme", owner="1").id for _ in range(4)]
    other = enqueue(org_id="acme", owner="2").id
    outside = [enqueue(org_id="umbrella").id for _ in range(2)]
    assert next_in_queue(10, [""]) == [
        *(long[0], other, outside[0]),
        *(long[1], outside[1]),
        *long[2:],
    ]
    assert next_in_queue(2, [""]) == [long[0], other]


@pytest.mark.django_db
def test_a_higher_priority_comes_first_within_a_turn() -> None:
    def enqueue_with(priority: int, owner: str) -> str:
        run = enqueue(org_id="acme", owner=owner)
        Run.objects.filter(pk=run.pk).update(priority=priority)
        return run.id

    usual, low, high = (enqueue_with(each, "1") for each in (0, -1, 10))
    other, urgent = (enqueue_with(each, "2") for each in (0, 20))
    assert next_in_queue(10, [""]) == [urgent, high, usual, other, low]


@pytest.mark.django_db
def test_runs_are_selected_by_their_queues() -> None:
    slow, usual, earlier = (enqueue() for _ in range(3))
    Run.objects.filter(pk=slow.pk).update(queue="slow")
    Run.objects.filter(pk=earlier.pk).update(queue="")  # of the previous version
    assert usual.queue == "default"
    assert next_in_queue(10, [""], ["slow"]) == [slow.id]
    assert next_in_queue(10, [""], ["default"]) == [usual.id, earlier.id]
    assert next_in_queue(10, [""], ["slow", "default"]) == [
        *(slow.id, usual.id, earlier.id)
    ]
    assert next_in_queue(10, [""], ["other"]) == []


@pytest.mark.usefixtures("_quick")
async def test_a_worker_of_its_own_keeps_no_places_for_requests(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(*[Reply(chat.pieces("x"), end="hang")] * 4)
    await enqueue_some(5)
    service = RunService(make_loops(), conf.get(), database.default, name="worker")
    service.work()
    await until(lambda: len(service.worker.executions) == 4)
    await service.aclose()


@pytest.mark.django_db
def test_only_queued_runs_are_claimed_and_each_once() -> None:
    queued = [make_run(RunStatus.QUEUED).id for _ in range(3)]
    running = make_run(RunStatus.RUNNING).id
    ended = make_run(RunStatus.COMPLETED).id
    assert set(next_in_queue(10, [""])) == set(queued)
    claims = lifecycle.claim_all([*queued[:2], running, ended], "one")
    expected = [(run_id, 1) for run_id in sorted(queued[:2])]
    assert [(claim.id, claim.attempt) for claim in claims] == expected
    assert [c.id for c in lifecycle.claim_all(queued, "other")] == queued[2:]
    assert next_in_queue(10, [""]) == []


@pytest.mark.django_db
def test_a_claim_of_many_runs_has_two_statements() -> None:
    queued = [make_run(RunStatus.QUEUED).id for _ in range(BATCH)]
    with CaptureQueriesContext(connection) as queries:
        assert len(lifecycle.claim_all(queued, "one")) == BATCH
    assert len(queries) == 2


@pytest.mark.django_db
def test_a_released_run_is_claimed_in_another_attempt() -> None:
    run = make_run(RunStatus.QUEUED)
    claim = lifecycle.claim(run.id, "one")
    assert claim
    assert lifecycle.return_to_queue(claim, {})
    assert not lifecycle.return_to_queue(claim, {})
    other = lifecycle.claim(run.id, "other")
    assert other
    assert (other.worker, other.attempt) == ("other", 2)


@pytest.mark.django_db
def test_a_look_at_the_queue_reads_an_index_over_queued_runs() -> None:
    queued = Run.objects.filter(status=RunStatus.QUEUED)
    plan = queued.order_by("created_at", "id")[:5].explain()
    if connection.vendor == "sqlite":  # PostgreSQL scans a table of so few rows
        assert "run_in_queue" in plan
    with CaptureQueriesContext(connection) as queries:
        assert next_in_queue(5, [""]) == []
    assert len(queries) == 1


@pytest.mark.usefixtures("transactional_db")
def test_a_run_is_enqueued_with_the_transaction_of_its_caller() -> None:
    with pytest.raises(RuntimeError), transaction.atomic():
        enqueue()
        raise RuntimeError
    assert not Run.objects.exists()
    with transaction.atomic():
        run = enqueue("Sum up my week.", owner="7")
    stored = Run.objects.get()
    assert (stored.pk, stored.status, stored.attempt) == (run.pk, "queued", 0)
    assert (stored.owner, stored.background, stored.worker) == ("7", True, "")
    assert (stored.provider, stored.model) == ("demo", "demo-1")


@pytest.fixture
def _quick(model: None, agent_settings: ChangeSettings) -> None:
    agent_settings(run_max=4)


@pytest_asyncio.fixture
async def two(api: Api, model: None) -> AsyncIterator[list[RunService]]:
    """Two processes that serve."""
    async with serving("one") as one, serving("two") as other:
        yield [one, other]


async def test_fifty_runs_are_executed_once_each_by_two_processes(
    two: list[RunService], upstream: StandInProvider
) -> None:
    upstream.reply(*[chat.answer("Hallo")] * 50)
    ids = await enqueue_some(50)
    await all_runs_end()
    ended = [run async for run in Run.objects.order_by("id")]
    assert [run.id for run in ended] == sorted(ids)
    assert {(run.status, run.attempt) for run in ended} == {("completed", 1)}
    assert {run.worker for run in ended} <= {"one", "two"}
    assert len(upstream.requests) == 50


@pytest.mark.usefixtures("_quick")
async def test_queued_runs_and_requests_leave_each_other_places(
    api: Api, upstream: StandInProvider
) -> None:
    upstream.reply(*[Reply(chat.pieces("x"), end="hang")] * 6)
    service = runs.get_service()
    executions = service.worker.executions
    await enqueue_some(6)
    await until(lambda: len(executions) == 3)  # one place is kept for a request
    queued = await Run.objects.filter(status=RunStatus.QUEUED).acount()
    assert queued == 3
    async with api.open("POST", f"{API}/stream", {"input": "Hi"}) as stream:
        await stream.until("content")
        assert len(executions) == 4
        refused = await api.run("Hi")
        assert (refused.status, refused.json["code"]) == (429, "rate_limited")
        run_id = stream.response.headers["x-run-id"]
        await api.post(f"{API}/runs/{run_id}/cancel")
        await stream.end()


@pytest.mark.usefixtures("_quick")
async def test_requests_that_take_all_places_leave_the_next_one_to_the_queue(
    api: Api, upstream: StandInProvider
) -> None:
    go_on = asyncio.Event()
    parts = [chat.pieces("Hal"), chat.pieces("lo") + chat.ending()]
    upstream.reply(*[Reply(chat.pieces("x"), end="hang")] * 4)
    upstream.reply(Reply.of(parts, held=go_on))
    service = runs.get_service()
    started = [
        await service.start(RunRequest(input="Hi", principal=Principal("default")))
        for _ in range(4)
    ]
    await until(lambda: len(upstream.requests) == 4)  # each has its reply
    [queued] = await enqueue_some(1)
    await until(lambda: service.worker.free_places < 0)  # the next one is reserved
    await service.cancel(started[0].id)
    await until(lambda: started[0].id not in service.worker.executions)
    assert (await api.run("Hi")).status == 429
    go_on.set()
    async with asyncio.timeout(SECONDS):
        while (await Run.objects.aget(pk=queued)).status != "completed":  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    await until(lambda: service.worker.free_places == 1)


async def test_a_process_that_only_starts_its_own_runs_claims_none(
    api: Api, model: None
) -> None:
    service = runs.get_own_service()
    [queued] = await enqueue_some(1)
    service.executor.wake()
    await asyncio.sleep(1)
    assert (await Run.objects.aget(pk=queued)).status == "queued"


async def test_a_draining_process_claims_nothing(
    api: Api, upstream: StandInProvider, model: None
) -> None:
    upstream.reply(chat.answer("Hallo"))
    service = runs.get_service()
    await service.drain(0.1)
    [queued] = await enqueue_some(1)
    service.executor.wake()
    await asyncio.sleep(1)
    run = await Run.objects.aget(pk=queued)
    assert (run.status, run.attempt) == ("queued", 0)
    async with serving("other"):
        await all_runs_end()
    assert (await Run.objects.aget(pk=queued)).worker == "other"


async def test_a_run_that_is_claimed_when_the_drain_begins_returns_to_the_queue(
    api: Api, model: None
) -> None:
    service = runs.get_own_service()
    [queued] = await enqueue_some(1)
    claim = await database.execute_write(lifecycle.claim, queued, service.worker.name)
    assert claim
    service.worker.begin_drain()
    await service.executor.execute(claim.id, claim.attempt)
    run = await Run.objects.aget(pk=queued)
    assert (run.status, run.worker, run.attempt) == ("queued", "", 1)


async def test_a_claimed_run_that_is_cancelled_before_the_drain_ends(
    api: Api, model: None
) -> None:
    ended: list[str] = []

    def receive(run: Run, **_: object) -> None:
        ended.append(run.status)

    service = runs.get_own_service()
    [queued] = await enqueue_some(1)
    claim = await database.execute_write(lifecycle.claim, queued, service.worker.name)
    assert claim
    assert await service.cancel(queued) == {queued}
    service.worker.begin_drain()
    run_ended.connect(receive)
    try:
        await service.executor.execute(claim.id, claim.attempt)
        await runs.aclose()  # waits for the receivers
    finally:
        run_ended.disconnect(receive)
    assert ended == ["cancelled"]
    log = await api.get(f"{API}/runs/{queued}/events")
    assert log.events == ["connected", "complete", "done"]


async def test_a_run_whose_claim_is_in_progress_at_the_end_returns_to_the_queue(
    api: Api, model: None
) -> None:
    claimed, go_on = threading.Event(), threading.Event()

    def hold(claim: Callable[[], object]) -> object:
        claims = claim()
        claimed.set()
        assert go_on.wait(SECONDS)
        return claims

    access = FaultyDatabase()
    access.around["claim_all"] = hold
    install_service(access=access).serve()
    [queued] = await enqueue_some(1)
    runs.wake_executors()
    assert await asyncio.to_thread(claimed.wait, SECONDS)
    closing = asyncio.create_task(runs.aclose())
    await asyncio.sleep(0.1)
    go_on.set()
    await closing
    run = await Run.objects.aget(pk=queued)
    assert (run.status, run.worker, run.attempt) == ("queued", "", 1)


async def test_a_claim_whose_response_is_lost_is_repeated(
    api: Api, upstream: StandInProvider, model: None
) -> None:
    upstream.reply(*[chat.answer("Hallo")] * 2)
    access = FaultyDatabase()
    await enqueue_some(2)
    access.lose_answers = 1
    service = install_service(access=access)
    service.serve()
    await all_runs_end()
    assert access.cut == ["claim_all"]
    ended = [run async for run in Run.objects.all()]
    assert {(run.status, run.attempt) for run in ended} == {("completed", 1)}
    assert len(upstream.requests) == 2
    await until(lambda: service.worker.coming == 0)


async def test_a_claim_whose_response_is_lost_at_the_end_returns_to_the_queue(
    api: Api, model: None
) -> None:
    access = FaultyDatabase()
    [queued] = await enqueue_some(1)
    service = install_service(access=access)
    access.lose_answers = 1
    access.after_cut = service.worker.begin_drain
    service.serve()
    await until(lambda: access.cut)
    await runs.aclose()
    run = await Run.objects.aget(pk=queued)
    assert (run.status, run.worker, run.attempt) == ("queued", "", 1)


@pytest.mark.parametrize("is_stored", [True, False])
async def test_a_claim_is_executed_once(
    api: Api, upstream: StandInProvider, model: None, is_stored: bool
) -> None:
    end = asyncio.Event()
    parts = [chat.pieces("Hal"), chat.pieces("lo") + chat.ending()]
    upstream.reply(Reply.of(parts, held=end))
    access = FaultyDatabase()
    service = install_service(access=access, timings=Timings(least_finish=0.1))
    [queued] = await enqueue_some(1)
    name = service.worker.name
    claim = await database.execute_write(lifecycle.claim, queued, name)
    assert claim
    execution = asyncio.create_task(service.worker.execute(claim))
    await until(lambda: upstream.requests)
    assert await database.execute_write(lifecycle.claim, queued, name) == claim
    with pytest.raises(OwnershipLost):
        await service.worker.execute(claim)
    if not is_stored:
        access.refuse, access.timeout_seconds = 10**6, 0.1
    end.set()
    await execution
    access.refuse = 0
    assert (await Run.objects.aget()).has_ended is is_stored
    with pytest.raises(OwnershipLost):
        await service.worker.execute(claim)
    assert len(upstream.requests) == 1


async def test_an_enqueued_run_is_claimed_at_once_in_a_process_that_serves(
    api: Api, upstream: StandInProvider, model: None
) -> None:
    upstream.reply(chat.answer("Hallo"))
    service = runs.get_service()
    [queued] = await enqueue_some(1)
    runs.wake_executors()
    await until(lambda: upstream.requests)
    await all_runs_end()
    assert (await Run.objects.aget(pk=queued)).worker == service.worker.name
