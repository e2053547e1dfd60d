"""The app's way to the database, with faults that a test asks for."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Literal, ParamSpec, TypeVar, TypeVarTuple

from django.db import OperationalError

from streaming.storage import database

A = TypeVar("A")
P = ParamSpec("P")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")

FaultKind = Literal["", "refuse", "lose the answer"]
RETRY_SECONDS = 0.05


class Fault:
    """The course of one write: refused, or committed without an answer; or none."""

    def __init__(self, kind: FaultKind = "", *, held: bool = False) -> None:
        self.kind = kind
        #: Set when the write begins; it proceeds once `proceed` is set.
        self.begun, self.proceed = asyncio.Event(), asyncio.Event()
        if not held:
            self.proceed.set()


class FaultyDatabase:
    """Implements `DatabaseAccess`: reads fail while `reads_fail`, writes by `faults`.

    Each write takes one of the faults. Failed calls are retried for `patience` seconds.
    """

    def __init__(self, patience: float = 0.2) -> None:
        self.reads_fail = False
        self.faults: deque[Fault] = deque()
        self._patience = patience

    async def execute_read(
        self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        if self.reads_fail:
            raise OperationalError("unavailable")
        return await database.execute_read(function, *args, **kwargs)

    async def execute_write(
        self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return await self._write(
            partial(database.execute_write, function, *args, **kwargs)
        )

    async def execute_write_batched(
        self,
        function: Callable[[Sequence[A], *Ts], Sequence[T]],
        item: A,
        *shared: *Ts,
    ) -> T:
        return await self._write(
            partial(database.execute_write_batched, function, item, *shared)
        )

    async def retry_while_unavailable(self, call: Callable[[], Awaitable[T]]) -> T:
        deadline = time.monotonic() + self._patience
        while True:
            try:
                return await call()
            except OperationalError:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(RETRY_SECONDS)

    async def _write(self, write: Callable[[], Awaitable[T]]) -> T:
        if not self.faults:
            return await write()
        fault = self.faults.popleft()
        fault.begun.set()
        await fault.proceed.wait()
        if fault.kind == "refuse":
            raise OperationalError(fault.kind)
        written = await write()
        if fault.kind:
            raise OperationalError(fault.kind)
        return written
