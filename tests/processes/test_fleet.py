"""A fleet under faults, in short; `make fleet` does all of them with 200 clients."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from bench.faults import model
from bench.faults.model import Model
from bench.fleet import exercises, processes
from bench.fleet.__main__ import Clients, exercise, failed
from bench.fleet.cost import measure, paced_fleet
from bench.fleet.exercises import Exercise
from bench.fleet.processes import Fleet, Size
from tests.available import need

pytestmark = [
    pytest.mark.xdist_group("fleet"),
    pytest.mark.asyncio(loop_scope="module"),
]

CLIENTS = Clients(sse=10, browsers=1, run_seconds=3)
SIZE = Size(lease_seconds=4)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def upstream() -> AsyncIterator[Model]:
    """A model that is as strict as the vendors' are."""
    async with model.serving() as serving:
        yield serving


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(upstream: Model) -> AsyncIterator[Fleet]:
    """Processes of each kind, on services of their own."""
    for program in ("nginx", "postgres-server", "redis", "packages"):
        need(program)
    async with processes.serving(SIZE, upstream) as started:
        yield started


@pytest.mark.parametrize(
    "do", [exercises.roll_webs, exercises.kill_worker, exercises.restart_postgres]
)
async def test_clients_of_a_fleet_notice_no_fault(
    fleet: Fleet, upstream: Model, do: Exercise
) -> None:
    row = await exercise(fleet, do, CLIENTS)
    assert not failed(row), row
    assert row["ended"] == row["runs"]
    assert not upstream.refused, upstream.refused[0]


async def test_connections_and_transactions_do_not_grow_with_the_streams() -> None:
    for program in ("nginx", "postgres-server", "redis"):
        need(program)
    # No lease expires on a busy machine: another process would take the run over.
    size = Size(lease_seconds=60)
    async with paced_fleet(size, DATABASE_POOL_SIZE="10") as fleet:
        few = await measure(fleet, 6, pace_ms=500, seconds=3)
        many = await measure(fleet, 60, pace_ms=500, seconds=3)
    writers = len(fleet.executing)
    for cost in (few, many):
        # One for the events of all runs, and at most one of the heartbeat beside it.
        assert cost.transactions_a_flush <= 2 * writers
        assert sum(cost.connections.values()) <= 10 * len(fleet.servers)
    assert many.rows_a_flush > few.rows_a_flush
