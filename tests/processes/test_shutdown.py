"""Servers that receive a signal drain: runs get their time, and readers an end."""

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from streaming.testing.server import Server
from tests.client import API
from tests.processes.conftest import Make
from tests.servers import HYPERCORN, RUNSERVER, SECONDS, UVICORN, stream

LONG = "count to 5000"

#: As docs/deployment.md starts them, but without the graceful timeout: the process must
#: end without it.
GUNICORN = (
    *(sys.executable, "-m", "gunicorn", "agentsite.asgi:application"),
    *("--bind", "127.0.0.1:{port}"),
    *("--worker-class", "uvicorn_worker.UvicornWorker", "--workers", "2"),
)
SERVERS = {
    "uvicorn": UVICORN,
    "uvicorn --workers": (*UVICORN, "--workers", "2"),
    "gunicorn": GUNICORN,
}
#: Its workers receive no signal: the parent process sets an event.
OTHER_SERVERS = {
    "hypercorn": HYPERCORN,
    "hypercorn --workers": (*HYPERCORN, "--workers", "2"),
    "hypercorn without": (*HYPERCORN, "--workers", "0"),
    "hypercorn uvloop": (*HYPERCORN, "--worker-class", "uvloop"),
}
DEVELOPMENT = {
    "runserver": RUNSERVER,
    "runserver --noreload": (*RUNSERVER, "--noreload"),
}
#: After DRAIN_SECONDS, on a busy machine.
PATIENCE = 60


@pytest.fixture(params=SERVERS | OTHER_SERVERS)
def command(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return {**SERVERS, **OTHER_SERVERS}[request.param]


def test_sigterm_gives_runs_their_time_takes_no_new_ones_and_keeps_what_was_said(
    make: Make, command: tuple[str, ...]
) -> None:
    server = make(*command, DEMO_DELAY_MS="20", DRAIN_SECONDS="5")
    server.start()
    with stream(server, LONG, background=True) as reader:
        reader.until("content")
        unheard = reader.response.headers["X-Run-Id"]
    with stream(server, "count to 20") as short, stream(server, LONG) as long:
        short.until("content")
        long.until("content")
        server.send_signal(signal.SIGTERM)
        while (status := answer("GET", f"{server.url}/ready", seconds=5)) == 200:
            time.sleep(0.05)  # polled: the server reports draining nowhere else
        body = {"input": "2 + 2", "conversation_id": "late"}
        answers = [
            answer("POST", f"{server.url}{API}/{path}", body)
            for path in ("run", "stream")
        ]
        assert {status, *answers} <= {503, None}
        assert [frame.event for frame in short][-2:] == ["complete", "done"]
        *_, error, done = long
    metadata = error.data["metadata"]
    assert metadata == {"code": "shutting_down", "retryable": True}
    assert done.event == "done"
    assert server.ends_within(PATIENCE)
    server.start()
    run = httpx.get(f"{server.url}{API}/runs/{unheard}", timeout=SECONDS).json()
    assert run["error"]["code"] == "shutting_down"
    assert run["output"].startswith("1 2 3")
    assert (
        httpx.get(f"{server.url}{API}/conversations/late", timeout=SECONDS).status_code
        == 404
    )


def answer(
    method: str, url: str, body: object = None, seconds: float = 0.5
) -> int | None:
    """Return the status; None if no process listens or responds."""
    try:
        return httpx.request(method, url, json=body, timeout=seconds).status_code
    except httpx.TransportError:
        return None


@pytest.mark.parametrize("name", [*SERVERS, *OTHER_SERVERS, *DEVELOPMENT])
def test_a_reader_that_does_not_read_cannot_prevent_the_end(
    make: Make, name: str
) -> None:
    command = {**SERVERS, **OTHER_SERVERS, **DEVELOPMENT}[name]
    with stuck_reader(make, *command, DRAIN_SECONDS="0") as server:
        server.send_signal(signal.SIGTERM)
        assert server.ends_within(PATIENCE)


@contextmanager
def stuck_reader(make: Make, *command: str, **variables: str) -> Iterator[Server]:
    """Start a server with a reader that does not read."""
    server = make(*command, STREAM_SEND_TIMEOUT_SECONDS="600", **variables)
    assert server.run("manage.py", "shell", "-c", A_LONG_LOG).returncode == 0
    server.start()
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.connect(("127.0.0.1", server.port))
        client.sendall(f"GET {API}/runs/long/events HTTP/1.1\r\n".encode())
        client.sendall(b"Host: localhost\r\n\r\n")
        assert client.recv(12).startswith(b"HTTP/1.1 200")
        yield server


#: The log of an ended run, of 25 MB: more than the system buffers for a reader.
A_LONG_LOG = """
from django.utils import timezone
from streaming.models import Conversation, EventSegment, Organization, Run
organization = Organization.objects.create(org_id="default")
conversation = Conversation.objects.create(organization=organization)
run = Run.objects.create(
    id="long", organization=organization, conversation=conversation,
    status="completed", ended_at=timezone.now(),
)
event = '{"type":"content","content":"%s"}' % ("x" * 50_000)
EventSegment.objects.bulk_create(
    EventSegment(run=run, first_id=number, last_id=number, events=event)
    for number in range(1, 501)
)
"""


@pytest.mark.parametrize("name", DEVELOPMENT)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_runserver_ends_at_once_and_tells_its_readers(
    make: Make, name: str, number: signal.Signals
) -> None:
    server = make(*DEVELOPMENT[name], DEMO_DELAY_MS="20")
    server.start()
    banner = server.log.read_text()
    for told in ("provider demo", "demo-1", f":{server.port}/health", "/admin/"):
        assert told in banner
    with stream(server, LONG) as reader:
        reader.until("content")
        if number == signal.SIGINT:
            server.send_signal_to_all(number)  # a terminal signals all of them
        else:
            server.send_signal(signal.SIGTERM)
        assert [frame.event for frame in reader][-2:] == ["error", "done"]
    assert server.ends_within(PATIENCE)


def test_ctrl_c_drains_too(make: Make) -> None:
    server = make(*UVICORN, DEMO_DELAY_MS="20", DRAIN_SECONDS="5")
    server.start()
    with stream(server, "count to 20") as short, stream(server, LONG) as long:
        short.until("content")
        long.until("content")
        server.send_signal_to_all(signal.SIGINT)
        assert [frame.event for frame in short][-2:] == ["complete", "done"]
        assert [frame.event for frame in long][-2:] == ["error", "done"]
    assert server.ends_within(PATIENCE)


def test_a_worker_of_hypercorn_that_is_terminated_itself_drains_and_ends(
    make: Make,
) -> None:
    """systemd sends SIGTERM to all processes, whose default action would end it."""
    server = make(*HYPERCORN, DEMO_DELAY_MS="20", DRAIN_SECONDS="5")
    server.start()
    with stream(server, "count to 20") as short, stream(server, LONG) as long:
        short.until("content")
        long.until("content")
        children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text()
        worker = max(map(int, children.split()))  # after multiprocessing's tracker
        os.kill(worker, signal.SIGTERM)
        assert [frame.event for frame in short][-2:] == ["complete", "done"]
        assert [frame.event for frame in long][-2:] == ["error", "done"]
    assert server.ends_within(PATIENCE)  # with its worker, as hypercorn does
