"""The app's way to the database, with faults that a test asks for."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal, ParamSpec, TypeVar, TypeVarTuple

from django.db import OperationalError

from streaming.storage.database import Database, default

A = TypeVar("A")
P = ParamSpec("P")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")

FaultKind = Literal["", "refuse", "lose the answer"]


class Fault:
    """The course of one write: refused, or committed without an answer; or none."""

    def __init__(self, kind: FaultKind = "", *, held: bool = False) -> None:
        self.kind = kind
        #: Set when the write begins; it proceeds once `proceed` is set.
        self.begun, self.proceed = asyncio.Event(), asyncio.Event()
        if not held:
            self.proceed.set()


class FaultyDatabase(Database):
    """The threads of `default`; reads fail while `reads_fail`, writes by `faults`.

    Each write takes one of the faults.
    """

    def __init__(self) -> None:
        super().__init__(timeout_seconds=0.2, retry_seconds=0.05)
        self.reads_fail = False
        self.faults: deque[Fault] = deque()

    async def execute_read(
        self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        if self.reads_fail:
            raise OperationalError("unavailable")
        return await default.execute_read(function, *args, **kwargs)

    async def execute_write_batched(
        self,
        function: Callable[[Sequence[A], *Ts], Sequence[T]],
        item: A,
        *shared: *Ts,
        on_blocked: Callable[[], object] = bool,
    ) -> T:
        fault = self.faults.popleft() if self.faults else Fault()
        fault.begun.set()
        await fault.proceed.wait()
        if fault.kind == "refuse":
            raise OperationalError(fault.kind)
        written = await default.execute_write_batched(
            function, item, *shared, on_blocked=on_blocked
        )
        if fault.kind:
            raise OperationalError(fault.kind)
        return written
