"""The renewal of a worker's leases, on a thread and a connection of its own.

Neither a busy event loop nor a write that waits for the database delays it: a process
that is slow must not look like one that died. While the event loop is blocked, its runs
make no progress; their leases therefore lapse after a while, and other processes end
the runs.
"""

import logging
import threading
import time

from streaming.runs import leases
from streaming.runs.watchdog import Watchdog
from streaming.runs.worker import Worker
from streaming.runs.worker_rows import WorkerReport
from streaming.storage.connections import (
    Limits,
    close_connections,
    keep_own_connection,
    with_fresh_connection,
    write_within,
)
from streaming.storage.errors import describe

logger = logging.getLogger(__name__)

#: Renewals skip locked rows; a statement takes some milliseconds.
LIMITS = Limits(lock=1.0, statement=5.0)
#: Time that `close` waits for a renewal in progress.
CLOSE_SECONDS = 1.0


class LeaseRenewal:
    """Renews the leases of a worker's runs from construction to `close`.

    `interval` is the pause between two looks at the worker's runs. Leases are renewed
    every `period` seconds, and while the event loop is blocked for at most
    `blocked_seconds`. The same thread makes the `report`.
    """

    def __init__(
        self,
        worker: Worker,
        watchdog: Watchdog,
        *,
        interval: float,
        period: float,
        blocked_seconds: float,
        report: WorkerReport | None = None,
    ) -> None:
        self._worker = worker
        self._watchdog = watchdog
        self._interval = interval
        self._period = period
        self._blocked_limit = blocked_seconds
        self._report = report
        self._due_at = time.monotonic() + period
        #: Runs that were locked in the last renewal.
        self._locked: set[str] = set()
        self._lapsing = False
        self._closed = threading.Event()
        self._thread = threading.Thread(
            target=self._renew_forever, name="leases", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop renewing; a renewal in progress is waited for, but not for long."""
        self._closed.set()
        self._thread.join(CLOSE_SECONDS)

    def _renew_forever(self) -> None:
        keep_own_connection()
        try:
            while not self._closed.wait(self._interval):
                try:
                    self._renew_if_due()
                    if self._report:
                        self._report.write_if_due()
                except Exception as error:  # without renewals all runs here would fail
                    logger.warning("lease renewal failed: %s", describe(error))
            if self._report:
                self._report.close()
        finally:
            close_connections()

    def _renew_if_due(self) -> None:
        # Copied at once: the event loop changes the dictionary meanwhile.
        executions = list(self._worker.executions.values())
        now = time.monotonic()
        if not executions:  # a run is inserted with a new lease
            self._due_at = now + self._period
        is_due = now >= self._due_at
        attempts = {
            each.run.id: each.run.attempt
            for each in executions
            if is_due or each.run.id in self._locked
        }
        if attempts and not self._lets_lapse():
            self._locked = with_fresh_connection(
                write_within,
                LIMITS,
                leases.renew_leases,
                attempts,
                self._worker.name,
            )
            if is_due:
                self._due_at = now + self._period

    def _lets_lapse(self) -> bool:
        """Return True if the event loop has been blocked for too long."""
        lapsing = self._watchdog.blocked_seconds > self._blocked_limit
        if lapsing and not self._lapsing:
            logger.error("leases not renewed: event loop blocked for too long")
        self._lapsing = lapsing
        return lapsing
