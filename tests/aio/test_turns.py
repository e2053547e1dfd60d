"""One key's many callers delay those of another by one turn."""

import asyncio

import pytest

from streaming.aio.turns import Turns


async def test_the_callers_of_a_key_come_one_by_one_and_others_meanwhile() -> None:
    turns = Turns()
    inside: list[str] = []
    other_came, leave = asyncio.Event(), asyncio.Event()

    async def call(key: str) -> None:
        async with turns.of(key, 10):
            inside.append(key)
            if key == "other":
                other_came.set()
            await leave.wait()

    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(call("busy"))
        group.create_task(call("other"))
        await other_came.wait()
        assert inside == ["busy", "other"]
        leave.set()
    assert inside.count("busy") == 20
    assert not turns._locks


async def test_a_wait_has_a_limit_and_a_cancelled_one_takes_no_turn() -> None:
    turns = Turns()

    async def call() -> None:
        async with turns.of("busy", 10):
            pass

    async with turns.of("busy", 10):
        with pytest.raises(TimeoutError):
            async with turns.of("busy", 0.01):
                pytest.fail("two callers are inside")
        waiting = asyncio.create_task(call())
        await asyncio.sleep(0)
        waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await call()
