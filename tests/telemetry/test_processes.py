"""Metrics, traces and drains of several real processes."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from bench.faults.databases import database
from streaming.telemetry.metrics import PREFIX
from streaming.testing.server import Server, free_port
from tests.client import API
from tests.servers import READY, ROOT, SECONDS, UVICORN, serve, site_environment
from tests.telemetry.otlp import receiver

pytestmark = pytest.mark.xdist_group("telemetry")

TOKEN = "only-for-scrapes"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
WORKER = (sys.executable, "manage.py", "agent_worker")
Samples = dict[tuple[str, str], float]


def scrape(url: str, **headers: str) -> Samples:
    """Return the sums of samples by their name and their process."""
    response = httpx.get(f"{url}/metrics", headers=headers, timeout=SECONDS)
    response.raise_for_status()
    found: Samples = {}
    for family in text_string_to_metric_families(response.text):
        for sample in family.samples:
            key = sample.name.removeprefix(PREFIX), sample.labels.get("pid", "")
            found[key] = found.get(key, 0) + sample.value
    return found


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition that no event reports."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def processes(samples: Samples) -> set[str]:
    return {pid for name, pid in samples if name == "executing_runs"}


def scrape_both(url: str) -> Samples:
    """Scrape until both processes are included: on a busy machine one may be late."""
    found: list[Samples] = []

    def is_complete() -> bool:
        found.append(scrape(url, **BEARER))
        return len(processes(found[-1])) == 2

    until(is_complete)
    return found[-1]


def run_once(url: str, **headers: str) -> httpx.Response:
    response = httpx.post(
        f"{url}{API}/run", json={"input": "Hi"}, headers=headers, timeout=SECONDS
    )
    response.raise_for_status()
    return response


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two processes of uvicorn on one port, which share their metrics."""
    directory = tmp_path_factory.mktemp("site")
    environment = site_environment(
        directory, METRICS_TOKEN=TOKEN, METRICS_DIR=str(tmp_path_factory.mktemp("m"))
    )
    with (
        database(directory),
        Server(
            (*UVICORN, "--workers", "2"),
            directory,
            environment=environment,
            cwd=ROOT,
            ready=READY,
        ) as server,
    ):
        scrape_both(server.url)
        yield server


def test_any_process_answers_for_all(two: Server) -> None:
    pids = processes(scrape_both(two.url))
    for _ in range(8):
        run_once(two.url)
    totals = set()
    for _ in range(8):  # whichever process answers
        samples = scrape_both(two.url)
        assert processes(samples) == pids
        totals.add(sum(samples.get(("runs_total", pid), 0) for pid in pids))
    assert totals == {8}


def test_both_processes_report_themselves_as_workers(two: Server) -> None:
    def serving() -> int:
        details = httpx.get(f"{two.url}/ready", timeout=SECONDS).json()["details"]
        return int(details["workers"]["serving"])

    until(lambda: serving() == 2)


def test_a_killed_process_leaves_the_scrape(two: Server) -> None:
    before = processes(scrape(two.url, **BEARER))
    killed = min(before)
    os.kill(int(killed), signal.SIGKILL)
    until(lambda: killed not in processes(scrape(two.url, **BEARER)))
    # uvicorn starts another one in its place.
    scrape_both(two.url)


def test_a_process_without_http_has_an_address_for_its_metrics(
    tmp_path: Path,
) -> None:
    port, shared = free_port(), tmp_path / "metrics"
    own = {"METRICS_ADDRESS": f"127.0.0.1:{port}", "METRICS_DIR": str(shared)}
    environment = site_environment(tmp_path, **own)
    url = f"http://127.0.0.1:{port}"
    with database(tmp_path):
        first = Server(WORKER, tmp_path, environment=environment, cwd=ROOT, port=port)
        with first:
            assert len(processes(scrape(url))) == 1
            second = Server(WORKER, tmp_path, environment=environment, cwd=ROOT)
            second.launch()
            try:
                until(lambda: len(processes(scrape(url))) == 2)
                first.kill()

                def answers() -> bool:  # the other one takes the address over
                    try:
                        return processes(scrape(url)) == {str(second.pid)}
                    except httpx.HTTPError:
                        return False

                until(answers)
                missing = httpx.get(f"{url}/other", timeout=SECONDS)
                assert missing.status_code == 404
            finally:
                second.kill()


