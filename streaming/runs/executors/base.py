"""The port of executors: they decide where and when the runs of a service execute.

To add one, write a class with the methods of `Executor`, and name it in `RUN_EXECUTOR`:
by its dotted path or, if it is in this package, by its module, which then assigns the
class to `executor`.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, cast

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from streaming.models import Run
from streaming.runs.history import History
from streaming.runs.worker import Worker


class Executor(Protocol):
    """Executes the started runs, in this process or another one.

    `RunService.start` inserts runs and calls `enqueue` in one transaction, then calls
    `started`. The class is called with the worker of this process; an executor that
    does not claim at the start claims a queued run by `lifecycle.claim`.
    """

    #: Whether runs are inserted already claimed by this process, rather than queued.
    claims_at_start: bool

    def enqueue(self, runs: Sequence[Run]) -> None:
        """Write the rows or jobs of new runs, inside their transaction.

        The call comes on a database thread, once for all runs of the transaction. It
        is repeated if the transaction is.
        """
        ...

    def started(self, run: Run, prepared: History) -> None:
        """Continue after the commit, in the process and event loop of the start.

        `prepared` is the history that the transaction has read.
        """
        ...

    def stop(self, run_id: str) -> bool:
        """Cancel a run now; return False if this process does not execute it.

        The owner in another process learns of a cancel from its heartbeat.
        """
        ...

    async def execute(self, run_id: str, attempt: int) -> None:
        """Execute a run of which this process has the claim, loaded from the database.

        Raises `OwnershipLost` if the claim does not hold.
        """
        ...

    async def aclose(self) -> None:
        """Stop claiming runs, and leave nothing open; the runs are drained before."""
        ...


def make_executor(name: str, worker: Worker) -> Executor:
    """Return the executor of a setting for a worker."""
    path = name if "." in name else f"{__package__}.{name}.executor"
    try:
        make = cast(Callable[[Worker], Executor], import_string(path))
    except ImportError as error:
        message = f"RUN_EXECUTOR {name!r} names no executor: {error}"
        raise ImproperlyConfigured(message) from error
    return make(worker)
