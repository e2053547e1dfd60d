"""`manage.py agent` in a terminal, in a pipe, and interrupted."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from streaming.testing.server import Server
from tests.processes.conftest import Make
from tests.servers import ROOT, SECONDS

COMMAND = (sys.executable, "manage.py", "agent")
Ask = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def site(make: Make) -> Server:
    """A site that need not be served."""
    return make(*COMMAND)


@pytest.fixture
def ask(site: Server) -> Ask:
    """Run the command to its end, with a text in its pipe."""

    def ask(*arguments: str, pipe: str = "", **more: str) -> object:
        return subprocess.run(
            [*COMMAND, *arguments],
            cwd=ROOT,
            env={**site.environment, **more},
            input=pipe,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )

    return ask  # type: ignore[return-value]


def runs_of(site: Server) -> list[dict[str, object]]:
    """Return the runs in the site's database."""
    code = (
        "import django, json; django.setup()\n"
        "from streaming.models import Run\n"
        "print(json.dumps(list(Run.objects.order_by('created_at').values("
        "'status', 'input', 'conversation__conversation_id', 'organization__org_id'))))"
    )
    done = site.run("-c", code)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, object]] = json.loads(done.stdout)
    return found


def test_a_response_is_written_to_the_output_alone(ask: Ask, site: Server) -> None:
    done = ask("What is 15% of 240?", "--organization", "acme")
    assert done.returncode == 0, done.stderr
    assert "36" in done.stdout
    assert "calculator" not in done.stdout
    assert 'calculator {"expression"' in done.stderr
    piped = ask("--conversation", "c", pipe="What is 15% of 200?\n")
    assert "30" in piped.stdout
    first, second = runs_of(site)
    assert (first["status"], first["organization__org_id"]) == ("completed", "acme")
    assert second["input"] == "What is 15% of 200?\n"
    assert second["conversation__conversation_id"] == "c"


def test_events_are_lines_of_json(ask: Ask) -> None:
    done = ask("Agent", "What is 15% of 240?", "--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[-1]["type"] == "done"
    assert {"thinking", "tool_call", "tool_result", "content", "complete"} <= {
        event["type"] for event in events
    }


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("nobody", "Hi"), 1, "There is no agent 'nobody'. The agents are: Agent."),
        (("Hi", "--conversation", "a\nb"), 1, "conversation_id: must be printable"),
        (("",), 1, "input: must not be blank"),
    ],
)
def test_wrong_arguments_are_refused(
    ask: Ask, arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = ask(*arguments)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_the_exit_code_tells_an_incomplete_response(ask: Ask) -> None:
    done = ask("Explain how photosynthesis works", LLM_MAX_TOKENS="20")
    assert done.returncode == 3
    assert "The run ended early: max_tokens" in done.stderr


def accept_sigint() -> None:
    """Accept the signal, which a process in the background of a shell ignores."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def answering(site: Server) -> Iterator[subprocess.Popen[str]]:
    """Start the command, and wait for the beginning of its response."""
    with subprocess.Popen(
        [*COMMAND, "Explain how photosynthesis works"],
        cwd=ROOT,
        env={**site.environment, "DEMO_DELAY_MS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=accept_sigint,
    ) as process:
        assert process.stdout
        assert process.stdout.read(1)
        yield process


def test_ctrl_c_cancels_the_run(site: Server) -> None:
    with answering(site) as process:
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=SECONDS)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    [run] = runs_of(site)
    assert run["status"] == "cancelled"


def test_a_closed_pipe_cancels_the_run(site: Server) -> None:
    with answering(site) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()
        assert process.wait(SECONDS) == 128 + signal.SIGPIPE
    [run] = runs_of(site)
    assert run["status"] == "cancelled"


def test_a_terminal_shows_reasoning_dimmed_and_needs_a_question(site: Server) -> None:
    shown = in_terminal(site, "Explain how photosynthesis works")
    assert "\x1b[2m" in shown
    assert "light" in shown
    assert "A question is needed" in in_terminal(site)


def in_terminal(site: Server, *arguments: str) -> str:
    """Return the output of the command in a terminal of its own."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        environment = {**site.environment, "TERM": "xterm"}
        os.execve(sys.executable, [*COMMAND, *arguments], environment)
    shown = b""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        try:
            read = os.read(terminal, 65536)
        except OSError:  # the command has ended
            break
        if not read:
            break
        shown += read
    os.waitpid(pid, 0)
    os.close(terminal)
    return shown.decode()
