"""A time limit that one task uses again and again."""

import asyncio
import time
from contextlib import closing, suppress

import pytest

from streaming.aio.deadline import Deadline


async def test_a_wait_beyond_the_limit_fails() -> None:
    with (
        closing(Deadline()) as deadline,
        pytest.raises(TimeoutError),
        deadline.within(0.01),
    ):
        await asyncio.Event().wait()


async def test_the_limit_can_be_moved_again_and_again() -> None:
    with closing(Deadline()) as deadline:
        for _ in range(8):
            with deadline.within(5):
                await asyncio.sleep(0.001)
        with pytest.raises(TimeoutError), deadline.within(0.01):
            await asyncio.Event().wait()
        with deadline.within(5):
            await asyncio.sleep(0.03)  # beyond the limit before


async def test_a_timer_that_fires_early_is_set_again() -> None:
    with closing(Deadline()) as deadline:
        with deadline.within(0.02):
            pass
        with pytest.raises(TimeoutError), deadline.within(0.06):
            await asyncio.Event().wait()


async def test_the_limit_can_be_suspended_within_a_block() -> None:
    with closing(Deadline()) as deadline:
        with deadline.within(0.01):
            deadline.suspend()
            await asyncio.sleep(0.03)
        with pytest.raises(TimeoutError), deadline.within(5):
            deadline.suspend()
            deadline.within(0.01)
            await asyncio.Event().wait()


async def test_a_swallowed_expiry_is_repeated_at_the_next_limit() -> None:
    task = asyncio.current_task()
    assert task
    with (
        closing(Deadline()) as deadline,
        pytest.raises(TimeoutError),
        deadline.within(0.01),
    ):
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        deadline.suspend()
        assert task.cancelling() == 0
        deadline.within(0.01)
        await asyncio.Event().wait()


async def test_the_error_can_be_chosen() -> None:
    with (
        closing(Deadline(ZeroDivisionError)) as deadline,
        pytest.raises(ZeroDivisionError),
        deadline.within(0.01),
    ):
        await asyncio.Event().wait()


async def test_between_two_blocks_nothing_expires() -> None:
    with closing(Deadline()) as deadline:
        with deadline.within(0.01):
            pass
        await asyncio.sleep(0.05)


async def test_a_cancelled_wait_is_not_expired() -> None:
    async def wait() -> None:
        with closing(Deadline()) as deadline, deadline.within(5):
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_expiry_and_a_cancellation_at_once_cancel() -> None:
    async def wait() -> None:
        task = asyncio.current_task()
        assert task
        with closing(Deadline()) as deadline, deadline.within(0.001):
            asyncio.get_running_loop().call_later(0.001, task.cancel)
            time.sleep(0.01)  # noqa: ASYNC251  (stop the loop: both are due at once)
            await asyncio.Event().wait()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(wait())


async def test_a_failure_passes_through() -> None:
    with (
        closing(Deadline()) as deadline,
        pytest.raises(ValueError, match="other"),
        deadline.within(5),
    ):
        raise ValueError("other")
