"""The last transaction of runs that end, and the pending runs that follow them.

The ends of runs that share an executor are equal, so that runs which end at the same
time share one transaction.
"""

import msgspec

from streaming.event_log import ClosedLogs
from streaming.runs import branches, pending, store
from streaming.runs.pending import Enqueue
from streaming.runs.store import OwnedRun, RunResult


class FinishRuns(msgspec.Struct, frozen=True):
    """Ends runs with their results. Raises `OwnershipLost`."""

    enqueue: Enqueue

    def __call__(self, closed: ClosedLogs[RunResult]) -> None:
        """End the runs, and promote the pending runs of their conversations."""
        store.finish_runs(closed)  # it locks the conversations
        branches.restore_heads(result.run for result, _ in closed)
        keys = [result.run.conversation_id for result, _ in closed]
        pending.promote(keys, self.enqueue)


class FailRuns(msgspec.Struct, frozen=True):
    """Ends runs as failed, without their results. Raises `OwnershipLost`."""

    enqueue: Enqueue

    def __call__(self, closed: ClosedLogs[OwnedRun]) -> None:
        """End the runs, and promote the pending runs of their conversations."""
        store.fail_runs(closed)
        keys = pending.lock(run.conversation_id for run, _ in closed)
        branches.restore_heads(run for run, _ in closed)
        pending.promote(keys, self.enqueue)
