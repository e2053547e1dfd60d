"""The pending runs of a process that executes no queued ones."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from streaming import conf
from streaming.agents.loops import make_loops
from streaming.models import Run
from streaming.principals import Principal
from streaming.runs import RunService
from streaming.runs.requests import RunRequest
from streaming.testing.provider import Reply, StandInProvider
from tests import chat
from tests.client import SECONDS
from tests.faults.database import FaultyDatabase

pytestmark = pytest.mark.usefixtures("model", "transactional_db")


async def test_a_claim_during_the_shutdown_returns_its_run_to_the_queue(
    upstream: StandInProvider,
) -> None:
    access, claimed, go_on = FaultyDatabase(), threading.Event(), threading.Event()

    def hold(claim: Callable[[], Any]) -> object:
        result = claim()
        claimed.set()
        assert go_on.wait(SECONDS)
        return result

    access.around["claim"] = hold
    service = RunService(make_loops(), conf.get(), access)
    end = asyncio.Event()
    upstream.reply(Reply.of([chat.pieces("one"), chat.ending()], held=end))
    asked = RunRequest(
        input="Hi",
        principal=Principal("acme"),
        conversation_id="c",
        on_busy="queue",
        background=True,
    )
    await service.start(asked)
    pending = await service.start(asked)
    assert pending.status == "pending"
    end.set()
    assert await asyncio.to_thread(claimed.wait, SECONDS)
    closing = asyncio.create_task(service.aclose())
    # The claim is awaited: the time is that in which it would be left otherwise.
    await asyncio.wait([closing], timeout=0.3)
    go_on.set()
    async with asyncio.timeout(SECONDS):
        await closing
    stored = await Run.objects.aget(pk=pending.id)
    assert (stored.status, stored.worker, stored.attempt) == ("queued", "", 1)
