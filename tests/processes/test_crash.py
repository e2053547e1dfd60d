"""Servers are killed, and what was promised is still there."""

import signal

import httpx

from tests.client import API, Frame
from tests.processes.server import LONG, SECONDS, UVICORN, Reader, Start, stream


def test_after_kill_9_the_stream_goes_on_where_it_was(make: Start) -> None:
    server = make(*UVICORN, DEMO_DELAY_MS="5", RUN_LEASE_SECONDS="1")
    server.start()
    seen: list[Frame] = []
    with stream(server, LONG, conversation_id="c") as reader:
        for frame in reader:
            seen.append(frame)
            if len(seen) == 200:
                server.send(signal.SIGKILL)
    assert server.ends_within(5)
    server.start()
    run_id = seen[1].id.partition(":")[0]
    url = f"{server.url}{API}/runs/{run_id}/events"
    headers = {"Last-Event-ID": seen[-1].id}
    with httpx.stream("GET", url, headers=headers, timeout=SECONDS) as response:
        resumed = list(Reader(response))
    numbers = [f.number for f in [*seen, *resumed] if f.id]
    assert numbers == sorted(set(numbers))
    assert [f.event for f in resumed][-2:] == ["error", "done"]
    assert resumed[-2].data["metadata"]["code"] == "interrupted"
    answer = httpx.post(
        f"{server.url}{API}/run", json={"input": "2 + 2", "conversation_id": "c"}
    )
    assert "4" in answer.json()["output"]
