"""The executor of runs in the process that starts them."""

from collections.abc import Sequence

from streaming.models import Run
from streaming.runs.history import History
from streaming.runs.lifecycle import Claim
from streaming.runs.store import OwnedRun
from streaming.runs.worker import Worker


class InProcessExecutor:
    """Executes each run at once, with the values that its start left in memory."""

    claims_at_start = True

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def enqueue(self, runs: Sequence[Run]) -> None:
        """Write nothing: the inserted rows are claimed."""

    def started(self, run: Run, prepared: History) -> None:
        """Execute the run."""
        self._worker.launch(OwnedRun.of(run), prepared)

    def stop(self, run_id: str) -> bool:
        """Cancel a run; return False if this process does not execute it."""
        return self._worker.stop(run_id)

    async def execute(self, run_id: str, attempt: int) -> None:
        """Execute a claimed run, loaded from the database."""
        await self._worker.execute(Claim(run_id, self._worker.name, attempt))

    async def aclose(self) -> None:
        """Do nothing: the worker ends with the service."""


executor = InProcessExecutor
