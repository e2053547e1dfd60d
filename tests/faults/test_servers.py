"""Faults done to real servers, in short; `make faults` does them at length."""

import os
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from bench.faults import away, crash, crowd, ends, model, races, readers, servers
from bench.faults.model import Model
from bench.faults.servers import Site


@pytest_asyncio.fixture
async def upstream() -> AsyncIterator[Model]:
    """A model that is as strict as the vendors' are."""
    async with model.serving() as serving:
        yield serving


@pytest.fixture
def site(upstream: Model) -> Iterator[Site]:
    """Servers with a database of their own, where the suite runs."""
    with servers.site(upstream, os.environ.get("TEST_DATABASE_URL", "")) as made:
        yield made


async def test_resume_at_every_cut_point_from_two_processes(site: Site) -> None:
    await readers.cut_points(site)


async def test_fifty_readers_of_one_run_see_the_same_bytes(site: Site) -> None:
    await readers.fifty(site)


async def test_readers_that_come_and_go_see_the_same_bytes(site: Site) -> None:
    await readers.come_and_go(site, seconds=3, count=10, seed=1)


async def test_clients_resume_by_themselves_after_kill_9(
    site: Site, upstream: Model
) -> None:
    await crash.kills(site, upstream, 2, seed=1)


async def test_sigterm_with_many_open_streams_tells_them_all(site: Site) -> None:
    await ends.terminate(site, 60)


async def test_a_process_that_stood_still_has_lost_its_runs(
    site: Site, upstream: Model
) -> None:
    await ends.suspend(site, upstream)


async def test_idle_streams_are_held_by_one_process(
    site: Site, upstream: Model
) -> None:
    await crowd.idle(site, upstream, 100)


async def test_a_reader_that_stops_reading_holds_nobody_up(site: Site) -> None:
    await crowd.stuck(site, seconds=1)


async def test_a_reader_that_takes_nothing_is_let_go(site: Site) -> None:
    await crowd.disconnected(site)


async def test_equal_posts_to_two_processes_are_one_run(
    site: Site, upstream: Model
) -> None:
    await races.identical_posts(site, upstream, 2)


async def test_runs_of_two_processes_race_for_a_conversation(site: Site) -> None:
    await races.one_conversation(site, 4)


async def test_cancel_may_race_the_end(site: Site) -> None:
    await races.cancel_at_the_end(site, 10, seed=1)


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
