"""Servers of Django's own ASGI application, which sees no start and end of a server."""

import signal
import sys

import httpx
import pytest

from streaming.testing.server import Server
from tests.client import API
from tests.processes.conftest import Make
from tests.processes.test_shutdown import LONG, PATIENCE
from tests.servers import HYPERCORN, UVICORN, stream

SITE, PLAIN = "agentsite.asgi:application", "tests.processes.plain_site:application"
DRAINING = {
    "uvicorn": UVICORN,
    "hypercorn": HYPERCORN,
    "hypercorn --workers": (*HYPERCORN, "--workers", "2"),
    "hypercorn without": (*HYPERCORN, "--workers", "0"),
    "hypercorn uvloop": (*HYPERCORN, "--worker-class", "uvloop"),
}
#: For development: they disconnect readers at once, and the runs are saved.
STOPPING = {
    "daphne": (
        *(sys.executable, "-m", "daphne", "--bind", "127.0.0.1"),
        *("--port", "{port}", SITE),
    ),
    "daphne's runserver": (sys.executable, "manage.py", "runserver", "{port}"),
    "daphne's runserver --noreload": (
        *(sys.executable, "manage.py", "runserver", "{port}", "--noreload"),
    ),
}


def serve(make: Make, command: tuple[str, ...], **variables: str) -> Server:
    """Start a server of the plain application."""
    words = [PLAIN if word == SITE else word for word in command]
    server = make(
        *words,
        DEMO_DELAY_MS="20",
        DJANGO_SETTINGS_MODULE="bench.more_apps",
        MORE_APPS="daphne",
        ASGI_APPLICATION=PLAIN.replace(":", "."),
        **variables,
    )
    server.start()
    return server


def saved_run(server: Server, run_id: str) -> None:
    """Check that a run was stopped by the shutdown, and has what was said."""
    server.start()
    run = httpx.get(f"{server.url}{API}/runs/{run_id}", timeout=PATIENCE).json()
    assert run["error"]["code"] == "shutting_down"
    assert run["output"].startswith("1")
    # daphne breaks connections off at its end, which Django reports.
    lines = server.log.read_text().splitlines()
    ours = [line for line in lines if '"logger": "streaming' in line]
    assert [line for line in ours if '"level": "ERROR"' in line] == []
    assert ours


@pytest.mark.parametrize("name", DRAINING)
def test_a_shutdown_gives_runs_their_time_and_saves_the_others(
    make: Make, name: str
) -> None:
    server = serve(make, DRAINING[name], DRAIN_SECONDS="5")
    with stream(server, "count to 20") as short, stream(server, LONG) as long:
        short.until("content")
        long.until("content")
        run_id = long.response.headers["X-Run-Id"]
        server.send_signal(signal.SIGTERM)
        assert [frame.event for frame in short][-2:] == ["complete", "done"]
        assert [frame.event for frame in long][-2:] == ["error", "done"]
    assert server.ends_within(PATIENCE)
    saved_run(server, run_id)


@pytest.mark.parametrize("name", STOPPING)
def test_daphne_streams_and_saves_its_runs_at_the_end(make: Make, name: str) -> None:
    server = serve(make, STOPPING[name], DRAIN_SECONDS="1")
    with stream(server, "2 + 2") as short:
        assert [frame.event for frame in short][-2:] == ["complete", "done"]
    with stream(server, LONG) as reader:
        reader.until("content")
        run_id = reader.response.headers["X-Run-Id"]
        # As a terminal does. At SIGTERM the reloader kills its child with SIGKILL.
        server.send_signal_to_all(signal.SIGINT)
        assert server.ends_within(PATIENCE)
    saved_run(server, run_id)
