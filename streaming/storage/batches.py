"""Commits pending writes: together in one transaction, each alone if one of them fails.

The functions here run in the writer thread. A batch shares one commit, with its sync to
disk, and writes of the same function share their statements: the four statements that
start a run serve all runs that start at the same moment.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Generic, TypeVar

from streaming.storage.connections import Limits, limited_transaction
from streaming.storage.errors import describe, is_conflict, is_unavailable

logger = logging.getLogger(__name__)

T = TypeVar("T")


class PendingWrite(Generic[T]):
    """A function to be called in a transaction, and the future of its result."""

    result: T

    def __init__(
        self,
        function: Callable[..., Sequence[T]],
        shared: tuple[Any, ...],
        item: object,
        on_blocked: Callable[[], object],
    ) -> None:
        self.done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.function = function
        self.shared = shared
        self.item = item
        self._on_blocked = on_blocked
        self.error: Exception | None = None

    @property
    def is_blocked(self) -> bool:
        """True if another transaction kept it from being written in time."""
        return self.error is not None and is_conflict(self.error)

    def report_blocked(self) -> None:
        """Report to the caller's event loop that another transaction is in the way."""
        with suppress(RuntimeError):  # the loop was closed in the meantime
            self.done.get_loop().call_soon_threadsafe(self._on_blocked)

    def resolve(self) -> None:
        """Set the future's result or exception, in its event loop."""
        if self.done.cancelled():
            return
        if self.error:
            self.done.set_exception(self.error)
        else:
            self.done.set_result(self.result)


def commit(writes: Sequence[PendingWrite[Any]], limits: Limits) -> None:
    """Commit all writes in one transaction, or each in its own if one of them fails.

    A failure of the commit itself is not retried: the transaction may have been
    committed, and only the caller knows whether its write may be repeated.
    """
    if len(writes) > 1:
        committing = False
        try:
            with limited_transaction(limits):
                _call(writes)
                committing = True
            return
        except Exception as error:
            if committing and is_unavailable(error):
                for write in writes:
                    write.error = error
                return
            logger.debug(
                "batch of writes rolled back, retrying each alone: %s", describe(error)
            )
    _commit_each(writes, limits)


def resolve(writes: Sequence[PendingWrite[Any]]) -> None:
    """Resolve each write in the event loop that waits for it."""
    for loop in {write.done.get_loop() for write in writes}:
        in_loop = [write for write in writes if write.done.get_loop() is loop]
        with suppress(RuntimeError):  # the loop was closed in the meantime
            loop.call_soon_threadsafe(_resolve_all, in_loop)


def _resolve_all(writes: Sequence[PendingWrite[Any]]) -> None:
    for write in writes:
        write.resolve()


def _commit_each(writes: Sequence[PendingWrite[Any]], limits: Limits) -> None:
    unavailable: Exception | None = None
    for write in writes:
        try:
            if unavailable is None:
                with limited_transaction(limits):
                    _call([write])
        except Exception as error:
            write.error = error
            if is_unavailable(error):
                # The other writes would only wait for the same error.
                unavailable = error
        write.error = write.error or unavailable


def _call(writes: Sequence[PendingWrite[Any]]) -> None:
    """Call each function once, with the items of all writes that share it."""
    groups: dict[tuple[object, ...], list[PendingWrite[Any]]] = {}
    for write in writes:
        groups.setdefault((write.function, write.shared), []).append(write)
    for group in groups.values():
        first = group[0]
        results = first.function([write.item for write in group], *first.shared)
        for write, result in zip(group, results, strict=True):
            write.result = result
