"""Clients of web pages, in Node.js: EventSource, fetch-event-source and our own."""

import asyncio
import json
from pathlib import Path

from bench.faults.databases import ROOT
from bench.fleet.comparison import PACE_MS, Event, Prompt, Seen
from streaming.testing.server import clean_environment
from tests.available import node_path

PROGRAM = Path(__file__).with_name("clients.mjs")
END_SECONDS = 180
KINDS = ("EventSource", "fetch-event-source", "client")


class Browsers:
    """Some clients of each kind, each with one run at a time; none without Node.js."""

    def __init__(self, api: str, of_each_kind: int, numbers: int) -> None:
        self._prompt = Prompt.make(numbers, with_tools=False)
        self._options = {
            "api": api,
            "count": of_each_kind,
            "body": self._prompt.body,
            "spreadMs": PACE_MS * 5,
        }
        self._processes: list[asyncio.subprocess.Process] = []

    async def start(self) -> None:
        """Start the clients, a process for each kind."""
        node = node_path()
        if not node or not self._options["count"]:
            return
        for kind in KINDS:
            process = await asyncio.create_subprocess_exec(
                *(node, "--experimental-eventsource", "--no-warnings", str(PROGRAM)),
                json.dumps({**self._options, "kind": kind}),
                cwd=ROOT,
                env=clean_environment(),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            self._processes.append(process)

    async def finish(self) -> list[Seen]:
        """Have the clients end after their current runs; return all that they saw."""
        async with asyncio.timeout(END_SECONDS):
            printed = await asyncio.gather(*map(self._finish, self._processes))
        return [self._seen(line) for each in printed for line in each.splitlines()]

    async def _finish(self, process: asyncio.subprocess.Process) -> bytes:
        printed, _ = await process.communicate(b"stop\n")
        if process.returncode:
            raise RuntimeError(f"node ended with {process.returncode}")
        return printed

    async def kill(self) -> None:
        """End the clients at once, if they run."""
        for process in self._processes:
            if process.returncode is None:
                process.kill()
                await process.wait()

    def _seen(self, line: bytes) -> Seen:
        run = json.loads(line)
        return Seen(
            run["client"],
            run["runId"],
            self._prompt,
            run["askedAt"] / 1000,
            [Event(n, kind, data, at / 1000) for n, kind, data, at in run["events"]],
            run["trouble"],
        )
