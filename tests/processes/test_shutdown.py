"""Servers are told to end: runs get their time, readers are told, and all ends."""

import signal

import httpx
import pytest

from tests.client import API
from tests.processes.server import LONG, RUNSERVER, UVICORN, Start, stream


def test_ctrl_c_ends_runserver_at_once_with_open_streams(make: Start) -> None:
    server = make(*RUNSERVER, DEMO_DELAY_MS="20")
    server.start()
    banner = server.log.read_text()
    for told in ("provider demo", "demo-1", f":{server.port}/health", "/admin/"):
        assert told in banner
    with stream(server, LONG) as reader:
        reader.until("content")
        server.send(signal.SIGINT)
        assert server.ends_within(4)
        assert [frame.event for frame in reader][-2:] == ["error", "done"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_runs_end_in_time_then_stops_them(
    make: Start, number: signal.Signals
) -> None:
    server = make(*UVICORN, DEMO_DELAY_MS="20", DRAIN_SECONDS="1")
    server.start()
    with stream(server, "count to 20") as short, stream(server, LONG) as long:
        short.until("content")
        long.until("content")
        server.send(number)
        assert [frame.event for frame in short][-2:] == ["complete", "done"]
        *_, error, done = long
    assert (error.data["metadata"]["code"], done.event) == ("shutting_down", "done")
    assert server.ends_within(5)


def test_a_run_that_nobody_follows_is_ended_and_kept_too(make: Start) -> None:
    server = make(*UVICORN, DEMO_DELAY_MS="20", DRAIN_SECONDS="1")
    server.start()
    ids = []
    for prompt in ("count to 10", LONG):
        with stream(server, prompt, background=True) as reader:
            reader.until("content")
            ids.append(reader.response.headers["X-Run-Id"])
    server.send(signal.SIGTERM)
    assert server.ends_within(5)
    server.start()
    runs = [httpx.get(f"{server.url}{API}/runs/{id}").json() for id in ids]
    assert runs[0]["status"] == "completed"
    assert runs[1]["error"]["code"] == "shutting_down"
    assert runs[1]["output"].startswith("1 2 3")
