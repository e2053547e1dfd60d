"""Leases of runs that another transaction has locked."""

import asyncio
import time

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from streaming.models import Run, RunStatus
from streaming.runs import leases, lifecycle, recovery
from streaming.runs.heartbeat import StaleRuns
from streaming.runs.recovery import Policy
from streaming.storage import database
from tests.event_log.test_database_log import WORKER, make_run
from tests.locks import locked

LONG_AGO = "2020-01-01T00:00Z"


@pytest.mark.usefixtures("transactional_db")
@pytest.mark.postgresql
async def test_a_locked_run_keeps_no_other_from_its_renewal() -> None:
    runs = [await database.execute_write(make_run) for _ in range(2)]
    await Run.objects.aupdate(heartbeat_at=LONG_AGO)
    attempts = {run.id: run.attempt for run in runs}
    async with locked(Run.objects.filter(id=runs[0].id)):
        left_out = await database.execute_write(leases.renew_leases, attempts, WORKER)
        assert left_out == {runs[0].id}
        stale = await database.execute_read(leases.find_stale, 60)
        assert set(stale) == {runs[0].id}
        await database.execute_write(leases.touch_readers, attempts)
        assert not await database.execute_write(
            recovery.recover_orphan,
            runs[0].id,
            stale[runs[0].id],
            float("inf"),
            Policy(3, lambda runs: None),
        )
    assert await database.execute_write(leases.renew_leases, attempts, WORKER) == set()
    assert await database.execute_read(leases.find_stale, 60) == {}
    read = Run.objects.filter(last_reader_at__lte=Now(), id=runs[1].id)
    assert await read.aexists()


@pytest.mark.usefixtures("transactional_db")
@pytest.mark.postgresql
async def test_a_claim_of_one_run_waits_for_a_transaction_that_has_locked_it() -> None:
    run = await database.execute_write(make_run)
    await Run.objects.aupdate(status=RunStatus.QUEUED, worker="")
    claimed = await database.execute_write(lifecycle.claim_all, [run.id], "w")
    assert [claim.id for claim in claimed] == [run.id]
    await Run.objects.aupdate(status=RunStatus.QUEUED, worker="")
    async with locked(Run.objects.filter(id=run.id)):
        assert await database.execute_write(lifecycle.claim_all, [run.id], "w") == []
        write = database.execute_write(lifecycle.claim, run.id, "w")
        claiming = asyncio.create_task(write)
        # A write on the common thread: the claim has left that thread, and waits.
        await database.execute_write(bool)
        assert not claiming.done()
    claim = await claiming
    assert claim and claim.id == run.id


def test_a_stale_run_can_be_watched_anew() -> None:
    stale = StaleRuns(seconds=0.05)
    late = dict.fromkeys(("one", "other"), timezone.now())
    assert stale.confirmed(late) == {}
    time.sleep(0.1)  # the time without a heartbeat is the subject
    assert stale.confirmed(late) == late
    stale.watch_anew("one")
    assert set(stale.confirmed(late)) == {"other"}
