"""Servers start, or stop at once with a sentence if they cannot."""

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.client import API
from tests.processes.conftest import Make
from tests.servers import RUNSERVER, SECONDS, UVICORN


def test_the_curl_commands_of_the_original_work(make: Make) -> None:
    curl = shutil.which("curl")
    assert curl, "curl is needed"
    server = make(*UVICORN, DEMO_DELAY_MS="0")
    server.start()

    def call(*arguments: str) -> str:
        command = [curl, "--silent", "--show-error", "--max-time", "60", *arguments]
        return subprocess.run(command, capture_output=True, check=True).stdout.decode()

    post = ("-X", "POST", "-H", "Content-Type: application/json", "-d")
    body = '{"input": "What is 15% of 240?", "org_id": "demo", "max_iterations": 5}'
    assert json.loads(call(f"{server.url}/health"))["status"] == "healthy"
    assert json.loads(call(f"{server.url}{API}/metadata"))["supports_streaming"]
    answer = json.loads(call(*post, body, f"{server.url}{API}/run"))
    assert "36" in answer["output"]
    for options in ((), ("--no-buffer",), ("--compressed", "-N")):
        text = call(*options, *post, body, f"{server.url}{API}/stream")
        assert re.findall(r"^event: (.*)", text, re.M)[-2:] == ["complete", "done"]


def test_runserver_starts_anew_when_code_changes(make: Make, tmp_path: Path) -> None:
    # A module of its own: one of the project's would restart other tests' servers.
    module = tmp_path / "own_settings.py"
    module.write_text("from agentsite.settings import *")
    own = {"PYTHONPATH": str(tmp_path), "DJANGO_SETTINGS_MODULE": "own_settings"}
    server = make(*RUNSERVER, **own)
    server.start()
    deadline = time.monotonic() + SECONDS
    while server.log.read_text().count("Ctrl+C stops it.") < 2:
        assert time.monotonic() < deadline, server.log.read_text()
        # The reloader does not report when it watches: an early change is repeated,
        # but not a change that has been seen, which would restart a slow start.
        if "changed, reloading" not in server.log.read_text():
            os.utime(module)
        time.sleep(0.5)


@pytest.mark.parametrize("command", [UVICORN, RUNSERVER])
@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"LLM_PROVIDER": "anthropic"}, "ANTHROPIC_API_KEY is not set"),
        ({"LLM_PROVIDER": "gemini"}, "LLM_PROVIDER='gemini': expected one of"),
        ({"LLM_THINKING": "hard"}, "LLM_THINKING='hard': expected auto"),
        ({"PORT": "many"}, "PORT='many': expected a whole number"),
        ({"DATABASE_URL": "nonsense"}, "DATABASE_URL"),
    ],
)
def test_a_wrong_configuration_stops_the_start_with_a_sentence(
    make: Make,
    command: tuple[str, ...],
    environment: dict[str, str],
    sentence: str,
) -> None:
    ended = make(*command, **environment).run_command()
    assert ended.returncode != 0
    told = ended.stderr
    assert sentence in told
    assert "Traceback" not in told


def test_a_port_in_use_is_told(make: Make) -> None:
    first = make(*UVICORN)
    first.start()
    second = make(*RUNSERVER[:-1], str(first.port))
    ended = second.run_command()
    assert ended.returncode == 1
    assert f"Cannot listen on 127.0.0.1:{first.port}" in ended.stderr
