"""Many calls of one member or group delay those of another by one turn."""

import asyncio

import pytest

from streaming.aio.turns import TooManyWaiting, Turns

SECONDS = 30


async def test_the_calls_of_a_group_come_one_by_one_and_others_meanwhile() -> None:
    turns = Turns(20)
    inside: list[str] = []
    other_came, leave = asyncio.Event(), asyncio.Event()

    async def call(group: str) -> None:
        async with turns.of(group, "alice", SECONDS):
            inside.append(group)
            if group == "other":
                other_came.set()
            await leave.wait()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(20):
            tasks.create_task(call("busy"))
        tasks.create_task(call("other"))
        await other_came.wait()
        assert inside == ["busy", "other"]
        leave.set()
    assert inside.count("busy") == 20
    assert not turns._locks
    assert not turns._calls


async def test_a_member_delays_another_by_one_turn() -> None:
    turns = Turns(20)
    order: list[str] = []

    async def call(member: str) -> None:
        async with turns.of("acme", member, SECONDS):
            order.append(member)
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        for member in ["alice"] * 10 + ["bob"] * 2:
            tasks.create_task(call(member))
    assert order == ["alice", "bob"] * 2 + ["alice"] * 8


async def test_few_calls_of_a_member_wait() -> None:
    turns = Turns(2)

    async def call(member: str) -> None:
        async with turns.of("acme", member, SECONDS):
            pass

    async with asyncio.TaskGroup() as tasks, turns.of("acme", "alice", SECONDS):
        for member in ("alice", "alice", "bob"):
            tasks.create_task(call(member))
        await asyncio.sleep(0)
        with pytest.raises(TooManyWaiting):
            await call("alice")
    await call("alice")


async def test_a_wait_has_a_limit_and_a_cancelled_one_takes_no_turn() -> None:
    turns = Turns(20)

    async def call() -> None:
        async with turns.of("busy", "alice", SECONDS):
            pass

    async with turns.of("busy", "alice", SECONDS):
        for member in ("alice", "bob"):
            with pytest.raises(TimeoutError):
                async with turns.of("busy", member, 0.01):
                    pytest.fail("two calls are inside")
        waiting = asyncio.create_task(call())
        await asyncio.sleep(0)
        waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await call()
