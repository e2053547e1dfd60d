"""Workers that are recycled after a number of requests drain as at SIGTERM."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from streaming.testing.server import Server
from tests.client import API
from tests.processes.conftest import Make
from tests.processes.test_further_attempts import TOOLS
from tests.processes.test_shutdown import GUNICORN, LONG, PATIENCE, stuck_reader
from tests.servers import HYPERCORN, SECONDS, UVICORN, Reader, stream

LIMIT = "8"
ALONE = {
    "uvicorn": (*UVICORN, "--limit-max-requests", LIMIT),
    "uvicorn h11": (*UVICORN, "--http", "h11", "--limit-max-requests", LIMIT),
    "uvicorn asyncio": (*UVICORN, "--loop", "asyncio", "--limit-max-requests", LIMIT),
}
#: A parent process starts a new worker in place of each.
SUPERVISED = {
    "uvicorn --workers": (*ALONE["uvicorn"], "--workers", "2"),
    # It kills a worker that has not reported for so long, also one that starts slowly.
    "gunicorn": (*GUNICORN, "--max-requests", LIMIT, "--timeout", "20"),
    "hypercorn": (*HYPERCORN, "--workers", "2", "--max-requests", LIMIT),
}
SERVERS = ALONE | SUPERVISED
#: Longer than gunicorn's timeout.
DRAIN_SECONDS = {"gunicorn": "22"}


def use_up(server: Server, reader: Reader) -> list[str]:
    """Send requests until a reader's stream has ended; return its events."""

    def events() -> list[str]:
        return [frame.event for frame in reader]

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(events)
        deadline = time.monotonic() + SECONDS
        while not reading.done() and time.monotonic() < deadline:
            # Each on a connection of its own, which any worker accepts. None listens
            # until the new one has started.
            with suppress(httpx.TransportError):
                httpx.get(f"{server.url}/health", timeout=1)
            time.sleep(0.1)  # each worker that is used up costs the start of another
        return reading.result(timeout=1)


def test_a_tool_that_never_ends_does_not_keep_a_recycled_worker(
    make: Make, tmp_path: Path
) -> None:
    server = make(*ALONE["uvicorn"], **TOOLS, TRACE=str(tmp_path / "calls"))
    server.start()
    prompt = 'call never_end with {"seconds": 600}'
    run = httpx.post(f"{server.url}{API}/run", json={"input": prompt}, timeout=SECONDS)
    assert run.status_code == 200
    with suppress(httpx.TransportError):  # from the last one on
        for _ in range(int(LIMIT)):
            httpx.get(f"{server.url}/health", timeout=SECONDS)
    assert server.ends_within(SECONDS)
    assert server.returncode == 0


def test_a_tool_that_never_ends_does_not_keep_hypercorn(
    make: Make, tmp_path: Path
) -> None:
    server = make(*HYPERCORN, **TOOLS, TRACE=str(tmp_path / "calls"))
    server.start()
    prompt = 'call never_end with {"seconds": 600}'
    httpx.post(f"{server.url}{API}/run", json={"input": prompt}, timeout=SECONDS)
    server.send_signal(signal.SIGTERM)
    assert server.ends_within(SECONDS)


@pytest.mark.parametrize("name", SERVERS)
def test_a_recycled_worker_gives_its_runs_time_and_saves_the_others(
    make: Make, name: str
) -> None:
    drain = DRAIN_SECONDS.get(name, "5")
    server = make(*SERVERS[name], DEMO_DELAY_MS="20", DRAIN_SECONDS=drain)
    server.start()
    with (
        stream(server, "count to 60") as short,
        stream(server, LONG) as long,
        stream(server, LONG, background=True) as left,
    ):
        for reader in (short, long, left):
            reader.until("content")
        left.response.close()
        assert use_up(server, long)[-2:] == ["error", "done"]
        assert [frame.event for frame in short][-2:] == ["complete", "done"]
        ids = [r.response.headers["X-Run-Id"] for r in (long, left)]
    if name in ALONE:
        assert server.ends_within(PATIENCE)
        assert server.returncode == 0
        server.start()
    for run_id in ids:
        run = ended_run(server, run_id)
        assert run["error"]["code"] == "shutting_down"
        assert run["output"].startswith("1 2 3")
    assert "Traceback" not in server.log.read_text()


def ended_run(server: Server, run_id: str) -> dict[str, Any]:
    """Return a run when it has ended; a run of another worker may go on for a while."""
    deadline = time.monotonic() + SECONDS
    with httpx.Client(
        transport=httpx.HTTPTransport(retries=100), timeout=SECONDS
    ) as client:
        while time.monotonic() < deadline:
            try:
                run = client.get(f"{server.url}{API}/runs/{run_id}", timeout=2).json()
            except httpx.TransportError:
                continue  # its worker was recycled meanwhile
            if run["status"] not in ("queued", "running"):
                return dict(run)
            time.sleep(0.05)  # each request also brings the limit nearer
    raise AssertionError(f"run {run_id} did not end")


def test_a_reader_resumes_at_another_worker(make: Make) -> None:
    server = make(*SERVERS["uvicorn --workers"], DEMO_DELAY_MS="20", DRAIN_SECONDS="30")
    server.start()
    with stream(server, "count to 150") as reader:
        last = reader.until("content").id
        run_id = reader.response.headers["X-Run-Id"]
        ended = use_up(server, reader)
    assert ended[-2:] == ["complete", "done"]
    assert resume(server, run_id, last)[1:] == ended


def resume(server: Server, run_id: str, last: str) -> list[str]:
    """Return the events of a run after the last one, as soon as a worker sends them."""
    url = f"{server.url}{API}/runs/{run_id}/events"
    after = {"Last-Event-ID": last}
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        try:
            with httpx.stream("GET", url, headers=after, timeout=SECONDS) as response:
                return [frame.event for frame in Reader(response)]
        except httpx.TransportError:
            continue  # a worker that is recycled closes connections without a request
    raise AssertionError(f"run {run_id} was not resumed")


@pytest.mark.parametrize("name", ALONE)
def test_a_reader_that_does_not_read_cannot_prevent_the_recycling(
    make: Make, name: str
) -> None:
    with stuck_reader(make, *ALONE[name], DRAIN_SECONDS="0") as server:
        deadline = time.monotonic() + PATIENCE
        while server.is_running and time.monotonic() < deadline:
            try:
                httpx.get(f"{server.url}/health", timeout=1)
            except httpx.TransportError:
                time.sleep(0.05)  # it no longer listens, and has yet to end
        assert server.returncode == 0
