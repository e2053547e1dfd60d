"""Tasks that cannot end the event loop."""

import asyncio
import sys
from collections.abc import Coroutine, Generator
from typing import Any, TypeVar

import pytest

from streaming.aio.containment import TaskCrash, contain_tasks

T = TypeVar("T")


class Panic(BaseException):
    """An exception that is no `Exception`, as extensions have."""


async def leave() -> None:
    sys.exit(3)


async def interrupt() -> None:
    raise KeyboardInterrupt


async def panic() -> None:
    raise Panic


async def fail() -> None:
    raise ValueError("usual")


async def careless() -> None:
    """Contain the tasks of this context, and start some."""
    contain_tasks()
    for start in (leave, interrupt, panic):
        with pytest.raises(TaskCrash):
            await asyncio.gather(start())
    with pytest.raises(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            group.create_task(leave())
    with pytest.raises(ValueError, match="usual"):
        await asyncio.create_task(fail(), name="usual")
    sleeping = asyncio.create_task(asyncio.sleep(60))
    await asyncio.sleep(0)
    sleeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sleeping


def test_contained_tasks_do_not_end_the_event_loop() -> None:
    async def main() -> str:
        await asyncio.create_task(careless())
        return "still here"

    assert asyncio.run(main()) == "still here"


def test_other_tasks_are_as_usual() -> None:
    async def contained() -> None:
        contain_tasks()

    async def main() -> None:
        await asyncio.create_task(contained())  # a context of its own
        await asyncio.create_task(leave())

    with pytest.raises(SystemExit):
        asyncio.run(main())


def test_an_event_loop_keeps_a_task_factory_of_its_own() -> None:
    def own(
        loop: asyncio.AbstractEventLoop,
        work: Coroutine[Any, Any, T] | Generator[Any, None, T],
    ) -> "asyncio.Task[T]":
        return asyncio.Task(work, loop=loop)

    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(own)
        contain_tasks()
        assert asyncio.get_running_loop().get_task_factory() is own

    asyncio.run(main())
