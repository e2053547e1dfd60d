"""`manage.py agent_worker` executes the runs that other processes enqueue."""

import asyncio
import signal
from collections.abc import Callable, Collection

from django.core.management.base import BaseCommand, CommandError, CommandParser
from msgspec.structs import replace

from streaming import conf, runs
from streaming.agents import registry
from streaming.agents.loops import make_loops
from streaming.app_options import AgentConf
from streaming.runs import RunService
from streaming.server.asgi import tune_gc
from streaming.server.process_end import limit_end
from streaming.storage import database, migrations

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Command(BaseCommand):
    """Executes queued runs until a signal or a drain; a second signal ends at once."""

    help = (
        "Executes queued runs without serving requests. At SIGTERM, Ctrl+C or an "
        "operator's drain it claims no more, and active runs have DRAIN_SECONDS to "
        "end. A second signal ends the process at once."
    )

    #: Whether the process belongs to this command, and ends with it.
    _owns_process = False

    def run_from_argv(self, argv: list[str]) -> None:
        """Execute the command line of this process."""
        self._owns_process = True
        super().run_from_argv(argv)

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the arguments."""
        parser.add_argument(
            "--queue",
            action="append",
            default=[],
            dest="queues",
            metavar="NAME",
            help="queue of agents whose runs are executed; may be repeated "
            "(default: all queues)",
        )
        parser.add_argument(
            "--concurrency",
            type=int,
            metavar="RUNS",
            help="maximum number of runs at a time; 0: no limit (default: RUN_MAX)",
        )

    def handle(
        self,
        *args: object,
        queues: list[str],
        concurrency: int | None,
        **_: object,
    ) -> None:
        """Execute queued runs."""
        options = conf.get()
        if concurrency is not None:
            if concurrency < 0:
                raise CommandError("--concurrency: expected a number, at least 0.")
            options = replace(options, run_max=concurrency)
        known = sorted({agent.queue for agent in registry.get().offered.values()})
        for name in queues:
            if name not in known:
                raise CommandError(
                    f"No agent has the queue {name!r}. The queues are: "
                    f"{', '.join(known)}."
                )
        try:
            with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                runner.run(self._execute(options, queues))
        finally:
            database.close()

    async def _execute(self, options: AgentConf, queues: Collection[str]) -> None:
        stopped = self._watch_signals()
        service = runs.install(
            RunService(make_loops(), options, database.default, queues=queues)
        )
        service.work()
        checking = asyncio.create_task(migrations.report_missing())
        tune_gc()
        served = f"queue {', '.join(queues)}" if queues else "all queues"
        self.stdout.write(f"Executing runs of {served} as {service.worker.name}.")
        self.stdout.flush()
        waiting = [
            asyncio.create_task(stopped.wait()),
            # An operator's drain: a supervisor starts a new process in its place.
            asyncio.create_task(service.wait_for_drain()),
        ]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in (checking, *waiting):
            task.cancel()
        await runs.aclose()
        if self._owns_process:
            limit_end()

    def _watch_signals(self) -> asyncio.Event:
        """Return an event that the first signal sets; the next one is not caught."""
        stopped, loop = asyncio.Event(), asyncio.get_running_loop()

        def stop() -> None:
            for number in SIGNALS:
                loop.remove_signal_handler(number)
                signal.signal(number, signal.SIG_DFL)
            stopped.set()

        for number in SIGNALS:
            loop.add_signal_handler(number, stop)
        return stopped


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return that of uvloop where it is installed, as uvicorn does."""
    try:
        from uvloop import new_event_loop
    except ImportError:  # Windows has none
        return None
    return new_event_loop
