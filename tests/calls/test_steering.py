"""Python code that steers runs."""

import asyncio

import pytest

from streaming import Agent
from streaming.events import Complete
from streaming.exceptions import InvalidRequest, RunEnded
from streaming.models import Run
from streaming.testing.provider import StandInProvider
from tests.calls.test_busy import answering
from tests.client import Api


async def test_a_text_becomes_the_next_run_in_a_process_that_serves_nothing(
    api: Api, support: Agent, upstream: StandInProvider
) -> None:
    end = asyncio.Event()
    active = await answering(support, upstream, end)
    assert len(await active.steer("second")) == 32
    for text in ("", " ", "a\0b"):
        with pytest.raises(InvalidRequest, match="text"):
            await active.steer(text)
    end.set()
    [complete] = [e async for e in active.events() if isinstance(e, Complete)]
    following = await Run.objects.aget(pk=complete.metadata.next_run_id)
    while following.status != "completed":
        await asyncio.sleep(0.01)
        await following.arefresh_from_db()
    assert following.input == "second"
    with pytest.raises(RunEnded):
        await active.steer("late")


async def test_a_caller_that_leaves_a_steered_run_does_not_cancel_it(
    api: Api, support: Agent, upstream: StandInProvider
) -> None:
    end = asyncio.Event()
    active = await answering(support, upstream, end)
    steering = asyncio.create_task(
        support.run("second", conversation="c", on_busy="steer")
    )
    while not await Run.objects.filter(inputs__text="second").aexists():  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    steering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await steering
    end.set()
    assert (await active.wait()).stop_reason == "end_turn"
