"""The commands of README.md work against a real server."""

import re
import subprocess

from streaming.testing.server import Server
from tests.client import API
from tests.processes.conftest import Make
from tests.servers import ROOT, UVICORN

SECONDS = 60
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
#: A command goes on over lines that end with a backslash.
COMMAND = re.compile(r"^curl (?:.*\\\n)*.*$", re.MULTILINE)
COMMANDS = [
    command
    for block in BLOCK.findall((ROOT / "README.md").read_text())
    for command in COMMAND.findall(block)
]


def call(server: Server, command: str) -> str:
    """Run a command of the README against this server."""
    command = command.replace("http://localhost:8080", server.url)
    assert server.url in command
    shell = ["sh", "-c", command.replace("curl ", "curl --silent --show-error ", 1)]
    ended = subprocess.run(shell, capture_output=True, check=True, timeout=SECONDS)
    return ended.stdout.decode()


def test_the_curl_commands_work(make: Make) -> None:
    server = make(*UVICORN, DEMO_DELAY_MS="0")
    server.start()
    health, metadata, run, stream, count, resume = COMMANDS
    assert '"status":"healthy"' in call(server, health)
    assert '"supports_streaming":true' in call(server, metadata)
    assert "36" in call(server, run)
    events = re.findall(r"^event: (.*)", call(server, stream), re.MULTILINE)
    assert events[0] == "connected"
    assert events[-2:] == ["complete", "done"]
    frames = call(server, count).split("\n\n")
    [run_id] = {i for f in frames for i in re.findall(r"^id: (.+):\d+$", f, re.M)}
    after = int(re.findall(r"RUN_ID:(\d+)", resume)[0])
    resumed = call(server, resume.replace("RUN_ID", run_id)).split("\n\n")
    assert f"{API}/runs/" in resume
    assert resumed[1:] == frames[after + 1 :]
    assert f"id: {run_id}:{after + 1}\n" in resumed[1]
