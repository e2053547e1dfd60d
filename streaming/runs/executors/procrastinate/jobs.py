"""The jobs of runs in procrastinate's tables, written through Django's connection.

Each function is called in a transaction, that of a change to the runs if there is one.
The row of a run names its newest job (`Run.job_id`), and is the authority: a job only
has a worker look at the row. An older job of the same run finds it claimed.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import cache

from procrastinate import App
from procrastinate.contrib.django.django_connector import DjangoConnector
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job
from procrastinate.manager import JobManager

from streaming.agents.declaration import DEFAULT_QUEUE
from streaming.models import ACTIVE, Run, RunStatus
from streaming.storage.alias import app_alias, app_connection
from streaming.storage.sql import update_all

TASK = "streaming.execute"
#: It tells the queues of runs from those of the project's own jobs.
QUEUE_PREFIX = "streaming."
#: Runs that one look at the queue finds at most.
MAX_FOUND = 1_000

_WITHOUT_JOB = f"""
    SELECT run.id, run.job_id
    FROM {Run._meta.db_table} run
    WHERE run.status = '{RunStatus.QUEUED.value}' AND NOT EXISTS (
        SELECT FROM procrastinate_jobs job
        WHERE job.id = run.job_id AND job.status = 'todo'
    )
    ORDER BY run.created_at, run.id
    LIMIT {MAX_FOUND}
"""
_LEFT_OVER = f"""
    SELECT job.id
    FROM procrastinate_jobs job
    WHERE job.status = 'doing' AND job.task_name = '{TASK}' AND NOT EXISTS (
        SELECT FROM {Run._meta.db_table} run
        WHERE run.id = job.args->>'run_id' AND run.job_id = job.id
        AND run.status IN ({", ".join(f"'{status.value}'" for status in ACTIVE)})
    )
    LIMIT {MAX_FOUND}
"""


def queue_of(run: Run) -> str:
    """Return the name of a run's queue in procrastinate."""
    return job_queue(run.queue or DEFAULT_QUEUE)


def job_queue(name: str) -> str:
    """Return the name of an agent's queue in procrastinate."""
    return f"{QUEUE_PREFIX}{name}"


def defer(runs: Sequence[Run]) -> None:
    """Insert a new job for each run, and set it in the run's row.

    The commit notifies the workers.
    """
    jobs = [
        Job(
            id=None,
            task_name=TASK,
            queue=queue_of(run),
            priority=run.priority,
            lock=None,
            queueing_lock=None,
            task_kwargs={"run_id": run.id, "agent": run.agent},
        )
        for run in runs
    ]
    with _django_errors():
        deferred = _manager(app_alias()).batch_defer_jobs(jobs)
    for run, job in zip(runs, deferred, strict=True):
        run.job_id = job.id
    update_all(Run, [({"id": run.id}, {"job_id": run.job_id}) for run in runs])


def defer_again(run_id: str, job_id: int | None) -> bool:
    """Insert a new job for a run that is queued and whose newest job is another one.

    Returns false if the run is claimed, has ended or has got another job.
    """
    queued = Run.objects.filter(pk=run_id, status=RunStatus.QUEUED, job_id=job_id)
    found = list(queued.select_for_update(no_key=True, skip_locked=True))
    if found:
        defer(found)
    return bool(found)


def cancel(run_ids: Collection[str]) -> None:
    """Delete the waiting jobs of runs, and have the other ones aborted.

    The commit notifies the workers that execute them.
    """
    jobs = Run.objects.filter(pk__in=run_ids).order_by("job_id")
    manager = _manager(app_alias())
    with _django_errors():
        for job_id in jobs.values_list("job_id", flat=True):
            if job_id is not None:
                manager.cancel_job_by_id(job_id, abort=True, delete_job=True)


def find_without_job() -> dict[str, int | None]:
    """Return queued runs for which no job waits, each with its newest job.

    A worker may be about to claim the run, or was killed before it did.
    """
    with app_connection().cursor() as cursor:
        cursor.execute(_WITHOUT_JOB)
        return dict(cursor.fetchall())


def find_left_over() -> set[int]:
    """Return the jobs that workers have fetched for runs that they no longer execute.

    A worker may be about to delete its job, or was killed, or could not delete it.
    """
    with app_connection().cursor() as cursor:
        cursor.execute(_LEFT_OVER)
        return {job_id for (job_id,) in cursor.fetchall()}


def delete(job_ids: Collection[int]) -> None:
    """Delete jobs."""
    with app_connection().cursor() as cursor:
        cursor.execute(
            "DELETE FROM procrastinate_jobs WHERE id = ANY(%s)", [sorted(job_ids)]
        )


@cache
def _manager(alias: str) -> JobManager:
    """Return the job manager for a database of the project."""
    return App(connector=DjangoConnector(alias=alias)).job_manager


@contextmanager
def _django_errors() -> Iterator[None]:
    """Raise Django's errors of the database, as for all other statements."""
    try:
        yield
    except ConnectorException as error:
        with app_connection().wrap_database_errors:
            raise error.__cause__ or error from None
