"""Servers other than uvicorn, and the commands of docs/deployment.md."""

import shlex
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import httpx
import pytest

from streaming.testing.server import Server
from tests.client import API
from tests.processes.conftest import Make
from tests.processes.test_bare_server import records
from tests.processes.test_shutdown import A_LONG_LOG, LONG, PATIENCE
from tests.servers import HYPERCORN, SECONDS, Reader, fenced

DAPHNE = (
    *(sys.executable, "-m", "daphne", "--bind", "127.0.0.1", "--port", "{port}"),
    "agentsite.asgi:application",
)
#: Each server, and whether its client speaks HTTP/2 from the first byte on.
SERVERS = {
    "hypercorn HTTP/1.1": (HYPERCORN, False),
    "hypercorn HTTP/2": (HYPERCORN, True),
    "daphne": (DAPHNE, False),
}
#: The command's words of each server in docs/deployment.md.
COMMANDS = {
    shlex.split(command)[0].rpartition("/")[2] + f" {at}": shlex.split(command)
    for block in fenced("deployment.md", "sh")
    for at, command in enumerate(block.replace("\\\n", "").splitlines())
    if "agentsite.asgi" in command
}


def client_of(server: Server, *, http2: bool = False) -> httpx.Client:
    return httpx.Client(
        base_url=server.url, http1=not http2, http2=http2, timeout=SECONDS
    )


@pytest.mark.parametrize("name", SERVERS)
def test_runs_are_streamed_resumed_and_cancelled(make: Make, name: str) -> None:
    command, http2 = SERVERS[name]
    server = make(*command, DEMO_DELAY_MS="10", AGENT_MAX_BODY_BYTES="100000")
    server.start()
    with client_of(server, http2=http2) as client:
        body = {"input": "2 + 2"}
        ran = client.post(f"{API}/run", json=body)
        assert (ran.status_code, ran.http_version == "HTTP/2") == (200, http2)
        assert "4" in ran.json()["output"]
        with client.stream("POST", f"{API}/stream", json=body) as response:
            frames = list(Reader(response))
        assert [frame.event for frame in frames][-2:] == ["complete", "done"]
        run_id = response.headers["X-Run-Id"]
        resume = {"Last-Event-ID": frames[2].id}
        url = f"{API}/runs/{run_id}/events"
        with client.stream("GET", url, headers=resume) as response:
            resumed = list(Reader(response))
        assert [f.raw for f in resumed[1:]] == [f.raw for f in frames[3:]]
        with client.stream("POST", f"{API}/stream", json={"input": LONG}) as response:
            reader = Reader(response)
            reader.until("content")
            cancelled = response.headers["X-Run-Id"]
            assert client.post(f"{API}/runs/{cancelled}/cancel").is_success
            assert [frame.event for frame in reader][-1] == "done"
        large = client.post(f"{API}/run", json={"input": "x" * 200_000})
        assert (large.status_code, large.json()["code"]) == (413, "body_too_large")
        assert client.head("/health").status_code == 200
        assert client.get("/").text.rstrip().endswith("</html>")
    assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize("name", SERVERS)
def test_a_run_whose_only_client_disconnected_is_abandoned(
    make: Make, name: str
) -> None:
    command, http2 = SERVERS[name]
    server = make(*command, DEMO_DELAY_MS="20", RUN_ABANDON_SECONDS="1")
    server.start()
    with (
        client_of(server, http2=http2) as leaving,
        leaving.stream("POST", f"{API}/stream", json={"input": LONG}) as response,
    ):
        Reader(response).until("content")
        run_id = response.headers["X-Run-Id"]
    with client_of(server, http2=http2) as client:
        deadline = time.monotonic() + PATIENCE
        while (run := client.get(f"{API}/runs/{run_id}").json())["status"] == "running":
            assert time.monotonic() < deadline
            time.sleep(0.1)  # polled: the run has no readers that are told
        assert run["status"] == "cancelled"


def test_daphne_warns_of_itself(make: Make) -> None:
    server = make(*DAPHNE)
    server.start()
    warnings = [r["message"] for r in records(server) if r.get("level") == "WARNING"]
    assert [m for m in warnings if m.startswith("daphne is for development only")]


