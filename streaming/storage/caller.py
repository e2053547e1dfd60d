"""Access to the database in the thread and the transaction of synchronous code.

For runs of tests: Django's `TestCase` rolls back the transaction of one connection,
which belongs to the thread of the test.
"""

from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar, TypeVarTuple

from asgiref.sync import sync_to_async
from django.db import transaction

from streaming.storage.alias import app_alias
from streaming.storage.database import Database

A = TypeVar("A")
P = ParamSpec("P")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class CallerDatabase(Database):
    """The database as the synchronous caller of the event loop sees it.

    An event loop without such a caller, as in a test that is a coroutine, uses the
    thread in which Django's asynchronous ORM calls run.
    """

    async def execute_read_in(
        self, lane: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call `function` in the caller's thread."""
        return await sync_to_async(function)(*args, **kwargs)

    async def call_in(self, lane: str, function: Callable[[], T]) -> T:
        """Call `function` in the caller's thread."""
        return await sync_to_async(function)()

    async def execute_write_batched(
        self,
        function: Callable[[Sequence[A], *Ts], Sequence[T]],
        item: A,
        *shared: *Ts,
        on_blocked: Callable[[], object] = bool,
    ) -> T:
        """Call `function` in the caller's thread, in a transaction of its own."""

        def write() -> T:
            with transaction.atomic(app_alias()):
                [result] = function([item], *shared)
            return result

        return await sync_to_async(write)()
