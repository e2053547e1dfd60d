"""The port of executors: they decide where and when the runs of a service execute.

To add one, write a class with the methods of `Executor`, and name it in `RUN_EXECUTOR`:
by its dotted path or, if it is in this package, by its module, which then assigns the
class to `executor`.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from streaming import conf
from streaming.models import Run
from streaming.runs.history import History
from streaming.runs.worker import Worker


class Executor(Protocol):
    """Executes the started runs, in this process or another one.

    `RunService.start` inserts runs and calls `enqueue` in one transaction, then calls
    `started`. The class is called with the worker of this process. Runs that are
    inserted queued, by this process or by synchronous code of any other, are claimed by
    `lifecycle.claim_all`, from the call of `serve` until the worker drains.
    """

    #: Whether runs are inserted already claimed by this process, rather than queued.
    claims_at_start: bool

    @property
    def executes_queued(self) -> bool:
        """Whether this process executes queued runs of any process.

        It then reports itself as a worker. With some executors a process does so from
        `serve` or `work` on, with others from `work` alone.
        """
        ...

    @classmethod
    def enqueue(cls, runs: Sequence[Run]) -> None:
        """Write the rows or jobs of queued runs, inside their transaction.

        It inserts the runs, returns one to the queue, or promotes pending ones. The
        call comes on a database thread, once for all runs of the transaction, or from
        synchronous code, which has no worker. It is repeated if the transaction is.
        """
        ...

    @classmethod
    def cancel(cls, run_ids: Collection[str]) -> None:
        """Write the cancellation of jobs, in the transaction that cancels their runs.

        The call comes as that of `enqueue` does. The rows of the runs say the same:
        owners read it with their next heartbeat.
        """
        ...

    def started(self, run: Run, prepared: History) -> None:
        """Continue after the commit, in the process and event loop of the start.

        `prepared` is the history that the transaction has read.
        """
        ...

    def serve(self) -> None:
        """Take part in the work on queued runs of any process; later calls do nothing.

        The call comes in a process that serves requests. A process that ends soon, such
        as a management command, is never told to serve.
        """
        ...

    def work(self) -> None:
        """Begin to execute the queued runs of any process; later calls do nothing.

        The call comes in a process that executes runs and serves no requests. It claims
        runs of the worker's `queues` only.
        """
        ...

    def wake(self) -> None:
        """Look for queued runs now: this process may have enqueued one."""
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


def executor_class() -> type[Executor]:
    """Return the class of the executor that the setting names."""
    path = conf.get().executor_path
    found: type[Executor] = conf.import_named("RUN_EXECUTOR", path)
    return found


def make_executor(path: str, worker: Worker) -> Executor:
    """Return the executor at a dotted path for a worker."""
    make: Callable[[Worker], Executor] = conf.import_named("RUN_EXECUTOR", path)
    return make(worker)
