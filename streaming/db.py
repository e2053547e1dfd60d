"""The way to the database from coroutines: short functions on threads of our own.

Django's own async ORM calls take the thread of the request they belong to; a run
outlives its request, and a connection would leak with each. One thread writes, since
SQLite's wait for a lock is unfair and one writer never waits for itself; a few read.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import ParamSpec, TypeVar

from django.db import close_old_connections, connections, transaction

P = ParamSpec("P")
T = TypeVar("T")

READERS = 4


async def read(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `function`, which only reads."""
    return await _call(_readers(), function, *args, **kwargs)


async def write(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `function` in one transaction. Once begun, it ends whoever is cancelled."""
    return await _call(_writer(), transaction.atomic(function), *args, **kwargs)


def close() -> None:
    """End the threads and close their connections (at shutdown, after the last use)."""
    for pool, size in ((_readers, READERS), (_writer, 1)):
        if pool.cache_info().currsize:
            together = threading.Barrier(size)  # so that each thread gets one call
            for _ in range(size):
                pool().submit(_close_connections, together)
            pool().shutdown()
            pool.cache_clear()


def _close_connections(together: threading.Barrier) -> None:
    together.wait()
    connections.close_all()


@cache
def _readers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(READERS, thread_name_prefix="db-read")


@cache
def _writer() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="db-write")


async def _call(
    pool: ThreadPoolExecutor,
    function: Callable[P, T],
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    def call() -> T:
        close_old_connections()
        try:
            return function(*args, **kwargs)
        finally:
            close_old_connections()

    return await asyncio.get_running_loop().run_in_executor(pool, call)