def test_traces_reach_a_collector_with_the_request_as_their_parent(
    tmp_path: Path,
) -> None:
    with receiver() as received:
        variables = {"TRACES": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": received.url}
        with serve(tmp_path, **variables) as server:
            run_once(server.url, traceparent=f"00-{TRACE}-{PARENT}-01")
            server.send_signal(signal.SIGTERM)  # the last spans are exported
            assert server.ends_within(SECONDS)
            run = received.wait_for("invoke_agent")
        attempt = received.wait_for("attempt 1")
        call = received.wait_for("chat")
    assert run.trace_id.hex() == TRACE
    assert run.parent_span_id.hex() == PARENT
    assert attempt.parent_span_id == run.span_id
    assert call.parent_span_id == attempt.span_id
    assert received.services == {"agent-stream"}


DRAIN = """
import os, django
django.setup()
from streaming.models import Worker
from streaming.runs.worker_rows import request_drain
print(len(request_drain([w.name for w in Worker.objects.all()])))
"""


def test_an_operator_drains_a_process_through_its_row(tmp_path: Path) -> None:
    with serve(tmp_path) as server:

        def workers() -> dict[str, int]:
            response = httpx.get(f"{server.url}/ready", timeout=SECONDS)
            found: dict[str, int] = response.json()["details"]["workers"]
            return found

        until(lambda: workers()["serving"] == 1)
        assert server.run("-c", DRAIN).stdout.strip() == "1"
        until(lambda: workers()["draining"] == 1)

        def is_drained() -> bool:
            response = httpx.get(f"{server.url}/ready", timeout=SECONDS)
            return response.status_code == 503

        until(is_drained)
        refused = httpx.post(
            f"{server.url}{API}/run", json={"input": "Hi"}, timeout=SECONDS
        )
        assert (refused.status_code, refused.json()["code"]) == (503, "shutting_down")
        server.send_signal(signal.SIGTERM)
        assert server.ends_within(SECONDS)


def test_a_worker_ends_after_the_drain_of_an_operator(tmp_path: Path) -> None:
    with database(tmp_path):
        worker = Server(
            WORKER, tmp_path, environment=site_environment(tmp_path), cwd=ROOT
        )
        worker.launch()
        try:
            until(lambda: worker.run("-c", DRAIN).stdout.strip() == "1")
            assert worker.ends_within(SECONDS)
            assert worker.returncode == 0
        finally:
            worker.kill()


@pytest.mark.parametrize(
    ("variable", "extra"),
    [("METRICS_TOKEN", "metrics"), ("METRICS_ADDRESS", "metrics"), ("TRACES", "otel")],
)
def test_a_missing_package_stops_the_start_with_its_name(
    tmp_path: Path, variable: str, extra: str
) -> None:
    values = {"METRICS_TOKEN": "x", "METRICS_ADDRESS": "127.0.0.1:1", "TRACES": "yes"}
    script = (
        "import importlib.util as u, sys\n"
        "find = u.find_spec\n"
        "hidden = ('prometheus_client', 'opentelemetry.sdk')\n"
        "u.find_spec = lambda name, *a: None if name in hidden else find(name, *a)\n"
        "import django; django.setup()\n"
    )
    environment = site_environment(tmp_path, **{variable: values[variable]})
    server = Server(WORKER, tmp_path, environment=environment, cwd=ROOT)
    ended = server.run("-c", script)
    assert ended.returncode != 0
    assert f"{variable} needs a package" in ended.stderr
    assert f"agent-stream[{extra}]" in ended.stderr


def test_neither_library_is_imported_without_its_setting(tmp_path: Path) -> None:
    script = (
        "import sys, django; django.setup()\n"
        "import agentsite.asgi, streaming.api.metrics\n"
        "optional = 'prometheus_client', 'opentelemetry.sdk'\n"
        "print([n for n in sys.modules if n.startswith(optional)])\n"
    )
    environment = site_environment(tmp_path)
    server = Server(WORKER, tmp_path, environment=environment, cwd=ROOT)
    assert server.run("-c", script).stdout.strip() == "[]"
