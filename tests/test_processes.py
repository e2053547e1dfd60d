"""Real servers as real processes: started, streamed from, stopped, killed."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.client import API, Frame

ROOT = Path(__file__).resolve().parents[1]
NOT_INHERITED = ("DATABASE_URL", "DJANGO_SETTINGS_MODULE", "TEST_DATABASE_URL")
SECONDS = 60
UVICORN = ("-m", "uvicorn", "agentsite.asgi:application", "--port", "{port}")
RUNSERVER = ("manage.py", "runserver", "{port}")


class Process:
    """A server that can be started again on the same port and data."""

    def __init__(self, directory: Path, *command: str, **environment: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = directory / "log"
        inherited = {k: v for k, v in os.environ.items() if k not in NOT_INHERITED}
        self._environment = {**inherited, "DATA_DIR": str(directory), **environment}
        self._command = [argument.format(port=self.port) for argument in command]
        self._processes: list[subprocess.Popen[bytes]] = []

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        return self._run("manage.py", *arguments)

    def run(self) -> subprocess.CompletedProcess[bytes]:
        """Run to the end."""
        return self._run(*self._command)

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=self._environment,
            capture_output=True,
            timeout=SECONDS,
        )

    def start(self) -> None:
        """Return when it is ready."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *self._command],
                cwd=ROOT,
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
                # A shell's background job ignores Ctrl+C, and its children would too.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        self._processes.append(process)
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/ready").is_success:
                    return
            time.sleep(0.05)
        raise AssertionError(self.log.read_text())

    def send(self, number: signal.Signals) -> None:
        """Signal it and all its children, as a terminal does."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._processes[-1].pid, number)

    def ends_within(self, seconds: float) -> bool:
        try:
            self._processes[-1].wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        if self._processes:
            self.send(signal.SIGKILL)
            self._processes[-1].wait()


Start = Callable[..., Process]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Start]:
    """Make a process with a migrated database; it is killed in the end."""
    made: list[Process] = []

    def make(*command: str, **environment: str) -> Process:
        process = Process(tmp_path, *command, **environment)
        process.manage("migrate", "--verbosity", "0")
        made.append(process)
        return process

    yield make
    for process in made:
        process.kill()


class Reader:
    """A client of a stream, frame by frame."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._bytes = response.iter_bytes()
        self._rest = b""

    def __iter__(self) -> Iterator[Frame]:
        with contextlib.suppress(httpx.TransportError):
            for chunk in self._bytes:
                *frames, self._rest = (self._rest + chunk).split(b"\n\n")
                yield from (Frame.parse(f) for f in frames if not f.startswith(b":"))

    def until(self, event: str) -> Frame:
        return next(frame for frame in self if frame.event == event)


@contextlib.contextmanager
def stream(server: Process, prompt: str, **fields: object) -> Iterator[Reader]:
    body = {"input": prompt, **fields}
    url = f"{server.url}{API}/stream"
    with httpx.stream("POST", url, json=body, timeout=SECONDS) as response:
        yield Reader(response)


LONG = "count to 5000"


def test_the_curl_commands_of_the_original_work(make: Start) -> None:
    curl = shutil.which("curl")
    assert curl, "curl is needed"
    server = make(*UVICORN, DEMO_DELAY_MS="0")
    server.start()

    def call(*arguments: str) -> str:
        command = [curl, "--silent", "--show-error", "--max-time", "20", *arguments]
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


def test_ctrl_c_ends_runserver_at_once_with_open_streams(make: Start) -> None:
    server = make(*RUNSERVER, DEMO_DELAY_MS="20")
    server.start()
    banner = server.log.read_text()
    for told in ("provider demo", "demo-1", f":{server.port}/health", "/admin/"):
        assert told in banner
    with stream(server, LONG) as reader:
        reader.until("content")
        server.send(signal.SIGINT)
        assert server.ends_within(4)
        assert [frame.event for frame in reader][-2:] == ["error", "done"]


def test_runserver_starts_anew_when_code_changes(make: Start, tmp_path: Path) -> None:
    server = make(*RUNSERVER)
    server.start()
    views = ROOT / "streaming" / "views" / "status.py"
    deadline = time.monotonic() + 20
    while server.log.read_text().count("Ctrl+C stops it.") < 2:
        assert time.monotonic() < deadline, server.log.read_text()
        os.utime(views)  # again and again: the reloader may not be watching yet
        time.sleep(0.5)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_runs_end_in_time_then_stops_them(
    make: Start, number: signal.Signals
) -> None:
    server = make(*UVICORN, DEMO_DELAY_MS="20", DRAIN_SECONDS="1")
    server.start()
    with stream(server, "count to 20") as short, stream(server, LONG) as long:
        short.until("content")
        long.until("content")
        server.send(number)
        assert [frame.event for frame in short][-2:] == ["complete", "done"]
        *_, error, done = long
    assert (error.data["metadata"]["code"], done.event) == ("shutting_down", "done")
    assert server.ends_within(5)


def test_a_run_that_nobody_follows_is_ended_and_kept_too(make: Start) -> None:
    server = make(*UVICORN, DEMO_DELAY_MS="20", DRAIN_SECONDS="1")
    server.start()
    ids = []
    for prompt in ("count to 10", LONG):
        with stream(server, prompt, background=True) as reader:
            reader.until("content")
            ids.append(reader.response.headers["X-Run-Id"])
    server.send(signal.SIGTERM)
    assert server.ends_within(5)
    server.start()
    runs = [httpx.get(f"{server.url}{API}/runs/{id}").json() for id in ids]
    assert runs[0]["status"] == "completed"
    assert runs[1]["error"]["code"] == "shutting_down"
    assert runs[1]["output"].startswith("1 2 3")


def test_after_kill_9_the_stream_goes_on_where_it_was(make: Start) -> None:
    server = make(*UVICORN, DEMO_DELAY_MS="5", RUN_LEASE_SECONDS="1")
    server.start()
    seen: list[Frame] = []
    with stream(server, LONG, conversation_id="c") as reader:
        for frame in reader:
            seen.append(frame)
            if len(seen) == 200:
                server.send(signal.SIGKILL)
    assert server.ends_within(5)
    server.start()
    run_id = seen[1].id.partition(":")[0]
    url = f"{server.url}{API}/runs/{run_id}/events"
    headers = {"Last-Event-ID": seen[-1].id}
    with httpx.stream("GET", url, headers=headers, timeout=SECONDS) as response:
        resumed = list(Reader(response))
    numbers = [f.number for f in [*seen, *resumed] if f.id]
    assert numbers == sorted(set(numbers))
    assert [f.event for f in resumed][-2:] == ["error", "done"]
    assert resumed[-2].data["metadata"]["code"] == "interrupted"
    answer = httpx.post(
        f"{server.url}{API}/run", json={"input": "2 + 2", "conversation_id": "c"}
    )
    assert "4" in answer.json()["output"]


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
    make: Start,
    command: tuple[str, ...],
    environment: dict[str, str],
    sentence: str,
) -> None:
    ended = make(*command, **environment).run()
    assert ended.returncode != 0
    told = ended.stderr.decode()
    assert sentence in told
    assert "Traceback" not in told


def test_a_port_in_use_is_told(make: Start) -> None:
    first = make(*UVICORN)
    first.start()
    second = make("manage.py", "runserver", str(first.port))
    ended = second.run()
    assert ended.returncode == 1
    assert f"Cannot listen on 127.0.0.1:{first.port}" in ended.stderr.decode()
