"""A wait that a cancellation of the waiting task does not end."""

import asyncio

import pytest

from streaming.aio.outlast import outlast


async def test_a_cancellation_is_reported_and_the_result_awaited() -> None:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[int] = loop.create_future()
    cancels: list[str] = []
    waiting = asyncio.create_task(outlast(future, lambda: cancels.append("cancel")))
    for _ in range(2):
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.sleep(0)
    future.set_result(7)
    assert await waiting == 7
    assert cancels == ["cancel", "cancel"]


async def test_a_cancelled_future_ends_the_wait() -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(outlast(future, bool))
    await asyncio.sleep(0)
    future.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
