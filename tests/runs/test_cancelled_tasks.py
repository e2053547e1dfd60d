"""Other code may cancel any task, also before its first step."""

import asyncio

import pytest

from streaming import runs
from streaming.exceptions import RateLimited
from streaming.models import Run
from streaming.principals import Principal
from streaming.runs import RunRequest
from streaming.runs.service import RunService
from streaming.testing.provider import StandInProvider
from tests import chat
from tests.client import API, SECONDS, Api, all_runs_end
from tests.conftest import ChangeSettings

pytestmark = pytest.mark.usefixtures("model")

REQUEST = RunRequest(input="Hi", principal=Principal("default"), conversation_id="c")


def cancel_tasks_of(coroutine: str) -> int:
    """Cancel the tasks of a coroutine, and return their number."""
    found = [
        task
        for task in asyncio.all_tasks()
        if getattr(task.get_coro(), "__qualname__", "") == coroutine
    ]
    return sum(task.cancel() for task in found)


async def start_until_cancelled(service: RunService, coroutine: str) -> None:
    """Start a run, and cancel the task of a coroutine before its first step."""
    start = asyncio.create_task(service.start(REQUEST))
    async with asyncio.timeout(SECONDS):
        while not cancel_tasks_of(coroutine):  # noqa: ASYNC110  (it has no event)
            await asyncio.sleep(0)
    await asyncio.wait([start], timeout=SECONDS)


async def test_a_run_whose_task_never_began_ends(
    api: Api, upstream: StandInProvider
) -> None:
    service = runs.get_service()
    await start_until_cancelled(service, "Worker._execute")
    await all_runs_end()
    run = await Run.objects.aget()
    assert (run.status, run.error_code) == ("failed", "internal_error")
    assert not upstream.requests
    assert not service.worker.executions
    upstream.reply(chat.answer("Hello"))
    body = {"input": "Hi", "conversation_id": "c"}
    assert (await api.post(f"{API}/run", body)).json["output"] == "Hello"


async def test_a_start_that_never_began_leaves_its_place(
    api: Api, upstream: StandInProvider, agent_settings: ChangeSettings
) -> None:
    agent_settings(run_max=1)
    service = runs.get_service()
    await start_until_cancelled(service, "RunService._start")
    upstream.reply(chat.answer("Hello"))
    try:
        await service.start(REQUEST)
    except RateLimited:
        pytest.fail("the place is taken for ever")
    await all_runs_end()
    assert await Run.objects.acount() == 1
    assert (await api.get("/ready")).status == 200
