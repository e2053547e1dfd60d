"""Two llama.cpp servers, and the site in front of them through each of the three APIs.

| model     | chat template                          | its responses end             |
|-----------|----------------------------------------|-------------------------------|
| `endless` | Gemma's rules: roles alternate         | at a limit of tokens          |
| `tools`   | examples of calls of the calculator    | before the next role's name   |
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import httpx

from bench.faults.databases import database
from streaming.testing.server import Server, clean_environment
from streaming.testing.sse import Frame, parse
from tests.client import API
from tests.servers import READY, ROOT, SECONDS, UVICORN, site_environment

#: The environment of the llama.cpp server, which `make real-model` installs.
ENVIRONMENT = Path(os.environ.get("REAL_MODEL_VENV") or ROOT / ".venv-real-model")
SCRIPT = ROOT / "tests/real_model/llama_server.py"
TEMPLATES = ROOT / "tests/real_model/templates"

Wire = Literal["chat", "responses", "messages"]
WIRES: tuple[Wire, ...] = ("chat", "responses", "messages")

#: The context window of the endless model, in tokens.
WINDOW = 512
#: The token limit of sites whose responses are short.
SHORT = 16
SYSTEM_PROMPT = "Answer."


class Model(NamedTuple):
    """A llama.cpp server: its template, context window and ends of a response."""

    template: str
    context: int
    ends: tuple[str, ...] = ()


MODELS = {
    "endless": Model("strict.jinja", WINDOW),
    "tools": Model("tools.jinja", 1024, ("\nuser:", "\ntool:")),
}


class Kind(NamedTuple):
    """A kind of site: its model, and the limit of a response in tokens."""

    model: str
    max_tokens: int


KINDS = {
    "short": Kind("endless", SHORT),
    "long": Kind("endless", 8192),
    "tools": Kind("tools", 40),
}


class Llama:
    """A running llama.cpp server and its state."""

    def __init__(self, server: Server) -> None:
        self.url = server.url

    @property
    def working(self) -> int:
        """The number of slots that process a request."""
        slots = httpx.get(f"{self.url}/slots", timeout=SECONDS).json()
        return sum(slot["is_processing"] for slot in slots)

    @property
    def predicted(self) -> int:
        """The number of tokens of all responses that have ended."""
        text = httpx.get(f"{self.url}/metrics", timeout=SECONDS).text
        line = next(
            line
            for line in text.splitlines()
            if line.startswith("llamacpp:tokens_predicted_total ")
        )
        return int(float(line.split()[1]))


@dataclass(frozen=True)
class Site:
    """The site in front of a model."""

    url: str
    llama: Llama

    def ask(self, question: str, **fields: object) -> list[Frame]:
        """Stream a run to its end; return its frames."""
        with self.open(question, **fields) as response:
            return parse(response.read())

    @contextmanager
    def open(self, question: str, **fields: object) -> Iterator[httpx.Response]:
        """Start a run and follow it."""
        body = {"input": question, **fields}
        url = f"{self.url}{API}/stream"
        with httpx.stream("POST", url, json=body, timeout=SECONDS) as response:
            assert response.status_code == 200, response.read()
            yield response

    @contextmanager
    def follow(self, run_id: str, after: str) -> Iterator[httpx.Response]:
        """Resume a run after an event."""
        url = f"{self.url}{API}/runs/{run_id}/events"
        headers = {"Last-Event-ID": after}
        with httpx.stream("GET", url, headers=headers, timeout=SECONDS) as response:
            assert response.status_code == 200, response.read()
            yield response

    def run(self, question: str, **fields: object) -> httpx.Response:
        """Send `POST /run`."""
        body = {"input": question, **fields}
        return httpx.post(f"{self.url}{API}/run", json=body, timeout=SECONDS)

    def get(self, path: str) -> httpx.Response:
        """Read from the API."""
        return httpx.get(f"{self.url}{API}/{path}", timeout=SECONDS)

    def cancel(self, run_id: str) -> httpx.Response:
        """Cancel a run."""
        url = f"{self.url}{API}/runs/{run_id}/cancel"
        return httpx.post(url, timeout=SECONDS)


Sites = Mapping[tuple[str, Wire], Site]


@contextmanager
def serve(directory: Path) -> Iterator[Sites]:
    """Start all servers at once; the sites share one database."""
    with database(directory), ExitStack() as stack:

        def launch(server: Server) -> Server:
            stack.callback(server.kill)
            server.launch()
            return server

        llamas = {
            name: launch(_llama_server(model, directory))
            for name, model in MODELS.items()
        }
        servers = {
            (name, wire): launch(_site_server(kind, wire, llamas, directory))
            for name, kind in KINDS.items()
            for wire in WIRES
        }
        for server in (*llamas.values(), *servers.values()):
            server.wait_until_ready()
        yield {
            (name, wire): Site(server.url, Llama(llamas[KINDS[name].model]))
            for (name, wire), server in servers.items()
        }


def _llama_server(model: Model, directory: Path) -> Server:
    command = (
        *(f"{ENVIRONMENT}/bin/python", str(SCRIPT), "{port}"),
        *(str(TEMPLATES / model.template), str(model.context), *model.ends),
    )
    return Server(command, directory, environment=clean_environment(), ready="/health")


def _site_server(
    kind: Kind, wire: Wire, llamas: Mapping[str, Server], directory: Path
) -> Server:
    variables = {
        **_provider(wire, llamas[kind.model].url),
        "LLM_MODEL": "gemma-3-270m",
        "LLM_MAX_TOKENS": str(kind.max_tokens),
        "AGENT_SYSTEM_PROMPT": SYSTEM_PROMPT,
    }
    environment = site_environment(directory, **variables)
    return Server(UVICORN, directory, environment=environment, cwd=ROOT, ready=READY)


def _provider(wire: Wire, url: str) -> dict[str, str]:
    """Return the settings that docs/models.md gives for a llama.cpp server."""
    if wire == "messages":
        return {
            "LLM_PROVIDER": "anthropic",
            "ANTHROPIC_BASE_URL": url,
            "ANTHROPIC_API_KEY": "none",
        }
    return {
        "LLM_PROVIDER": "openai",
        "OPENAI_API": wire,
        "OPENAI_BASE_URL": f"{url}/v1",
        "OPENAI_API_KEY": "none",
    }


def wait_until(condition: Callable[[], bool], seconds: float = SECONDS) -> None:
    """Wait for a condition of another process; fail if it does not hold in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)  # no other process reports its state


def final(frames: list[Frame], event: str = "complete") -> dict[str, Any]:
    """Return the data of the event that ends a run, which must be of that type."""
    assert [f.event for f in frames[-2:]] == [event, "done"], frames[-2:]
    return frames[-2].data


def text_of(frames: list[Frame]) -> str:
    """Return the text of a stream."""
    return "".join(f.data["content"] for f in frames if f.event == "content")


def words(count: int) -> str:
    """Return that many words, a token each."""
    return " ".join(["story"] * count)
