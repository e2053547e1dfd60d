"""The sending of Django's signals about runs, outside of the path of their events."""

import asyncio
import logging
from contextvars import Context
from functools import partial

from django.db import Error, transaction
from django.dispatch import Signal

from streaming.models import Run
from streaming.signals import run_ended, run_started
from streaming.storage.alias import app_alias
from streaming.storage.database import SIGNALS, Database
from streaming.storage.errors import describe

logger = logging.getLogger(__name__)

#: Signals that may wait for slow receivers, some 2 kB each; further ones are dropped.
MAX_WAITING = 10_000


class SignalSender:
    """Sends the signals of a process in order, on one thread.

    A signal without receivers costs nothing. At most `max_waiting` wait for receivers.
    """

    def __init__(self, database: Database, max_waiting: int = MAX_WAITING) -> None:
        self._database = database
        self._max_waiting = max_waiting
        self._sending: set[asyncio.Task[None]] = set()
        #: Whether a drop was logged since the last moment without a waiting signal.
        self._dropping = False

    def started(self, run_id: str) -> None:
        """Send `run_started`."""
        self._send(run_started, run_id)

    def ended(self, *run_ids: str, unclaimed: bool = False) -> None:
        """Send `run_ended`; `unclaimed`: for those that were cancelled in the queue."""
        for run_id in run_ids:
            self._send(run_ended, run_id, unclaimed=unclaimed)

    async def aclose(self, seconds: float) -> None:
        """Wait for the receivers, but not for long."""
        if self._sending:
            _, left = await asyncio.wait(self._sending, timeout=seconds)
            if left:
                logger.warning("signals not sent at the end: %d", len(left))
            for task in left:
                task.cancel()

    def _send(self, signal: Signal, run_id: str, *, unclaimed: bool = False) -> None:
        if signal.receivers and self._has_place(run_id):
            call = partial(_call_receivers, signal, run_id, unclaimed)
            # An empty context: it holds nothing of the request that started the run.
            task = asyncio.create_task(
                self._database.call_in(SIGNALS, call), context=Context()
            )
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    def _has_place(self, run_id: str) -> bool:
        """Return whether one more signal may wait; log the first that may not."""
        if not self._sending:
            self._dropping = False
        if len(self._sending) < self._max_waiting:
            return True
        if not self._dropping:
            count = len(self._sending)
            fields = {"run_id": run_id}
            logger.warning(
                "signals dropped: %d wait for receivers", count, extra=fields
            )
        self._dropping = True
        return False


def send_ended_on_commit(run_ids: set[str]) -> None:
    """Send `run_ended` at the commit for runs that this thread cancels in the queue."""
    if run_ended.receivers:
        for run_id in run_ids:
            send = partial(_call_receivers, run_ended, run_id, True)
            transaction.on_commit(send, using=app_alias())


def _call_receivers(signal: Signal, run_id: str, unclaimed: bool) -> None:
    try:
        runs = Run.objects.select_related("organization", "conversation")
        run = runs.filter(pk=run_id).first()
        if run and not (unclaimed and (run.worker or not run.has_ended)):
            signal.send_robust(sender=Run, run=run)
    except Error as error:
        logger.warning("signal not sent: %s", describe(error), extra={"run_id": run_id})
    except BaseException:  # a receiver may raise SystemExit, which ends an event loop
        logger.exception("signal receiver failed", extra={"run_id": run_id})
