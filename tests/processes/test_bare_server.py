"""A server without a proxy: hostile and old clients, WebSockets, probes, its log."""

import json
import re
import signal
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from streaming.testing.server import Server, is_listening
from streaming.testing.sse import parse
from tests.client import API
from tests.processes.conftest import Make
from tests.processes.test_shutdown import LONG, SERVERS
from tests.servers import HYPERCORN, SECONDS, UVICORN, stream

BODY = json.dumps({"input": "stream 5 words"}).encode()
HANDSHAKE = (
    b"GET %b HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
    b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def exchange(server: Server, sent: bytes) -> bytes:
    """Send bytes and return all that the server sends until it closes."""
    with socket.create_connection(
        ("127.0.0.1", server.port), timeout=SECONDS
    ) as client:
        client.sendall(sent)
        received = b""
        while data := client.recv(65_536):
            received += data
        return received


def post(version: str, path: str = "stream") -> bytes:
    head = (
        f"POST {API}/{path} HTTP/{version}\r\nHost: localhost\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
    )
    return head.encode() + BODY


def records(server: Server) -> list[dict[str, Any]]:
    """Return the records of the log, which are JSON without exception."""
    return [json.loads(line) for line in server.log.read_text().splitlines()]


def levels(server: Server) -> set[str]:
    """Return the levels of the log, but of readiness, which a busy machine may lose."""
    return {
        record["level"]
        for record in records(server)
        if not record["message"].startswith("readiness")
    }


@pytest.mark.parametrize("name", SERVERS)
def test_a_head_or_body_that_does_not_arrive_is_refused(make: Make, name: str) -> None:
    server = make(*SERVERS[name], REQUEST_READ_TIMEOUT_SECONDS="2")
    server.start()
    assert exchange(server, b"") == b""
    for begun in (b"GET /health HT", post("1.1")[:-1]):
        answer = exchange(server, begun)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b'"request_timeout"' in answer
    large = b"GET /health HTTP/1.1\r\nX-Large: " + b"a" * 100_000 + b"\r\n\r\n"
    assert exchange(server, large).startswith(b"HTTP/1.1 431 ")
    assert httpx.get(f"{server.url}/health", timeout=SECONDS).status_code == 200


@pytest.fixture
def server(make: Make) -> Server:
    server = make(*UVICORN, DEMO_DELAY_MS="1")
    server.start()
    return server


@pytest.mark.parametrize("options", [(), ("--http", "h11")], ids=["httptools", "h11"])
def test_an_old_client_receives_the_stream_without_chunks(
    make: Make, options: Sequence[str]
) -> None:
    server = make(*UVICORN, *options, DEMO_DELAY_MS="1")
    server.start()
    head, _, body = exchange(server, post("1.0")).partition(b"\r\n\r\n")
    assert head.split()[1] == b"200"
    assert b"transfer-encoding" not in head.lower()
    assert b"connection: close" in head.lower()
    frames = parse(body)
    assert [frame.event for frame in frames][-2:] == ["complete", "done"]
    assert b"".join(frame.raw + b"\n\n" for frame in frames) == body
    for sent in (
        post("1.0", "run"),
        b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n",
        f"GET {API}/nothing HTTP/1.0\r\n\r\n".encode(),
    ):
        head, _, body = exchange(server, sent).partition(b"\r\n\r\n")
        assert b"transfer-encoding" not in head.lower()
        json.loads(body)
    page = exchange(server, b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
    assert page.rstrip().endswith(b"</html>")
    only_head = exchange(server, b"HEAD /health HTTP/1.0\r\nHost: localhost\r\n\r\n")
    assert only_head.endswith(b"\r\n\r\n")
    assert "Traceback" not in server.log.read_text()


def test_a_newer_client_still_receives_chunks(server: Server) -> None:
    with httpx.stream(
        "POST", f"{server.url}{API}/stream", json=json.loads(BODY), timeout=SECONDS
    ) as got:
        assert got.headers["transfer-encoding"] == "chunked"
        got.read()


PROTOCOLS = {
    "httptools": UVICORN,
    "h11": (*UVICORN, "--http", "h11"),
    "hypercorn": HYPERCORN,
}
CHUNKED = b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
LENGTH = b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(BODY)
CHUNK = b"%x\r\n%b\r\n0\r\n" % (len(BODY), BODY)
RUN = f"POST {API}/run".encode()
#: Unusual requests: their first words, headers and body, and the right statuses.
UNUSUAL: dict[str, tuple[bytes, bytes, bytes, tuple[int, ...]]] = {
    "absolute form": (b"GET http://localhost/health", b"", b"", (200,)),
    "absolute form, query": (
        f"GET HTTP://localhost{API}/conversations?search=x".encode(),
        b"",
        b"",
        (200,),
    ),
    "authority form": (b"CONNECT localhost:80", b"", b"", (400,)),
    "asterisk": (b"OPTIONS *", b"", b"", (400,)),
    "no path": (b"GET ?x=1", b"", b"", (400,)),
    "raw UTF-8": ("GET /é".encode(), b"", b"", (400,)),
    "an encoded new line": (b"GET /%0d%0aX-Injected:%20yes", b"", b"", (404,)),
    "an encoded NUL": (f"GET {API}/runs/%00".encode(), b"", b"", (404,)),
    "a new line in org_id": (
        f"GET {API}/conversations?org_id=a%0d%0aX-Injected:%20yes".encode(),
        b"",
        b"",
        (400,),
    ),
    "expectation": (RUN, LENGTH + b"Expect: 100-continue\r\n", BODY, (100, 200)),
    "two lengths": (RUN, LENGTH + b"Content-Length: 3\r\n", BODY, (400,)),
    "negative length": (RUN, b"Content-Length: -1\r\n", BODY, (400,)),
    "trailers": (RUN, CHUNKED, CHUNK + b"X-Injected: yes\r\n\r\n", (200,)),
    "not chunks": (RUN, CHUNKED, b"zz\r\n", (400,)),
    "another protocol": (RUN, LENGTH + b"Upgrade: x\r\n", BODY, (200,)),
    "TRACE": (f"TRACE {API}/run".encode(), b"", b"", (405,)),
    "HEAD": (f"HEAD {API}/metadata".encode(), b"", b"", (200,)),
    "OPTIONS": (f"OPTIONS {API}/run".encode(), b"", b"", (405,)),
}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_unusual_requests_have_the_right_status(make: Make, name: str) -> None:
    server = make(*PROTOCOLS[name], DEMO_DELAY_MS="20")
    server.start()
    for case, (first, headers, body, expected) in UNUSUAL.items():
        connection = b"Upgrade, close" if b"Upgrade:" in headers else b"close"
        answer = exchange(
            server,
            first
            + b" HTTP/1.1\r\nHost: localhost\r\nConnection: "
            + connection
            + b"\r\n"
            + headers
            + b"\r\n"
            + body,
        )
        statuses = [int(code) for code in re.findall(rb"^HTTP/1.1 (\d+)", answer, re.M)]
        assert tuple(statuses) in (expected, expected[-1:]), (case, answer)
        assert b"\nX-Injected" not in answer
    twice = post("1.1") + post("1.1").replace(b"Host:", b"Connection: close\r\nHost:")
    assert exchange(server, twice).count(b"event: done") == 2
    with stream(server, LONG) as reader:
        url = f"{API}/runs/{reader.response.headers['X-Run-Id']}/events"
        head = f"HEAD {url} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        answer = exchange(server, head.encode())  # although the run goes on
        assert b"text/event-stream" in answer
        assert answer.endswith(b"\r\n\r\n")
    assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize("path", [b"/", b"/ws", f"{API}/stream".encode()])
def test_a_websocket_is_refused_without_a_traceback(
    server: Server, path: bytes
) -> None:
    answer = exchange(server, HANDSHAKE % path)
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert "Traceback" not in server.log.read_text()
    assert levels(server) == {"INFO"}


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--log-config", "agentsite/logging.json"),
        ("--log-config", "agentsite/logging.json", "--workers", "2"),
    ],
    ids=["default", "configured", "workers"],
)
def test_every_record_is_json(make: Make, options: Sequence[str]) -> None:
    server = make(*UVICORN, *options)
    server.start()
    exchange(server, b"nonsense\r\n\r\n")
    httpx.post(f"{server.url}{API}/run", json=json.loads(BODY), timeout=SECONDS)
    server.send_signal(signal.SIGTERM)
    assert server.ends_within(SECONDS)
    found = {record["logger"]: record for record in records(server)}
    started = [r for r in records(server) if r["message"].startswith("Started server")]
    assert started
    assert started[0].keys() == {"time", "level", "logger", "message"}
    assert {"uvicorn.error", "streaming.runs.execution"} <= found.keys()


