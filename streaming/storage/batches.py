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

from django.db import InterfaceError, OperationalError, transaction

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
    ) -> None:
        self.done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.function = function
        self.shared = shared
        self.item = item
        self.error: Exception | None = None

    def resolve(self) -> None:
        """Set the future's result or exception, in its event loop."""
        if self.done.cancelled():
            return
        if self.error:
            self.done.set_exception(self.error)
        else:
            self.done.set_result(self.result)


def commit(writes: Sequence[PendingWrite[Any]]) -> None:
    """Commit all writes in one transaction, or each in its own if one of them fails.

    A failure of the commit itself is not retried: the transaction may have been
    committed, and only the caller knows whether its write may be repeated.
    """
    if len(writes) > 1:
        committing = False
        try:
            with transaction.atomic():
                _call(writes)
                committing = True
            return
        except (InterfaceError, OperationalError) as error:
            if committing:
                for write in writes:
                    write.error = error
                return
        except Exception as error:
            logger.debug("batch of writes rolled back, retrying each alone: %s", error)
    _commit_each(writes)


def resolve(writes: Sequence[PendingWrite[Any]]) -> None:
    """Resolve each write in the event loop that waits for it."""
    for loop in {write.done.get_loop() for write in writes}:
        in_loop = [write for write in writes if write.done.get_loop() is loop]
        with suppress(RuntimeError):  # the loop was closed in the meantime
            loop.call_soon_threadsafe(_resolve_all, in_loop)


def _resolve_all(writes: Sequence[PendingWrite[Any]]) -> None:
    for write in writes:
        write.resolve()


def _commit_each(writes: Sequence[PendingWrite[Any]]) -> None:
    unavailable: Exception | None = None
    for write in writes:
        try:
            if unavailable is None:
                with transaction.atomic():
                    _call([write])
        except (InterfaceError, OperationalError) as error:
            unavailable = error  # the other writes would only wait for the same error
        except Exception as error:
            write.error = error
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
