"""The row of this process among the workers, which the admin shows and drains.

A process reports itself with one write every few seconds, and reads with it whether it
is to drain. Each function is called in one transaction.
"""

import logging
import os
import socket
import time
from collections.abc import Callable
from datetime import timedelta
from typing import NamedTuple

from django.apps import apps
from django.db import Error
from django.db.models import Count, Q
from django.db.models.functions import Now

from streaming.models import Worker
from streaming.runs.timings import Timings
from streaming.storage.connections import Limits, with_fresh_connection, write_within
from streaming.storage.errors import describe

logger = logging.getLogger(__name__)

LIMITS = Limits(lock=1.0, statement=2.0)
#: Time after which the row of a process that does not report is deleted.
KEPT_SECONDS = 600.0
#: Reports between two deletions of such rows.
REPORTS = 60


class Load(NamedTuple):
    """The work of a process at the moment."""

    executing: int
    open_streams: int


class WorkerReport:
    """The reports of a process about itself, made by the thread of its leases.

    `read_load` returns None as long as the process executes no runs: it has no row. In
    that thread, `on_report` is called before each report, and `on_drain` once, when an
    operator has asked for a drain.
    """

    def __init__(
        self,
        name: str,
        timings: Timings,
        read_load: Callable[[], Load | None],
        on_drain: Callable[[], object],
        on_report: Callable[[], None],
    ) -> None:
        self._name = name
        self._period = timings.worker_report
        self._read_load = read_load
        self._on_drain = on_drain
        self._on_report = on_report
        self._due_at = time.monotonic() + self._period
        self._reports = 0
        self._is_drained = False

    def write_if_due(self) -> None:
        """Write the row, and heed a drain."""
        if time.monotonic() < self._due_at:
            return
        self._due_at = time.monotonic() + self._period
        self._on_report()
        if (load := self._read_load()) is None:
            return
        try:
            drains = _write(report, self._name, load)
            self._reports += 1
            if self._reports % REPORTS == 1:
                _write(delete_old)
        except Error as error:
            logger.warning("worker not reported: %s", describe(error))
            return
        if drains and not self._is_drained:
            self._is_drained = True
            logger.info("drain requested by an operator")
            self._on_drain()

    def close(self) -> None:
        """Delete the row: the process ends."""
        if self._reports:
            try:
                _write(remove, self._name)
            except Error as error:  # it is deleted when it is old
                logger.debug("worker not removed: %s", describe(error))


def report(name: str, load: Load) -> bool:
    """Write the row of this process; return whether it is to drain."""
    reported = Worker.objects.filter(name=name)
    values = {"executing": load.executing, "open_streams": load.open_streams}
    if not reported.update(heartbeat_at=Now(), **values):
        version = str(vars(apps.get_app_config("streaming").module)["__version__"])
        Worker.objects.create(
            name=name,
            host=socket.gethostname()[:64],
            pid=os.getpid(),
            version=version[:32],
            started_at=Now(),
            heartbeat_at=Now(),
            **values,
        )
        return False
    return reported.filter(drain_requested_at__isnull=False).exists()


def remove(name: str) -> None:
    """Delete the row of a process that ends."""
    Worker.objects.filter(name=name).delete()


def delete_old() -> None:
    """Delete the rows of processes that were killed a while ago."""
    Worker.objects.filter(
        heartbeat_at__lt=Now() - timedelta(seconds=KEPT_SECONDS)
    ).delete()


def is_alive(lease_seconds: float) -> Q:
    """Return the condition of the rows of processes that still report."""
    return Q(heartbeat_at__gte=Now() - timedelta(seconds=lease_seconds))


def request_drain(names: list[str]) -> list[str]:
    """Have processes drain; return those of which it was not requested before."""
    asked = Worker.objects.filter(name__in=names, drain_requested_at=None)
    found = list(asked.select_for_update().values_list("name", flat=True))
    Worker.objects.filter(name__in=found).update(drain_requested_at=Now())
    return found


class WorkerCounts(NamedTuple):
    """The numbers of workers by their state."""

    serving: int
    draining: int
    lost: int


def count_workers(lease_seconds: float) -> WorkerCounts:
    """Return the numbers of workers; `lost` ones do not report, and are not old."""
    alive = is_alive(lease_seconds)
    found = Worker.objects.aggregate(
        serving=Count("name", filter=alive & Q(drain_requested_at=None)),
        draining=Count("name", filter=alive & Q(drain_requested_at__isnull=False)),
        lost=Count("name", filter=~alive),
    )
    return WorkerCounts(**found)


def _write(function: Callable[..., bool | None], *args: object) -> bool | None:
    return with_fresh_connection(write_within, LIMITS, function, *args)
