"""Workers of procrastinate for tests: services that share only the database."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from django.db import connection
from msgspec.structs import replace

from streaming import conf
from streaming.agents.loops import make_loops
from streaming.models import Run
from streaming.runs import RunService
from streaming.runs.timings import Timings
from streaming.storage import database
from streaming.storage.database import Database


@asynccontextmanager
async def working(
    name: str = "worker",
    *,
    queues: Collection[str] = (),
    concurrency: int = 0,
    timings: Timings | None = None,
    access: Database = database.default,
) -> AsyncIterator[RunService]:
    """Run a worker, as `manage.py agent_worker` does."""
    service = RunService(
        make_loops(),
        replace(conf.get(), run_max=concurrency),
        access,
        name=name,
        queues=queues,
        timings=timings,
    )
    service.work()
    try:
        yield service
    finally:
        await service.aclose()


def all_jobs() -> list[tuple[int, str, str, int]]:
    """Return the id, status, queue and priority of each job, in order."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, status::text, queue_name, priority FROM procrastinate_jobs"
            " ORDER BY id"
        )
        return list(cursor.fetchall())


def job_of(run_id: str) -> int | None:
    """Return the newest job of a run."""
    return Run.objects.values_list("job_id", flat=True).get(pk=run_id)


def set_status(job_id: int | None, status: str) -> None:
    """Change a job as a worker does that fetches it, and then dies."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE procrastinate_jobs SET status = %s::procrastinate_job_status"
            " WHERE id = %s",
            [status, job_id],
        )


def delete(job_id: int | None) -> None:
    """Delete a job."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM procrastinate_jobs WHERE id = %s", [job_id])


def disconnect(spared: int) -> int:
    """Terminate all connections to this database but two, as a restart does."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database()"
            " AND backend_type = 'client backend'"
            " AND pid NOT IN (pg_backend_pid(), %s)",
            [spared],
        )
        return int(cursor.fetchone()[0])
