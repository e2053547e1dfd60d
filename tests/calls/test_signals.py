"""Django's signals about runs: after the commit, apart from the runs' own path."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from django.contrib.auth.models import User
from django.dispatch import Signal

from streaming import Agent, runs
from streaming.models import Run
from streaming.runs.signal_sender import SignalSender
from streaming.signals import run_ended, run_started
from streaming.storage import database
from streaming.storage.database import SIGNALS
from streaming.testing.provider import Reply, StandInProvider
from tests import chat
from tests.client import SECONDS, Api, all_runs_end
from tests.threads import in_thread

Connect = Callable[[Signal, Callable[..., object]], None]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Connect receivers for the time of a test."""
    connected: list[tuple[Signal, Callable[..., object]]] = []

    def connect(signal: Signal, receiver: Callable[..., object]) -> None:
        signal.connect(receiver, weak=False)
        connected.append((signal, receiver))

    yield connect
    for signal, receiver in connected:
        signal.disconnect(receiver)


class Received:
    """A receiver that keeps what it received, and in which thread."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, str]] = []
        self.threads: set[int] = set()

    def __call__(self, run: Run, signal: Signal, **_: object) -> None:
        name = "started" if signal is run_started else "ended"
        self.seen.append((name, run.organization.org_id, run.status))
        self.threads.add(threading.get_ident())


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_run_sends_one_signal_at_each_end(
    api: Api, support: Agent, upstream: StandInProvider, connect: Connect
) -> None:
    received = Received()
    connect(run_started, received)
    connect(run_ended, received)
    upstream.reply(chat.answer("Hallo"), Reply(status=500))
    await support.run("Hi", organization="acme")
    await until(lambda: len(received.seen) == 2)
    await support.start("Hi")
    await until(lambda: len(received.seen) == 4)
    assert received.seen[1::2] == [
        ("ended", "acme", "completed"),
        ("ended", "default", "failed"),
    ]
    assert [name for name, _, _ in received.seen[::2]] == ["started", "started"]
    assert threading.get_ident() not in received.threads
    assert len(received.threads) == 1


async def test_receivers_may_use_the_orm_and_fail(
    api: Api,
    support: Agent,
    upstream: StandInProvider,
    connect: Connect,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(**_: object) -> None:
        raise SystemExit

    def bill(run: Run, **_: object) -> None:
        User.objects.create(username=run.id)
        raise ValueError("no money")

    connect(run_started, fail)
    connect(run_ended, bill)
    upstream.reply(*[chat.answer("Hallo")] * 2)
    first = await support.run("Hi")
    second = await support.run("Hi")
    assert second.output == "Hallo"
    await runs.aclose()  # waits for the receivers
    names = {user.username async for user in User.objects.all()}
    assert names == {first.id, second.id}
    assert "no money" in caplog.text
    assert "signal receiver failed" in caplog.text


async def test_a_receiver_that_hangs_delays_no_run(
    api: Api, support: Agent, upstream: StandInProvider, connect: Connect
) -> None:
    answer = threading.Event()
    connect(run_started, lambda **_: answer.wait(SECONDS))
    upstream.reply(chat.answer("Hallo"))
    try:
        assert (await support.run("Hi")).output == "Hallo"
    finally:
        answer.set()


async def test_asynchronous_receivers_are_called(
    api: Api, support: Agent, upstream: StandInProvider, connect: Connect
) -> None:
    seen: list[str] = []

    async def receive(run: Run, **_: object) -> None:
        await asyncio.sleep(0)
        seen.append(run.status)

    connect(run_ended, receive)
    upstream.reply(chat.answer("Hallo"))
    await support.run("Hi")
    await until(lambda: seen == ["completed"])


@pytest.mark.parametrize("from_thread", [True, False])
async def test_a_run_that_is_cancelled_in_the_queue_has_ended(
    api: Api, support: Agent, connect: Connect, from_thread: bool
) -> None:
    received = Received()
    connect(run_ended, received)
    service = runs.get_own_service()
    queued = await in_thread(support.enqueue, "Hi")
    if from_thread:
        await in_thread(runs.cancel_from_thread, [queued.id])
    else:
        await service.cancel(queued.id)
    await until(lambda: received.seen == [("ended", "default", "cancelled")])
    await service.cancel(queued.id)
    await all_runs_end()
    assert len(received.seen) == 1


async def test_a_process_that_has_lost_a_run_sends_no_end_of_it(
    api: Api, support: Agent, upstream: StandInProvider, connect: Connect
) -> None:
    received = Received()
    connect(run_ended, received)
    upstream.reply(Reply(chat.pieces("x"), end="hang"))
    run = await support.start("Hi")
    service = runs.get_service()
    await until(lambda: upstream.active)
    await Run.objects.filter(pk=run.id).aupdate(worker="dead")
    await until(lambda: run.id not in service.worker.executions)
    assert received.seen == []


async def test_signals_beyond_the_limit_are_dropped_and_all_losses_logged(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    connect(run_ended, lambda **_: None)
    sender, answer = SignalSender(database.default, max_waiting=2), threading.Event()
    held = asyncio.create_task(
        database.default.call_in(SIGNALS, partial(answer.wait, SECONDS))
    )
    await asyncio.sleep(0)  # a receiver that does not respond has the thread now
    sender.ended("a", "b", "c", "d")
    await sender.aclose(0.01)
    assert [line for line in caplog.messages if line.startswith("signals")] == [
        "signals dropped: 2 wait for receivers",
        "signals not sent at the end: 2",
    ]
    answer.set()
    await held
