"""Faults done to real servers, in short; `make faults` does them at length."""

import os
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from bench.faults import away, crash, crowd, ends, model, races, readers, servers
from bench.faults.model import Model
from bench.faults.servers import Site

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: Tests that leave the servers as they were use the same two.
of_shared_site = pytest.mark.xdist_group("faults")


@pytest_asyncio.fixture(loop_scope="module")
async def upstream() -> AsyncIterator[Model]:
    """A model that is as strict as the vendors' are."""
    async with model.serving() as serving:
        yield serving


@pytest.fixture
def site(upstream: Model) -> Iterator[Site]:
    """Servers with a database of their own, where the suite runs."""
    with servers.site(upstream, os.environ.get("TEST_DATABASE_URL", "")) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_upstream() -> AsyncIterator[Model]:
    """The model of the shared site."""
    async with model.serving() as serving:
        yield serving


@pytest.fixture(scope="module")
def shared_site(shared_upstream: Model) -> Iterator[Site]:
    """The same for several tests."""
    database_url = os.environ.get("TEST_DATABASE_URL", "")
    with servers.site(shared_upstream, database_url) as made:
        yield made


@of_shared_site
async def test_resume_at_every_cut_point_from_two_processes(shared_site: Site) -> None:
    await readers.cut_points(shared_site)


@pytest.mark.sqlite
@of_shared_site
async def test_fifty_readers_of_one_run_see_the_same_bytes(shared_site: Site) -> None:
    await readers.fifty(shared_site)


@pytest.mark.sqlite
@of_shared_site
async def test_readers_that_come_and_go_see_the_same_bytes(shared_site: Site) -> None:
    await readers.come_and_go(shared_site, seconds=3, count=10, seed=1)


async def test_clients_resume_by_themselves_after_kill_9(
    site: Site, upstream: Model
) -> None:
    await crash.kills(site, upstream, 2, seed=1)


@pytest.mark.sqlite
async def test_sigterm_with_many_open_streams_tells_them_all(site: Site) -> None:
    await ends.terminate(site, 60)


async def test_a_process_that_stood_still_has_lost_its_runs(
    site: Site, upstream: Model
) -> None:
    await ends.suspend(site, upstream)


@pytest.mark.sqlite
async def test_idle_streams_are_held_by_one_process(
    site: Site, upstream: Model
) -> None:
    await crowd.idle(site, upstream, 100)


@pytest.mark.sqlite
async def test_a_reader_that_stops_reading_holds_nobody_up(site: Site) -> None:
    await crowd.stuck(site, seconds=1)


@pytest.mark.sqlite
async def test_a_reader_that_takes_nothing_is_let_go(site: Site) -> None:
    await crowd.disconnected(site)


@of_shared_site
async def test_equal_posts_to_two_processes_are_one_run(
    shared_site: Site, shared_upstream: Model
) -> None:
    await races.identical_posts(shared_site, shared_upstream, 2)


@of_shared_site
async def test_runs_of_two_processes_race_for_a_conversation(shared_site: Site) -> None:
    await races.one_conversation(shared_site, 4)


@of_shared_site
async def test_cancel_may_race_the_end(shared_site: Site) -> None:
    await races.cancel_at_the_end(shared_site, 10, seed=1)


async def test_a_conversation_is_deleted_where_its_run_is_not(site: Site) -> None:
    await races.delete_in_mid_run(site, 4, seed=1)


async def test_a_database_away_for_some_seconds_loses_nothing(
    site: Site, upstream: Model
) -> None:
    await away.for_a_while(site, upstream, 3, refuse=True)


async def test_a_database_that_stalls_delays_no_probe_and_no_end(
    site: Site, upstream: Model
) -> None:
    await away.stalled(site, upstream)
