"""A process of `bench.remote`: it writes the events of runs, reads them, or both.

Its argument is a `Part` in JSON; it prints a `Measured`. The event log is used without
HTTP and without an agent, so that the way from one process to another is measured.
"""

import asyncio
import os
import sys
import time
from collections.abc import Sequence

import django
import msgspec
import uvloop

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "agentsite.settings")
django.setup()

from bench.load import percentiles  # noqa: E402
from bench.remote import Measured, Part  # noqa: E402
from streaming import conf  # noqa: E402  (Django's models need its set-up)
from streaming.event_log import ClosedLogs, DatabaseLog, choose_live  # noqa: E402
from streaming.events import Content, Done  # noqa: E402
from streaming.models import (  # noqa: E402
    Conversation,
    Organization,
    Run,
    RunStatus,
)
from streaming.storage import database  # noqa: E402

#: So that the JSON of an event has 120 bytes.
PADDING = "x" * 42
GRACE_SECONDS = 60
POLL_SECONDS = 0.02
STAMP = slice(0, 16)


class Process:
    """The event log of this process, its writers and its readers."""

    def __init__(self, part: Part, begins: float) -> None:
        options = conf.get()
        self._part = part
        self._lost: list[str] = []
        self._delays: list[int] = []
        self._begins = begins
        self._cpu = 0.0
        self._log = DatabaseLog(
            part.worker,
            options.event_flush_ms / 1000,
            self._lost.append,
            live_seconds=options.event_live_ms / 1000,
            live=choose_live(options.event_live, options.redis_url),
        )

    async def work(self) -> Measured:
        """Write and read, each run in a task of its own."""
        part = self._part
        async with asyncio.TaskGroup() as tasks:
            for index, run_id in enumerate(part.writes):
                tasks.create_task(self._write(run_id, index / len(part.writes)))
            for run_id in part.reads:
                tasks.create_task(self._read(run_id))
            tasks.create_task(self._measure_cpu())
        await self._log.aclose()
        await asyncio.to_thread(database.close)
        if self._lost:
            raise RuntimeError(f"{len(self._lost)} runs were lost")
        return Measured(len(self._delays), percentiles(self._delays), self._cpu)

    async def _write(self, run_id: str, phase: float) -> None:
        part, log = self._part, self._log
        log.open(run_id, 1)
        if run_id not in part.reads:
            log.share(run_id, True)
        interval = 1 / part.events_per_second
        due = self._begins + phase * interval
        while due < self._ends:
            await asyncio.sleep(max(due - time.monotonic(), 0))
            stamp = f"{time.monotonic_ns() // 1000:016}"
            log.append(run_id, [Content(content=stamp + PADDING)])
            due += interval
        await log.close(run_id, [Done()], run_id, _end)

    async def _read(self, run_id: str) -> None:
        rate, warm_up = self._part.events_per_second, self._part.warm_up
        first, count = round(warm_up * rate), round(self._part.seconds * rate)
        last, ended = 0, False
        remaining = self._ends - time.monotonic() + GRACE_SECONDS
        async with asyncio.timeout(remaining):
            async for batch in self._log.follow(run_id, 0, heartbeat=60):
                now = time.monotonic_ns() // 1000
                for entry in batch:
                    if entry.number != last + 1:
                        raise RuntimeError(f"{entry.number} came after {last}")
                    last = entry.number
                    if first < entry.number <= first + count:
                        sent = int(entry.data.partition(b'"content":"')[2][STAMP])
                        self._delays.append(now - sent)
                ended = bool(batch) and batch[-1].is_last
        if not ended:
            raise RuntimeError(f"run {run_id} was followed up to {last} only")

    async def _measure_cpu(self) -> None:
        await asyncio.sleep(max(self._measures_from - time.monotonic(), 0))
        before = time.process_time()
        await asyncio.sleep(max(self._ends - time.monotonic(), 0))
        self._cpu = time.process_time() - before

    @property
    def _measures_from(self) -> float:
        return self._begins + self._part.warm_up

    @property
    def _ends(self) -> float:
        return self._measures_from + self._part.seconds


def _begin(part: Part) -> float:
    """Report that this process is ready; return the time to begin."""
    part.ready.touch()
    while not part.go.exists():
        time.sleep(POLL_SECONDS)  # polled: files tell of no change
    return float(part.go.read_text())


def _end(ended: ClosedLogs[str]) -> None:
    for run_id, log_state in ended:
        Run.objects.filter(pk=run_id).update(
            status=RunStatus.COMPLETED, log_state=log_state
        )


def seed(workers: Sequence[str], runs: int) -> list[list[str]]:
    """Insert so many runs of each worker; return their ids."""
    organization, _ = Organization.objects.get_or_create(org_id="bench")
    made: list[list[str]] = []
    for worker in workers:
        conversations = Conversation.objects.bulk_create(
            Conversation(organization=organization, conversation_id=f"{worker}-{n}")
            for n in range(runs)
        )
        inserted = Run.objects.bulk_create(
            Run(
                organization=organization,
                conversation=conversation,
                input="bench",
                provider="demo",
                model="demo",
                worker=worker,
                attempt=1,
            )
            for conversation in conversations
        )
        made.append([run.pk for run in inserted])
    return made


def main() -> None:
    """The command: `seed WORKER,WORKER RUNS`, or a `Part` in JSON."""
    match sys.argv[1:]:
        case ["seed", workers, runs]:
            print(msgspec.json.encode(seed(workers.split(","), int(runs))).decode())
        case [part]:
            process = msgspec.json.decode(part, type=Part)

            begins = _begin(process)

            async def work() -> Measured:
                return await Process(process, begins).work()

            print(msgspec.json.encode(uvloop.run(work())).decode())


if __name__ == "__main__":
    main()
