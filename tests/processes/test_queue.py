"""Runs that one process enqueues and another one executes, with real processes."""

import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from streaming.testing.server import Server, is_listening
from streaming.testing.sse import parse
from tests.client import API
from tests.processes.conftest import Make, is_executed, status_of
from tests.servers import SECONDS, UVICORN

#: A management command, a Celery task or a WSGI process does the same.
ENQUEUE = """
import django; django.setup()
from django.db import transaction
from streaming.agents import registry
from streaming.calls.requests import make_call
from streaming.calls.starting import enqueue
for _ in range({count}):
    with transaction.atomic():
        print(enqueue(make_call(registry.get().default, "{prompt}")).id)
"""
PROMPT = "Explain how photosynthesis works"


def enqueue(server: Server, count: int = 1, prompt: str = PROMPT) -> list[str]:
    """Enqueue runs in a process that does not execute them; return their ids."""
    done = server.run("-c", ENQUEUE.format(count=count, prompt=prompt))
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def state(server: Server, run_id: str) -> dict[str, object]:
    """Return a run as its endpoint shows it."""
    found = httpx.get(f"{server.url}{API}/runs/{run_id}", timeout=SECONDS).json()
    assert isinstance(found, dict)
    return found


def until(condition: Callable[[], object]) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def has_ended(server: Server, run_id: str) -> bool:
    """Return whether a run has ended."""
    return state(server, run_id)["ended_at"] is not None


def test_a_serving_process_executes_the_runs_of_a_command(make: Make) -> None:
    server = make(*UVICORN)
    server.start()
    [run_id] = enqueue(server)
    url = f"{server.url}{API}/runs/{run_id}/events"
    frames = parse(httpx.get(url, timeout=SECONDS).content)
    assert [f.event for f in frames[-2:]] == ["complete", "done"]
    assert frames[1].id == f"{run_id}:1"
    assert state(server, run_id)["status"] == "completed"


def test_a_run_waits_in_the_queue_until_a_process_serves(make: Make) -> None:
    server = make(*UVICORN)
    [run_id] = enqueue(server)
    server.start()
    until(lambda: has_ended(server, run_id))
    assert state(server, run_id)["status"] == "completed"


def test_fifty_runs_enqueued_by_two_commands_are_executed_once_by_two_servers(
    make: Make,
) -> None:
    servers = [make(*UVICORN), make(*UVICORN)]
    for server in servers:
        server.start()
    with ThreadPoolExecutor(2) as threads:
        found = threads.map(lambda server: enqueue(server, 25), servers)
        ids = [run_id for each in found for run_id in each]
    assert len(set(ids)) == 50
    for run_id in ids:
        until(lambda run_id=run_id: has_ended(servers[0], run_id))  # type: ignore[misc]
        ended = state(servers[0], run_id)
        assert ended["status"] == "completed"
        assert ended["execution_summary"]["llm_calls"] == 1  # type: ignore[index]
    logs = [server.log.read_text() for server in servers]
    for run_id in ids:
        said = [line for log in logs for line in log.splitlines() if run_id in line]
        assert sum("run ended" in line for line in said) == 1, said


def test_a_run_whose_processes_are_killed_after_the_claim_is_interrupted(
    make: Make,
) -> None:
    slow = {
        "DEMO_DELAY_MS": "200",
        "RUN_LEASE_SECONDS": "2",
        "RUN_MAX_ATTEMPTS": "1",
    }
    first, other = make(*UVICORN, **slow), make(*UVICORN, **slow)
    first.start()
    [run_id] = enqueue(first)
    until(lambda: state(first, run_id)["status"] == "running")
    first.kill()
    other.start()
    [next_id] = enqueue(other)
    until(lambda: has_ended(other, run_id))
    ended = state(other, run_id)
    assert ended["status"] == "failed"
    assert ended["error"]["code"] == "interrupted"  # type: ignore[index]
    until(lambda: state(other, next_id)["status"] == "running")


def test_a_queued_run_is_cancelled_by_any_process(make: Make) -> None:
    settings = {"RUN_MAX": "1", "DEMO_DELAY_MS": "200"}
    server = make(*UVICORN, **settings)
    server.start()
    first, second = enqueue(server, 2)
    until(lambda: state(server, first)["status"] == "running")
    cancelled = httpx.post(f"{server.url}{API}/runs/{second}/cancel", timeout=SECONDS)
    assert (cancelled.status_code, cancelled.json()["status"]) == (202, "cancelled")
    httpx.post(f"{server.url}{API}/runs/{first}/cancel", timeout=SECONDS)
    until(lambda: has_ended(server, first))
    assert state(server, second)["execution_summary"]["llm_calls"] == 0  # type: ignore[index]


WSGI = (sys.executable, "-m", "tests.processes.wsgi_site", "{port}")


@pytest.fixture
def wsgi(make: Make) -> Server:
    """A WSGI server, which executes no queued run."""
    server = make(*WSGI)
    server.launch()
    until(lambda: is_listening(server.port))
    return server


def test_a_serving_process_executes_the_runs_of_a_wsgi_server(
    wsgi: Server, make: Make
) -> None:
    server = make(*UVICORN)
    server.start()
    run_id, status = httpx.get(f"{wsgi.url}/enqueue", timeout=SECONDS).text.split()
    assert status == "queued"
    until(lambda: has_ended(server, run_id))
    assert state(server, run_id)["status"] == "completed"


def test_a_wsgi_server_runs_agents_itself_in_its_threads(
    wsgi: Server, make: Make
) -> None:
    with ThreadPoolExecutor(6) as threads:
        urls = [f"{wsgi.url}/run"] * 6
        said = [*threads.map(lambda url: httpx.get(url, timeout=SECONDS).text, urls)]
    assert [each.split()[1] for each in said] == ["completed"] * 6
    assert len({each.split()[0] for each in said}) == 6


def test_a_process_for_the_queue_alone_executes_runs_and_drains(
    wsgi: Server, make: Make
) -> None:
    settings = {"DEMO_DELAY_MS": "150", "DRAIN_SECONDS": "50"}
    executing = make(sys.executable, "manage.py", "agent_worker", **settings)
    executing.launch()
    until(lambda: "Executing runs of all queues" in executing.log.read_text())
    run_id = httpx.get(f"{wsgi.url}/enqueue", timeout=SECONDS).text.split()[0]
    until(lambda: is_executed(wsgi, run_id))
    executing.send_signal(signal.SIGTERM)
    later = httpx.get(f"{wsgi.url}/enqueue", timeout=SECONDS).text.split()[0]
    assert executing.ends_within(SECONDS)
    assert executing.returncode == 0, executing.log.read_text()
    assert status_of(wsgi, run_id) == "completed"
    assert status_of(wsgi, later) == "queued"