def test_probes_are_not_logged(make: Make) -> None:
    server = make(*UVICORN, "--log-config", "agentsite/logging.json", DEBUG="true")
    server.start()
    for _ in range(3):
        for path in ("/health", "/ready", "/ready?from=balancer"):
            assert httpx.get(server.url + path, timeout=SECONDS).status_code == 200
    assert httpx.get(f"{server.url}{API}/metadata", timeout=SECONDS).status_code == 200
    log = server.log.read_text()
    assert "/health" not in log
    assert "/ready" not in log
    assert f"{API}/metadata" in log


def test_a_server_that_is_not_ready_says_so_once(make: Make, tmp_path: Path) -> None:
    empty = f"sqlite:///{tmp_path}/empty.sqlite3"
    server = make(*UVICORN, DATABASE_URL=empty)
    server.launch()
    deadline = time.monotonic() + SECONDS
    while not is_listening(server.port):
        assert time.monotonic() < deadline
        time.sleep(0.1)  # polled: no event tells that a port is open
    for _ in range(5):
        assert httpx.get(f"{server.url}/ready", timeout=SECONDS).status_code == 503
    lost = [r for r in records(server) if r["message"].startswith("readiness")]
    assert [r["message"] for r in lost] == ["readiness lost"]
    assert lost[0]["migrations"].startswith("missing")
    assert not [r for r in records(server) if "/ready" in r["message"]]
