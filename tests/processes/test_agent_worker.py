"""`manage.py agent_worker` as a process: with each executor, signals and faults."""

import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from streaming.testing.server import Server
from streaming.testing.sse import Frame, parse
from tests.client import API
from tests.processes.conftest import Make, is_executed, row, status_of
from tests.processes.test_further_attempts import TOOLS
from tests.processes.test_queue import enqueue, has_ended, state, until
from tests.servers import SECONDS, UVICORN, stream

WORKER = (sys.executable, "manage.py", "agent_worker")
LONG = "count to 5000"
PROCRASTINATE = pytest.param("procrastinate", marks=pytest.mark.postgresql)
EXECUTORS = pytest.mark.parametrize("executor", ["in_process", PROCRASTINATE])


def launch(make: Make, *options: str, **variables: str) -> Server:
    """Start a worker, and return when it executes runs."""
    worker = make(*WORKER, *options, **variables)
    worker.launch()
    until(lambda: "Executing runs of" in worker.log.read_text())
    return worker


@contextmanager
def followed(server: Server, prompt: str, **fields: object) -> Iterator[str]:
    """Start a run by a request, and wait until it has content."""
    with stream(server, prompt, **fields) as reader:
        reader.until("content")
        yield reader.response.headers["x-run-id"]


@EXECUTORS
def test_a_worker_executes_the_runs_of_a_command(make: Make, executor: str) -> None:
    worker = launch(make, RUN_EXECUTOR=executor)
    [run_id] = enqueue(worker)
    until(lambda: status_of(worker, run_id) == "completed")
    worker.send_signal(signal.SIGTERM)
    assert worker.ends_within(SECONDS)
    assert worker.returncode == 0, worker.log.read_text()


@EXECUTORS
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_second_signal_ends_a_worker_at_once(
    make: Make, executor: str, number: signal.Signals
) -> None:
    variables = {"DEMO_DELAY_MS": "500", "DRAIN_SECONDS": "600"}
    worker = launch(make, RUN_EXECUTOR=executor, **variables)
    [run_id] = enqueue(worker, prompt=LONG)
    until(lambda: is_executed(worker, run_id))
    worker.send_signal(number)
    [later] = enqueue(worker)
    assert not worker.ends_within(1)
    assert status_of(worker, later) == "queued"
    worker.send_signal(number)
    assert worker.ends_within(SECONDS)
    assert worker.returncode == -number
    assert status_of(worker, run_id) == "running"  # until its lease expires


def test_a_tool_that_never_ends_does_not_keep_a_worker(
    make: Make, tmp_path: Path
) -> None:
    worker = launch(make, **TOOLS, TRACE=str(tmp_path / "calls"))
    [run_id] = enqueue(worker, prompt=r"call never_end with {\"seconds\": 600}")
    until(lambda: status_of(worker, run_id) == "completed")
    assert "tool abandoned" in worker.log.read_text()
    worker.send_signal(signal.SIGTERM)
    assert worker.ends_within(SECONDS)
    assert worker.returncode == 0
    assert "process ended, tasks or threads left behind" in worker.log.read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--queue", "slow"],
            "No agent has the queue 'slow'. The queues are: default.",
        ),
        (["--concurrency", "-1"], "--concurrency: expected a number, at least 0."),
    ],
)
def test_an_option_without_a_sense_is_refused(
    make: Make, options: list[str], message: str
) -> None:
    ended = make(*WORKER, *options).run_command()
    assert ended.returncode == 1
    assert message in ended.stderr


IMPORTED = """
import asyncio, sys
import django; django.setup()
from streaming import runs
from streaming.server.asgi import make_application

async def serve():
    runs.get_service()
    await runs.aclose()

make_application()
asyncio.run(serve())
print("procrastinate" in sys.modules)
"""


@EXECUTORS
def test_procrastinate_is_imported_only_if_it_is_configured(
    make: Make, executor: str
) -> None:
    ended = make(RUN_EXECUTOR=executor).run("-c", IMPORTED)
    assert ended.stdout.strip() == str(executor == "procrastinate"), ended.stderr


def test_procrastinate_without_postgresql_is_an_error_of_one_sentence(
    make: Make,
) -> None:
    check = make(
        *(sys.executable, "manage.py", "check"),
        RUN_EXECUTOR="procrastinate",
        DATABASE_URL="",
    )
    ended = check.run_command()
    assert ended.returncode == 1
    assert (
        "(streaming.E004) RUN_EXECUTOR=procrastinate needs PostgreSQL: on SQLite its "
        "tables cannot be created.\n"
    ) in ended.stderr


WITHOUT = """
import sys
sys.modules["procrastinate"] = None
import django; django.setup()
"""


def test_a_missing_package_is_named(make: Make) -> None:
    ended = make(RUN_EXECUTOR="procrastinate", DATABASE_URL="").run("-c", WITHOUT)
    assert "agent-stream[procrastinate]" in ended.stderr.splitlines()[-1]


@pytest.mark.postgresql
def test_a_web_process_is_killed_and_its_stream_goes_on_elsewhere(make: Make) -> None:
    variables = {"RUN_EXECUTOR": "procrastinate", "DEMO_DELAY_MS": "20"}
    worker = launch(make, **variables)
    first, second = make(*UVICORN, **variables), make(*UVICORN, **variables)
    first.start()
    with followed(first, "count to 100", background=True) as run_id:
        first.kill()
    second.start()
    until(lambda: has_ended(second, run_id))
    assert state(second, run_id)["status"] == "completed"
    url = f"{second.url}{API}/runs/{run_id}/events"
    frames = parse(httpx.get(url, timeout=SECONDS).content)[1:]
    assert [frame.number for frame in frames] == [*range(1, len(frames) + 1)]
    assert run_id in worker.log.read_text()
    assert run_id not in second.log.read_text()


NUMBERS = " ".join(map(str, range(1, 101)))


def followed_to_its_end(frames: Iterable[Frame]) -> str:
    """Return the text of a stream without the voided part; ids never repeat."""
    shown: list[tuple[int, str]] = []
    last = 0
    for frame in frames:
        if frame.event == "connected":
            continue
        assert frame.number > last
        last = frame.number
        if frame.event == "restarted":
            after = frame.data["metadata"]["discard_after"]
            shown = [each for each in shown if each[0] <= after]
        elif frame.event == "content":
            shown.append((frame.number, frame.data["content"]))
        assert frame.event != "error", frame.data
    return "".join(text for _, text in shown)


@pytest.mark.postgresql
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_runs_of_a_worker_that_ends_are_continued_by_another(
    make: Make, number: signal.Signals
) -> None:
    variables = {
        "RUN_EXECUTOR": "procrastinate",
        "DRAIN_SECONDS": "0",
        "RUN_LEASE_SECONDS": "2",
        "DEMO_DELAY_MS": "50",
    }
    web = make(*UVICORN, **variables)
    web.start()
    workers = {each.pid: each for each in [launch(make, **variables) for _ in "12"]}
    with stream(web, "count to 100", restarts=True) as reader:
        run_id = reader.response.headers["x-run-id"]
        reader.until("content")
        owner = workers.pop(int(row(web, run_id).worker.split(":")[1]))
        owner.send_signal(number)
        text = followed_to_its_end(reader)
    assert NUMBERS in text.replace("\n", " ")
    ended = row(web, run_id)
    assert ended.status == "completed"
    assert int(ended.worker.split(":")[1]) in workers
    assert owner.ends_within(SECONDS)
    assert owner.returncode == (-number if number == signal.SIGKILL else 0)
