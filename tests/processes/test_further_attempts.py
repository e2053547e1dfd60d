"""Runs that outlive their process: killed, terminated, suspended, reloaded."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from bench.faults.databases import is_locked
from streaming.testing.server import Server
from streaming.testing.sse import Frame
from tests.client import API
from tests.processes.conftest import Make
from tests.processes.test_queue import enqueue, has_ended, state, until
from tests.servers import RUNSERVER, SECONDS, UVICORN, Reader

LONG = "count to 250"
WHOLE = " ".join(map(str, range(1, 251)))
#: A run takes about ten seconds, and a lease four.
SLOW = {"DEMO_DELAY_MS": "40", "RUN_LEASE_SECONDS": "4"}
TOOLS = {"DJANGO_SETTINGS_MODULE": "tests.processes.slow_tools"}


@contextmanager
def posted(server: Server, prompt: str, **fields: object) -> Iterator[Reader]:
    """Start a run whose reader accepts restarts."""
    body = {"input": prompt, "restarts": True, "background": True, **fields}
    url = f"{server.url}{API}/stream"
    with httpx.stream("POST", url, json=body, timeout=SECONDS) as response:
        yield Reader(response)


@contextmanager
def followed(server: Server, run_id: str, after: int = 0) -> Iterator[Reader]:
    """Follow a run of any process."""
    url = f"{server.url}{API}/runs/{run_id}/events?after={after}"
    with httpx.stream("GET", url, timeout=SECONDS) as response:
        yield Reader(response)


def valid(frames: list[Frame]) -> list[Frame]:
    """Return the logged frames without the void ones; check their numbers."""
    logged = [frame for frame in frames if frame.event != "connected"]
    numbers = [frame.number for frame in logged]
    assert numbers == sorted(set(numbers))
    kept: list[Frame] = []
    for frame in logged:
        if frame.event == "restarted":
            last = frame.data["metadata"]["discard_after"]
            kept = [each for each in kept if each.number <= last]
        else:
            kept.append(frame)
    return kept


def text_of(frames: list[Frame]) -> str:
    """Return the text of an answer."""
    words = "".join(f.data["content"] for f in frames if f.event == "content")
    return " ".join(re.findall(r"\d+", words))


def answer_of(server: Server, run_id: str) -> str:
    """Return the text of the one answer in the conversation of a run."""
    run = state(server, run_id)
    url = f"{server.url}{API}/conversations/{run['conversation_id']}"
    messages = httpx.get(url, timeout=SECONDS).json()["messages"]
    assert [m["role"] for m in messages].count("user") == 1
    answers = [m for m in messages if m["role"] == "assistant"]
    texts = [p["text"] for p in answers[-1]["parts"] if p["type"] == "text"]
    return " ".join(re.findall(r"\d+", "".join(texts)))


def test_a_run_goes_on_after_kill_9_and_readers_elsewhere_follow_it(
    make: Make,
) -> None:
    first, second, third = (make(*UVICORN, **SLOW) for _ in range(3))
    first.start()
    third.start()
    with posted(first, LONG) as here:
        run_id = here.response.headers["X-Run-Id"]
        with followed(third, run_id) as there:
            seen = [there.until("content")]
            while len(seen) < 20:
                seen.append(there.until("content"))
            first.kill()
            second.start()
            seen += there
        lost = list(here)
    assert sum(frame.event == "restarted" for frame in seen) == 1
    assert seen[-1].event == "done"
    kept = valid(seen)
    assert text_of(kept) == answer_of(second, run_id) == WHOLE
    ended = state(second, run_id)
    assert ended["status"] == "completed"
    assert ended["execution_summary"]["llm_calls"] == 2  # type: ignore[index]
    # Events that only readers of the dead process have seen share no number.
    durable = {frame.id: frame.raw for frame in seen}
    assert all(durable.get(f.id, f.raw) == f.raw for f in lost if f.id)


def test_a_claimed_run_whose_process_is_killed_is_claimed_again(make: Make) -> None:
    # The first process would take some minutes.
    first = make(*UVICORN, **{**SLOW, "DEMO_DELAY_MS": "2000"})
    other = make(*UVICORN, **SLOW)
    first.start()
    [run_id] = enqueue(first, prompt=LONG)
    until(lambda: state(first, run_id)["status"] == "running")
    first.kill()
    other.start()
    until(lambda: has_ended(other, run_id))
    assert state(other, run_id)["status"] == "completed"
    assert answer_of(other, run_id) == WHOLE


def test_a_process_that_dies_in_a_tool_leaves_an_unknown_result(
    make: Make, tmp_path: Path
) -> None:
    trace = tmp_path / "calls"
    variables = {**SLOW, **TOOLS, "TRACE": str(trace)}
    first, second = make(*UVICORN, **variables), make(*UVICORN, **variables)
    first.start()
    with posted(first, 'call slow_write with {"seconds": 600}') as here:
        run_id = here.response.headers["X-Run-Id"]
        here.until("tool_call")
        until(lambda: trace.exists())
        first.kill()
    second.start()
    with followed(second, run_id) as there:
        frames = list(there)
    assert [f.event for f in frames if f.event.startswith(("tool", "re"))] == [
        *("tool_call", "tool_result")
    ]
    [told] = [f.data["tool_call"] for f in frames if f.event == "tool_result"]
    assert told["status"] == "error"
    assert told["result"].startswith("It is unknown whether this call finished")
    assert frames[-2].event == "complete"
    assert trace.read_text().split() == ["600"]


def test_a_repeatable_tool_is_called_again_after_kill_9(
    make: Make, tmp_path: Path
) -> None:
    trace = tmp_path / "calls"
    variables = {**SLOW, **TOOLS, "TRACE": str(trace)}
    first, second = make(*UVICORN, **variables), make(*UVICORN, **variables)
    first.start()
    with posted(first, 'call slow_read with {"seconds": 3}') as here:
        run_id = here.response.headers["X-Run-Id"]
        until(lambda: trace.exists())
        first.kill()
    second.start()
    with followed(second, run_id) as there:
        frames = list(there)
    [told] = [f.data["tool_call"] for f in frames if f.event == "tool_result"]
    assert (told["status"], told["result"]) == ("completed", "3")
    assert trace.read_text().split() == ["3", "3"]


def test_a_run_longer_than_the_drain_goes_on_in_the_next_process(make: Make) -> None:
    server = make(*UVICORN, **{**SLOW, "DRAIN_SECONDS": "0.5"})
    server.start()
    with posted(server, LONG) as reader:
        run_id = reader.response.headers["X-Run-Id"]
        seen = [reader.until("content")]
        server.send_signal(signal.SIGTERM)
        seen += reader
    assert not {"error", "done"} & {frame.event for frame in seen}
    assert server.ends_within(SECONDS)
    server.start()
    with followed(server, run_id, after=seen[-1].number) as rest:
        seen += [frame for frame in rest if frame.id]
    numbers = [frame.number for frame in seen]
    assert max(numbers) < 1000  # a hand-over leaves no gap
    assert text_of(valid(seen)) == answer_of(server, run_id) == WHOLE
    assert state(server, run_id)["execution_summary"]["llm_calls"] == 2  # type: ignore[index]


def test_a_run_goes_on_when_runserver_restarts_after_a_change(
    make: Make, tmp_path: Path
) -> None:
    settings = tmp_path / "reloaded_settings.py"
    settings.write_text("from agentsite.settings import *\n")
    server = make(
        *RUNSERVER,
        **SLOW,
        DJANGO_SETTINGS_MODULE="reloaded_settings",
        PYTHONPATH=str(tmp_path),
    )
    server.start()
    with posted(server, LONG) as reader:
        run_id = reader.response.headers["X-Run-Id"]
        seen = [reader.until("content")]
        later = time.time() + 5
        for frame in reader:  # repeated: the reloader may not watch the file yet
            seen.append(frame)
            later += 1
            os.utime(settings, (later, later))
    assert not {"error", "done"} & {frame.event for frame in seen}
    until(server.is_ready)
    with followed(server, run_id, after=seen[-1].number) as rest:
        seen += [frame for frame in rest if frame.id]
    assert text_of(valid(seen)) == answer_of(server, run_id) == WHOLE


def test_a_process_that_stands_still_beyond_its_lease_writes_nothing_more(
    make: Make, tmp_path: Path
) -> None:
    first, other = make(*UVICORN, **SLOW), make(*UVICORN, **SLOW)
    first.start()
    other.start()
    with posted(first, LONG) as here:
        run_id = here.response.headers["X-Run-Id"]
        seen = [here.until("content") for _ in range(10)]
        suspend(first, tmp_path)
        with followed(other, run_id) as there:
            there.until("restarted")
            first.send_signal(signal.SIGCONT)
            list(there)
        # Its readers go on with the events of the other process.
        seen += here
    assert "error" not in {frame.event for frame in seen}
    assert seen[-1].event == "done"
    assert text_of(valid(seen)) == answer_of(other, run_id) == WHOLE
    with followed(other, run_id) as stored:
        durable = {frame.id: frame.raw for frame in stored if frame.id}
    assert all(durable.get(f.id, f.raw) == f.raw for f in seen)
    assert len([i for i in durable if i.endswith(":1")]) == 1
    claims = [
        line
        for server in (first, other)
        for line in server.log.read_text().splitlines()
        if run_id in line and "run ended" in line
    ]
    assert len(claims) == 1


def suspend(server: Server, directory: Path) -> None:
    """Suspend a server, but not while it holds a lock of the database."""
    url = server.environment["DATABASE_URL"]
    server.send_signal(signal.SIGSTOP)
    while is_locked(directory, url):
        server.send_signal(signal.SIGCONT)
        time.sleep(0.01)
        server.send_signal(signal.SIGSTOP)


def test_a_client_of_the_json_api_joins_the_run_after_a_deploy(make: Make) -> None:
    server = make(*UVICORN, **{**SLOW, "DRAIN_SECONDS": "0.5"})
    server.start()
    url, body = f"{server.url}{API}/run", {"input": LONG, "background": True}
    code = (
        "import httpx, sys\n"
        f"answer = httpx.post({url!r}, json={body!r}, timeout={SECONDS},\n"
        "    headers={'Idempotency-Key': 'k'})\n"
        "print(answer.status_code, answer.json().get('code'))"
    )
    client = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    )
    listed = f"{server.url}{API}/conversations"
    until(lambda: httpx.get(listed, timeout=SECONDS).json()["conversations"])
    server.send_signal(signal.SIGTERM)
    assert client.communicate(timeout=SECONDS)[0].split() == ["503", "shutting_down"]
    assert server.ends_within(SECONDS)
    server.start()
    again = httpx.post(
        url, json=body, headers={"Idempotency-Key": "k"}, timeout=SECONDS
    )
    assert again.status_code == 200
    assert " ".join(re.findall(r"\d+", again.json()["output"])) == WHOLE
