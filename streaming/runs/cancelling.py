"""The cancellation of runs by their rows, and by the jobs that execute them."""

from collections.abc import Callable, Collection

from streaming.runs import leases
from streaming.runs.pending import Enqueue

#: The part of cancelling runs that an executor does (`Executor.cancel`).
CancelJobs = Callable[[Collection[str]], None]


def cancel_runs(
    run_ids: Collection[str], cancel_jobs: CancelJobs, enqueue: Enqueue
) -> set[str]:
    """Cancel pending and queued runs, request it from the owners of running ones.

    Returns the runs that had not ended. Called in a transaction. A pending run that
    follows a cancelled one enters the queue.
    """
    active = leases.request_cancel(run_ids, enqueue)
    if active:
        cancel_jobs(active)
    return active
