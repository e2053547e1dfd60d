"""The end of tasks in the background."""

import asyncio

import pytest

from streaming.aio import background
from streaming.aio.background import BackgroundTask, end_tasks


async def test_a_task_that_loses_a_cancellation_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(background, "CANCEL_SECONDS", 0.01)
    lost = []

    async def work() -> None:
        for _ in range(3):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                lost.append(True)  # as `asyncio.wait_for` does in Python 3.11
        await asyncio.Event().wait()

    task = BackgroundTask(work)
    task.ensure()
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await task.aclose()
    assert len(lost) == 3


async def test_nothing_is_waited_for_without_tasks() -> None:
    await end_tasks([])
    await BackgroundTask(lambda: asyncio.sleep(0)).aclose()
