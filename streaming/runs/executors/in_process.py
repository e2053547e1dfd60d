"""The executor of runs in the process that starts them, or that claims them first."""

from collections.abc import Collection, Sequence

from streaming.models import Run
from streaming.runs.attempts import Attempt
from streaming.runs.history import History
from streaming.runs.lifecycle import Claim
from streaming.runs.queue import QueueClaims
from streaming.runs.store import OwnedRun
from streaming.runs.worker import Worker


class InProcessExecutor:
    """Executes each run at once, with the values that its start left in memory.

    Queued runs are executed by the first process that claims them.
    """

    claims_at_start = True

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._claims: QueueClaims | None = None

    @property
    def executes_queued(self) -> bool:
        """True from `serve` or `work` on."""
        return self._claims is not None

    @classmethod
    def enqueue(cls, runs: Sequence[Run]) -> None:
        """Write nothing: the rows of the runs are the queue."""

    @classmethod
    def cancel(cls, run_ids: Collection[str]) -> None:
        """Write nothing: the owners read the rows of the runs."""

    def started(self, run: Run, prepared: History) -> None:
        """Execute the run."""
        self._worker.launch(Attempt(OwnedRun.of(run), prepared))

    def serve(self) -> None:
        """Claim queued runs from now on, and leave places for requests."""
        if self._claims is None:
            self._claims = QueueClaims(self._worker, has_requests=True)

    def work(self) -> None:
        """Claim queued runs from now on, and keep no places for requests."""
        if self._claims is None:
            self._claims = QueueClaims(self._worker, has_requests=False)

    def wake(self) -> None:
        """Look for queued runs now."""
        if self._claims:
            self._claims.wake()

    def stop(self, run_id: str) -> bool:
        """Cancel a run; return False if this process does not execute it."""
        return self._worker.stop(run_id)

    async def execute(self, run_id: str, attempt: int) -> None:
        """Execute a claimed run, loaded from the database."""
        await self._worker.execute(Claim(run_id, self._worker.name, attempt))

    async def aclose(self) -> None:
        """Stop claiming."""
        if self._claims:
            await self._claims.aclose()


executor = InProcessExecutor
