"""Clients of other authors, outside of browsers, against a real server."""

import json
import shutil
import signal
import subprocess
from collections.abc import Iterator

import httpx
import pytest
from httpx_sse import ServerSentEvent, connect_sse

from streaming.testing.server import Server
from streaming.testing.sse import Frame, FrameReader, parse
from tests.client import API
from tests.processes.conftest import Make
from tests.servers import SECONDS, UVICORN

COUNT = 200
BODY = {"input": f"count to {COUNT}", "background": True}


@pytest.fixture
def server(make: Make) -> Server:
    """A server that counts quickly."""
    server = make(*UVICORN, DEMO_DELAY_MS="5", RUN_LEASE_SECONDS="1")
    server.start()
    return server


def unbroken(server: Server, run_id: str) -> list[Frame]:
    """Return the run's events as one stream."""
    url = f"{server.url}{API}/runs/{run_id}/events"
    whole = parse(httpx.get(url, timeout=SECONDS).content)
    frames = [frame for frame in whole if frame.id]
    assert frames[-1].event == "done"
    return frames


def read(
    server: Server,
    last_event_id: str = "",
    stop_after: int = 100_000,
    body: object = BODY,
) -> Iterator[ServerSentEvent]:
    """Send a POST (again) and yield the logged events as httpx-sse reads them."""
    headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
    url = f"{server.url}{API}/stream"
    with (
        httpx.Client(timeout=SECONDS) as client,
        connect_sse(client, "POST", url, json=body, headers=headers) as source,
    ):
        for event in source.iter_sse():
            if event.data and event.event != "connected":
                yield event
                stop_after -= 1
            if not stop_after:
                return


def pairs(events: list[ServerSentEvent]) -> list[tuple[str, str]]:
    return [(event.id, event.data) for event in events]


def run_of(events: list[ServerSentEvent]) -> str:
    return events[0].id.partition(":")[0]


def test_httpx_sse_that_leaves_and_comes_back_has_the_unbroken_stream(
    server: Server,
) -> None:
    events: list[ServerSentEvent] = []
    while not events or events[-1].event != "done":
        last_event_id = events[-1].id if events else ""
        events += read(server, last_event_id, stop_after=30)
    whole = unbroken(server, run_of(events))
    assert pairs(events) == [(f.id, f.text) for f in whole]


def test_httpx_sse_goes_on_after_the_server_was_killed(server: Server) -> None:
    events: list[ServerSentEvent] = []
    long = {**BODY, "input": "count to 5000"}  # it does not end before the kill
    with pytest.raises(httpx.TransportError):
        for event in read(server, body=long):
            events.append(event)
            if len(events) == 50:
                server.send_signal_to_all(signal.SIGKILL)
    server.ends_within(SECONDS)
    server.start()
    events += read(server, events[-1].id, body=long)
    numbers = [int(event.id.partition(":")[2]) for event in events]
    assert numbers == sorted(set(numbers))
    error, done = events[-2:]
    assert json.loads(error.data)["metadata"]["code"] == "interrupted"
    assert done.event == "done"


def test_httpx_sse_lives_through_heartbeats(make: Make) -> None:
    server = make(*UVICORN, DEMO_DELAY_MS="200", STREAM_HEARTBEAT_SECONDS="0.05")
    server.start()
    url, body = f"{server.url}{API}/stream", {"input": "stream 3 words"}
    with (
        httpx.Client(timeout=SECONDS) as client,
        connect_sse(client, "POST", url, json=body) as source,
    ):
        events = list(source.iter_sse())
    # It makes an empty message of each comment, once it has seen an id.
    assert any(not event.data for event in events)
    logged = [event for event in events if event.data and event.event != "connected"]
    whole = unbroken(server, run_of(logged))
    assert pairs(logged) == [(f.id, f.text) for f in whole]


def test_curl_that_is_stopped_goes_on_with_the_last_id(server: Server) -> None:
    curl = shutil.which("curl")
    assert curl, "curl is needed"
    quiet = [curl, "--silent", "--show-error", "--no-buffer"]
    post = ["-H", "Content-Type: application/json", "-d", json.dumps(BODY)]
    command = [*quiet, *post, f"{server.url}{API}/stream"]
    first = b""
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        while first.count(b"\n\n") < 50:
            first += process.stdout.readline()
        process.terminate()
    frames = frames_of(first)
    run_id = frames[0].id.partition(":")[0]
    resume = ["-H", f"Last-Event-ID: {frames[-1].id}"]
    url = f"{server.url}{API}/runs/{run_id}/events"
    rest = subprocess.run(
        [*quiet, *resume, url], capture_output=True, check=True, timeout=SECONDS
    )
    frames += frames_of(rest.stdout)
    assert [frame.raw for frame in frames] == [f.raw for f in unbroken(server, run_id)]


def frames_of(output: bytes) -> list[Frame]:
    """Return the complete frames of logged events."""
    return [frame for frame in FrameReader().feed(output) if frame.id]
