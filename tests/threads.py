"""Threads of tests that reach the database."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

from streaming.agents.functions import closing_connections

P = ParamSpec("P")
R = TypeVar("R")


async def in_thread(
    function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
) -> R:
    """Call a function in a thread, and close the connections of the thread.

    The pool of PostgreSQL has few connections. It never gets back that of a thread that
    has ended.
    """
    closing = closing_connections(partial(function, *args, **kwargs))
    return await asyncio.to_thread(closing)
