"""Tasks that cannot end the event loop, for functions that are not trusted to.

A task that raises `SystemExit`, `KeyboardInterrupt` or another exception that is no
`Exception` ends its event loop. A function can catch them around a call, but not in the
tasks that the called code starts itself. Those are found by their context.
"""

import asyncio
from collections.abc import Coroutine, Generator
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")

#: Set in the context of code whose tasks are contained.
_is_contained: ContextVar[bool] = ContextVar("is_contained", default=False)


class TaskCrash(Exception):
    """A task raised an exception that would have ended the event loop."""


def contain_tasks() -> None:
    """Contain the tasks that the present context and its copies start from now on.

    The first call gives the running event loop a task factory. A loop that has one of
    its own keeps it, and contains nothing.
    """
    _is_contained.set(True)
    loop = asyncio.get_running_loop()
    if loop.get_task_factory() is None:
        loop.set_task_factory(_make_task)


def _make_task(
    loop: asyncio.AbstractEventLoop,
    coroutine: Coroutine[Any, Any, T] | Generator[Any, None, T],
    **options: Any,  # noqa: ANN401  (as in asyncio)
) -> "asyncio.Task[T]":
    if not (_is_contained.get() and isinstance(coroutine, Coroutine)):
        return asyncio.Task(coroutine, loop=loop, **options)
    task = asyncio.Task(_contain(coroutine), loop=loop, **options)
    # A task that is cancelled before its first step never awaits the coroutine.
    task.add_done_callback(lambda _: coroutine.close())
    return task


async def _contain(coroutine: Coroutine[Any, Any, T]) -> T:
    try:
        return await coroutine
    except (Exception, asyncio.CancelledError, GeneratorExit):
        raise
    except BaseException as error:
        raise TaskCrash(type(error).__name__) from error
