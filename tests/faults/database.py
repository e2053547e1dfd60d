"""The real database with faults that a test switches on, for a service of its own."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

from django.db import OperationalError

from streaming import conf, runs
from streaming.agents.loops import AgentLoops, make_loops
from streaming.runs import RunService
from streaming.runs.timings import Timings
from streaming.storage import database
from streaming.storage.database import Database

#: The reads that a service repeats in the background.
PERIODIC_READS = (
    *("find_idle", "find_interrupted", "find_stale", "next_in_queue", "queue_state"),
    *("read_signals", "_compaction_due"),
)


class FaultyDatabase(Database):
    """Access to the real database; a test refuses, cuts, holds or counts its calls.

    The threads are those of the process; only the time limits are its own.
    """

    #: The writes of the heartbeat are never cut: their times are not the test's.
    spared = ("renew_leases", "touch_readers", "recover_orphan")

    def __init__(
        self, *, timeout_seconds: float = 30.0, retry_seconds: float = 0.02
    ) -> None:
        super().__init__(timeout_seconds=timeout_seconds, retry_seconds=retry_seconds)
        #: Transactions that fail before they begin.
        self.refuse = 0
        #: Transactions that are committed although their answer is lost.
        self.lose_answers = 0
        #: The functions whose transactions were cut.
        self.cut: list[str] = []
        #: Called after each cut.
        self.after_cut: Callable[[], object] = bool
        #: The functions that were called to read, and to write.
        self.reads: list[str] = []
        self.writes: list[str] = []
        #: Called inside the transaction of a function, by its name, around its call.
        self.around: dict[str, Callable[[Callable[[], Any]], Any]] = {}

    async def execute_read(
        self, function: Callable[..., Any], *args: object, **kwargs: object
    ) -> Any:  # noqa: ANN401
        self.reads.append(_name(function))
        return await self._limited(database.execute_read(function, *args, **kwargs))

    async def execute_write(
        self, function: Callable[..., Any], *args: object, **kwargs: object
    ) -> Any:  # noqa: ANN401
        call = partial(self._wrapped(function), *args, **kwargs)
        return await self._write(_name(function), lambda: database.execute_write(call))

    async def execute_write_batched(
        self,
        function: Callable[..., Any],
        item: object,
        *shared: object,
        on_blocked: Callable[[], object] = bool,
    ) -> Any:  # noqa: ANN401
        called = self._wrapped(function)
        return await self._write(
            _name(function),
            lambda: database.execute_write_batched(
                called, item, *shared, on_blocked=on_blocked
            ),
        )

    async def _write(self, name: str, write: Callable[[], Awaitable[Any]]) -> Any:  # noqa: ANN401
        self.writes.append(name)
        if name in self.spared:
            return await self._limited(write())
        if self.refuse:
            self.refuse -= 1
            self._cut(name, "the database is unavailable")
        result = await self._limited(write())
        if self.lose_answers:
            self.lose_answers -= 1
            self._cut(name, "the connection broke in the commit")
        return result

    async def _limited(self, call: Awaitable[Any]) -> Any:  # noqa: ANN401
        async with self._time_limit():
            return await call

    def _cut(self, name: str, message: str) -> None:
        self.cut.append(name)
        self.after_cut()
        raise OperationalError(message)

    def _wrapped(self, function: Callable[..., Any]) -> Callable[..., Any]:
        around = self.around.get(_name(function))
        if around is None:
            return function
        return lambda *args, **kwargs: around(partial(function, *args, **kwargs))


def _name(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__name__", ""))


def changed_loops(**changes: Any) -> AgentLoops:  # noqa: ANN401
    """Return the loop of the settings' agent, with other parts than the usual ones."""
    usual = make_loops().find("")
    return AgentLoops({"": replace(usual, loop=replace(usual.loop, **changes))})


def install_service(
    *,
    access: Database = database.default,
    agents: AgentLoops | None = None,
    timings: Timings | None = None,
) -> RunService:
    """Make a service that of this process: with other parts than the usual ones."""
    service = RunService(
        agents or make_loops(),
        conf.get(),
        access,
        timings=timings,
    )
    return runs.install(service)
