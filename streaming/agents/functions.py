"""Functions of apps that the agents call: sync or async, with the run's context."""

import inspect
from collections.abc import Callable
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

from django.db import connections

from streaming.tools.base import Context
from streaming.tools.threads import Threads

P = ParamSpec("P")
R = TypeVar("R")

_threads = Threads()


def closing_connections(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function that closes its thread's database connections after a call.

    Each call has a new thread with connections of its own.
    """

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        finally:
            for each in connections.all(initialized_only=True):
                if not each.in_atomic_block:  # as in a test, whose thread it is
                    each.close()

    return call


async def call_function(function: Callable[..., Any], *args: object) -> Any:  # noqa: ANN401
    """Call an app's function: async on the event loop, sync in a thread of its own."""
    if inspect.iscoroutinefunction(function):
        return await function(*args)
    result = await _threads.run(partial(closing_connections(function), *args))
    # A callable object or a decorated function may return a coroutine.
    return await result if inspect.isawaitable(result) else result


class ContextFunction:
    """A function that is called for each run, with its context if it takes one.

    Raises `TypeError` if it cannot be called like that.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        if not callable(function):
            raise TypeError("expected a function")
        self.function = function
        self._takes_context = not _accepts(function)
        if self._takes_context and not _accepts(function, None):
            raise TypeError("expected a function of the run's context, or of nothing")

    async def __call__(self, context: Context) -> Any:  # noqa: ANN401
        """Call the function for a run."""
        if not self._takes_context:
            return await call_function(self.function)
        if inspect.iscoroutinefunction(self.function):
            await context.load_user()
        return await call_function(self.function, context)


def _accepts(function: Callable[..., Any], *args: object) -> bool:
    """Return true if a function can be called with these arguments."""
    try:
        inspect.signature(function).bind(*args)
    except TypeError:
        return False
    except ValueError:  # a class of an extension has no signature
        return True
    return True