@pytest.fixture
def long_log(make: Make) -> Iterator[Server]:
    """Start hypercorn with a run whose log is larger than any buffer: 100 MB."""
    server = make(*HYPERCORN, STREAM_SEND_TIMEOUT_SECONDS="5")
    assert A_LONG_LOG.count("501") == 1
    log = A_LONG_LOG.replace("501", "2001")
    assert server.run("manage.py", "shell", "-c", log).returncode == 0
    server.start()
    yield server
    assert "Traceback" not in server.log.read_text()


def wait_for_record(server: Server, message: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while message not in server.log.read_text():
        assert time.monotonic() < deadline, server.log.read_text()
        time.sleep(0.05)  # polled: no event tells that a file has grown


def memory_of(server: Server) -> int:
    """Return the resident memory of a server's workers in bytes."""
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text()
    return sum(
        int(line.split()[1]) * 1024
        for pid in children.split()
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("VmRSS:")
    )


def test_hypercorn_waits_for_a_slow_reader_and_drops_a_stuck_one(
    long_log: Server,
) -> None:
    httpx.get(f"{long_log.url}/health", timeout=SECONDS)
    before = memory_of(long_log)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.settimeout(SECONDS)
        client.connect(("127.0.0.1", long_log.port))
        client.sendall(f"GET {API}/runs/long/events HTTP/1.1\r\n".encode())
        client.sendall(b"Host: localhost\r\n\r\n")
        assert client.recv(12).startswith(b"HTTP/1.1 200")
        wait_for_record(long_log, "stuck client disconnected")
        assert memory_of(long_log) - before < 50_000_000
        rest = 0  # in the buffers of the system
        with suppress(ConnectionResetError):
            while data := client.recv(65_536):
                rest += len(data)
        assert rest < 50_000_000
    with httpx.stream(
        "GET", f"{long_log.url}{API}/runs/long/events", timeout=SECONDS
    ) as response:
        assert sum(map(len, response.iter_bytes())) > 100_000_000


def test_a_stuck_stream_of_http2_is_reset_alone(long_log: Server) -> None:
    http2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    http2.initiate_connection()
    # The connection's window is large; that of each stream stays at 64 kB.
    http2.increment_flow_control_window(100_000_000)

    def request(stream_id: int, path: str) -> None:
        address = [(":authority", "localhost"), (":scheme", "http"), (":path", path)]
        http2.send_headers(stream_id, [(":method", "GET"), *address], end_stream=True)

    with socket.create_connection(("127.0.0.1", long_log.port), SECONDS) as client:

        def events_until(wanted: type[h2.events.Event], stream_id: int) -> None:
            client.sendall(http2.data_to_send())
            while data := client.recv(65_536):
                for event in http2.receive_data(data):
                    if (
                        isinstance(event, wanted)
                        and getattr(event, "stream_id", None) == stream_id
                    ):
                        return
                client.sendall(http2.data_to_send())
            raise AssertionError("the server closed the connection")

        request(1, f"{API}/runs/long/events")
        events_until(h2.events.ResponseReceived, 1)
        events_until(h2.events.StreamReset, 1)
        request(3, "/health")
        events_until(h2.events.StreamEnded, 3)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_commands_of_the_documentation_work(make: Make, name: str) -> None:
    words = [
        word.replace(".venv/bin/", f"{Path(sys.executable).parent}/")
        .replace("0.0.0.0", "127.0.0.1")
        .replace("8080", "{port}")
        for word in COMMANDS[name]
    ]
    server = make(*words, DEMO_DELAY_MS="10", DRAIN_SECONDS="1")
    server.start()
    ran = httpx.post(f"{server.url}{API}/run", json={"input": "2 + 2"}, timeout=SECONDS)
    assert ran.status_code == 200
    assert "4" in ran.json()["output"]
    server.send_signal(signal.SIGTERM)
    assert server.ends_within(PATIENCE)
    assert "Traceback" not in server.log.read_text()


def test_each_server_has_a_command() -> None:
    servers = {name.split()[0] for name in COMMANDS}
    assert servers == {"uvicorn", "gunicorn", "hypercorn", "daphne"}
