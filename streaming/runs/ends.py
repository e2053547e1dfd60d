"""The last transaction of runs that end, and the pending runs that follow them.

The ends of runs that share an executor are equal, so that runs which end at the same
time share one transaction.
"""

from collections.abc import Mapping

import msgspec

from streaming.event_log import ClosedLogs
from streaming.models import RunStatus, new_run_id
from streaming.runs import branches, inputs, pending, store
from streaming.runs.inputs import NextRunNeeded
from streaming.runs.pending import Enqueue
from streaming.runs.store import OwnedRun, RunResult


class FinishRuns(msgspec.Struct, frozen=True):
    """Ends runs with their results. Raises `OwnershipLost`.

    Raises `NextRunNeeded` if inputs of a run remain, and its result names no next run.
    """

    enqueue: Enqueue

    def __call__(self, closed: ClosedLogs[RunResult]) -> None:
        """End the runs, and promote the pending runs of their conversations."""
        store.finish_runs(closed)  # it locks the conversations
        results = [result for result, _ in closed]
        branches.restore_heads(result.run for result in results)
        inputs.mark_taken([each for r in results for each in r.progress.taken])
        _continue_runs({result.run.id: result for result in results})
        keys = [result.run.conversation_id for result in results]
        pending.promote(keys, self.enqueue)


class FailRuns(msgspec.Struct, frozen=True):
    """Ends runs as failed, without their results. Raises `OwnershipLost`."""

    enqueue: Enqueue

    def __call__(self, closed: ClosedLogs[OwnedRun]) -> None:
        """End the runs, and promote the pending runs of their conversations."""
        store.fail_runs(closed)
        keys = pending.lock(run.conversation_id for run, _ in closed)
        branches.restore_heads(run for run, _ in closed)
        for run, _ in closed:
            inputs.follow(run.id, new_run_id())
        pending.promote(keys, self.enqueue)


def _continue_runs(results: Mapping[str, RunResult]) -> None:
    """Make the untaken inputs of runs the next runs of their conversations.

    Those of a cancelled run stay with it.
    """
    for run_id in inputs.untaken(list(results)):
        result = results[run_id]
        if result.status != RunStatus.CANCELLED:
            if not result.next_run:
                raise NextRunNeeded
            inputs.follow(run_id, result.next_run)
