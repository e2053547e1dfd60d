"""Texts that steer runs whose processes die."""

import re
from pathlib import Path
from typing import Any

import httpx

from streaming.testing.server import Server
from tests.client import API
from tests.processes.conftest import Make
from tests.processes.test_further_attempts import (
    SLOW,
    TOOLS,
    followed,
    posted,
    text_of,
    valid,
)
from tests.processes.test_queue import state, until
from tests.servers import SECONDS, UVICORN


def steer(server: Server, run_id: str, text: str) -> str:
    """Add a text to a run of any process; return its id."""
    url = f"{server.url}{API}/runs/{run_id}/input"
    added = httpx.post(url, json={"input": text}, timeout=SECONDS)
    assert added.status_code == 202
    message_id: str = added.json()["message_id"]
    return message_id


def test_a_run_takes_each_text_once_although_its_process_is_killed(
    make: Make, tmp_path: Path
) -> None:
    trace = tmp_path / "calls"
    variables = {**SLOW, **TOOLS, "TRACE": str(trace), "DEMO_DELAY_MS": "20"}
    first, second = make(*UVICORN, **variables), make(*UVICORN, **variables)
    first.start()
    second.start()
    with posted(first, 'call held_read with {"seconds": 1}') as here:
        run_id = here.response.headers["X-Run-Id"]
        until(lambda: trace.exists())
        ids = [steer(second, run_id, "hello"), steer(first, run_id, "count to 120")]
        Path(f"{trace}.go").touch()
        with followed(second, run_id) as there:
            there.until("content")  # of the answer to the texts
            first.kill()
            list(there)
    with followed(second, run_id) as replayed:
        frames = list(replayed)
    taken = [frame.data for frame in frames if frame.event == "input"]
    assert [each["message_id"] for each in taken] == ids
    assert [each["input"] for each in taken] == ["hello", "count to 120"]
    whole = " ".join(map(str, range(1, 121)))
    assert "restarted" in {frame.event for frame in frames}
    assert text_of(valid(frames)) == whole
    run: dict[str, Any] = state(second, run_id)
    assert " ".join(re.findall(r"\d+", run["output"])) == whole
    assert {each["status"] for each in run["inputs"]} == {"taken"}
    assert "next_run_id" not in frames[-2].data["metadata"]
