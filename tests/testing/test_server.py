"""The contract of the server launcher: ready means ready, and the end is the end."""

import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from streaming.testing.server import (
    Server,
    clean_environment,
    free_port,
    is_listening,
)

#: Listens at once, but is ready only after its first answer.
SCRIPT = """
import http.server, os, signal, sys
class Handler(http.server.BaseHTTPRequestHandler):
    asked = 0
    def do_GET(self):
        Handler.asked += 1
        self.send_response(200 if Handler.asked > 1 else 503)
        self.end_headers()
signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
print("started with", os.environ.get("WORD"), flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
COMMAND = (sys.executable, "-c", SCRIPT, "{port}")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    environment = clean_environment(WORD="blue")
    server = Server(COMMAND, tmp_path, environment=environment, ready="/x")
    yield server
    server.kill()


def test_a_started_server_is_ready_and_starts_again_on_its_port(server: Server) -> None:
    assert not server.is_running
    server.start()
    assert server.is_running
    assert server.is_ready()
    port, pid = server.port, server.pid
    server.kill()
    assert not server.is_running
    assert not is_listening(port)
    server.ensure()
    assert (server.port, server.pid != pid) == (port, True)
    assert server.log.read_text().count("started with blue") == 2


async def test_it_starts_and_ends_beside_an_event_loop(server: Server) -> None:
    await server.astart()
    server.send_signal(signal.SIGTERM)
    await server.wait_for_end(30)
    assert server.returncode == 3


def test_an_end_is_waited_for(server: Server) -> None:
    server.start()
    assert not server.ends_within(0.01)
    server.send_signal_to_all(signal.SIGTERM)
    assert server.ends_within(30)


def test_a_command_that_ends_is_told_with_its_log(tmp_path: Path) -> None:
    command = (sys.executable, "-c", "raise SystemExit('no settings')")
    server = Server(command, tmp_path, environment=clean_environment())
    with pytest.raises(RuntimeError, match="no settings"):
        server.start()
    assert "no settings" in server.run_command().stderr


def test_python_runs_in_the_servers_environment(server: Server) -> None:
    code = "import json, os; print(json.dumps(list(os.environ)))"
    ended = server.run("-c", code)
    names = set(json.loads(ended.stdout)) - {"LC_CTYPE"}
    assert names == server.environment.keys()
    assert {"PATH", "WORD"} <= names <= {"WORD"} | os.environ.keys()


def test_a_port_is_given_once_and_not_one_of_outgoing_connections() -> None:
    ports = [free_port() for _ in range(20)]
    assert len(set(ports)) == 20
    assert max(ports) < 32_768
    with socket.create_server(("127.0.0.1", ports[0])):
        assert is_listening(ports[0])
    assert not is_listening(ports[1])
