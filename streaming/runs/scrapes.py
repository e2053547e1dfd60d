"""The scrapes: the metrics of all processes of a machine, and of their database."""

import hashlib
import logging
import os
import tempfile
from pathlib import Path

from django.conf import settings
from django.db import Error
from django.db.models import Count, Q

from streaming.app_options import AgentConf
from streaming.models import IS_ACTIVE, NOT_ENDED, Run, RunStatus
from streaming.runs.queue import queue_state
from streaming.runs.worker_rows import count_workers
from streaming.storage.alias import app_alias
from streaming.storage.connections import read_within
from streaming.storage.errors import describe
from streaming.telemetry import exporter
from streaming.telemetry.metrics import PREFIX, Family, Sample

logger = logging.getLogger(__name__)

#: Time for the database in one scrape; Prometheus waits for ten seconds by default.
DATABASE_SECONDS = 2.0


def directory(conf: AgentConf) -> Path:
    """Return the directory in which the processes of this machine find each other.

    By default each user and database has one.
    """
    if conf.metrics_dir:
        return Path(conf.metrics_dir)
    database = settings.DATABASES[app_alias()]
    named = [str(database.get(name, "")) for name in ("NAME", "HOST", "PORT")]
    digest = hashlib.sha256("\0".join(named).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"agent-stream-{os.geteuid()}-{digest}"


def scrape(conf: AgentConf, accept: str) -> tuple[bytes, str]:
    """Return the metrics of all processes of this machine, and of their database.

    Blocks; the calling thread's connection is used. Returns their content type too.
    """
    from streaming.telemetry.exposition import Scrape  # needs the extra `metrics`

    snapshots = exporter.gather(directory(conf))
    try:
        shared = read_within(DATABASE_SECONDS, shared_families, conf)
        is_up = 1.0
    except Error as error:
        logger.debug("metrics of the database missing: %s", describe(error))
        shared, is_up = [], 0.0
    shared = [*shared, _family(*DATABASE_UP, {(): is_up})]
    return Scrape(snapshots, shared).encode(accept)


#: The metrics of the database, which are the same in the scrapes of all machines: their
#: names, helps and labels.
Shared = tuple[str, str, tuple[str, ...]]
ACTIVE_RUNS: Shared = (
    "active_runs",
    "Runs that have not ended, in the database.",
    ("status",),
)
QUEUE_OLDEST: Shared = (
    "queue_oldest_seconds",
    "Time that the oldest queued run has waited.",
    (),
)
WORKERS: Shared = (
    "workers",
    "Processes that execute runs. `state` is serving, draining or lost.",
    ("state",),
)
DATABASE_UP: Shared = ("database_up", "1 if the database answered this scrape.", ())
SHARED_METRICS = (ACTIVE_RUNS, QUEUE_OLDEST, WORKERS, DATABASE_UP)


def shared_families(conf: AgentConf) -> list[Family]:
    """Return the metrics of the database."""
    counts: dict[str, int] = dict.fromkeys((each.value for each in NOT_ENDED), 0)
    # Two conditions: each has a partial index.
    for condition in (IS_ACTIVE, Q(status=RunStatus.PENDING.value)):
        rows = Run.objects.filter(condition).order_by().values_list("status")
        counts |= dict(rows.annotate(Count("id")))
    workers = count_workers(conf.run_lease_seconds)._asdict()
    return [
        _family(*ACTIVE_RUNS, {(each,): count for each, count in counts.items()}),
        _family(*QUEUE_OLDEST, {(): queue_state().oldest_seconds}),
        _family(*WORKERS, {(each,): count for each, count in workers.items()}),
    ]


def _family(
    name: str,
    help: str,
    labels: tuple[str, ...],
    values: "dict[tuple[str, ...], float]",
) -> Family:
    samples = [Sample(*each) for each in values.items()]
    return Family("gauge", PREFIX + name, help, labels, samples)
