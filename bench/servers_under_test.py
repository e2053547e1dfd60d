"""The servers that are measured: each has one uvicorn worker and the same upstream."""

import sqlite3
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from bench.load import Load, Measurement
from bench.processes import python, serving, start, wait_for
from bench.wire import MODEL, PROTOCOLS, Protocol
from streaming.testing.server import Server

UPSTREAM = "the upstream itself"
CEILING = "raw ASGI, no provider"
PASS_THROUGH = "pass-through, aiohttp"
RAW_SDK = "raw ASGI, SDK's raw response"
OURS = "ours, durable"
TYPED = "raw ASGI, typed SDK"
FASTAPI = "FastAPI, typed SDK"
ADK = "Google ADK"
CREATE_KEY = (
    "manage.py",
    "create_api_key",
    *("--organization", "bench", "--name", "bench"),
)


@dataclass(frozen=True)
class Contender:
    """A server: its ASGI application, how it is asked, which providers it knows."""

    name: str
    application: str
    dialect: str = "simple"
    protocols: Collection[Protocol] = PROTOCOLS
    #: Each client goes on in a conversation of its own, whose name begins so.
    conversation: str = ""
    #: Each request has an API key, else the server is open to all.
    keyed: bool = False

    @property
    def is_ours(self) -> bool:
        """Whether it needs a database."""
        return self.dialect == "ours"


CEILINGS = [
    Contender(CEILING, "bench.servers.raw_asgi:application"),
    Contender(
        PASS_THROUGH, "bench.servers.passthrough:application", "bytes-{protocol}"
    ),
    Contender(RAW_SDK, "bench.servers.raw_sdk:application"),
]
OUR = Contender(OURS, "agentsite.asgi:application", "ours")
UNIT = Contender(TYPED, "bench.servers.typed_asgi:application")
PEERS = [
    Contender(FASTAPI, "bench.servers.fastapi_typed:application"),
    Contender(
        "Starlette + sse-starlette", "bench.servers.sse_starlette_typed:application"
    ),
    Contender(
        "OpenAI Agents SDK, FastAPI",
        "bench.servers.openai_agents:application",
        protocols=("chat", "responses"),
    ),
    Contender(
        "Pydantic AI, AG-UI", "bench.servers.pydantic_ai_agui:application", "ag-ui"
    ),
    Contender(ADK, "bench.servers.google_adk:application", "adk"),
]
ALL = [*CEILINGS, OUR, UNIT, *PEERS]
#: Those that show what it costs when a provider sends each delta by itself.
ONE_BY_ONE = frozenset({PASS_THROUGH, RAW_SDK, OURS, TYPED})


class Running:
    """A contender that listens, and what it was asked."""

    def __init__(
        self,
        contender: Contender,
        server: Server,
        protocol: Protocol,
        directory: Path,
        key: str = "",
    ) -> None:
        self.name = contender.name
        self.server = server
        self._dialect = contender.dialect.format(protocol=protocol)
        self._conversation = contender.conversation
        self._key = key
        self._directory = directory
        self._runs = 0
        self._events = 0

    def measure(self, streams: int, **options: float | str) -> Measurement:
        """Put a `Load` on it, from a process of its own."""
        return self.begin(streams, **options)()

    def begin(self, streams: int, **options: Any) -> Callable[[], Measurement]:  # noqa: ANN401
        """The same, but go on at once: call what is returned to wait for the end."""
        load = Load(
            **{"port": self.server.port, "pid": self.server.pid, **options},
            dialect=self._dialect,
            streams=streams,
            conversation=self._conversation,
            key=self._key,
        )
        process = start("-m", "bench.load", msgspec.json.encode(load).decode())

        def end() -> Measurement:
            measured = msgspec.json.decode(wait_for(process), type=Measurement)
            self._runs += measured.streams
            self._events += measured.deltas + 2 * measured.streams  # complete, done
            return measured

        return end

    @property
    def database(self) -> Path:
        """Of ours."""
        return self._directory / "db.sqlite3"

    def check_stored(self) -> None:
        """Raise unless our database holds each run, completed, with all its events."""
        with closing(sqlite3.connect(self.database)) as database:
            statuses = database.execute(
                "SELECT status, count(*) FROM streaming_run"
                " WHERE provider <> 'seed' GROUP BY status"
            ).fetchall()
            (events,) = database.execute(
                "SELECT sum(last_id - first_id + 1) FROM streaming_eventsegment"
            ).fetchone()
        if statuses != [("completed", self._runs)] or events != self._events:
            found = f"{statuses}, {events} of {self._events} events"
            raise RuntimeError(f"of {self._runs} runs are stored: {found}")


class TestBed:
    """The servers of one protocol, with their directory and their upstream."""

    def __init__(
        self, directory: Path, protocol: Protocol, peers: Path | None, stack: ExitStack
    ) -> None:
        self.directory = directory
        self._protocol = protocol
        self._peers = peers
        self._stack = stack
        upstream = (sys.executable, "-m", "bench.upstream")
        self._upstream = stack.enter_context(serving(*upstream, directory=directory))

    @property
    def upstream(self) -> Running:
        """The upstream, to be loaded itself: what no server can surpass."""
        itself = Contender(UPSTREAM, "", self._protocol)
        return Running(itself, self._upstream, self._protocol, self.directory)

    def serve(self, contender: Contender, *seed: int) -> Running:
        """Start a contender; ours with a database, filled by `bench.seed`."""
        directory = self.directory / contender.name
        directory.mkdir()
        environment = self._environment(directory)
        if contender.keyed:
            environment["AUTHENTICATION"] = "streaming.auth.api_key"
        key = ""
        if contender.is_ours:
            python("manage.py", "migrate", "--verbosity", "0", **environment)
        if contender.keyed:
            key = python(*CREATE_KEY, **environment).strip()
        if seed:
            python("-m", "bench.seed", *map(str, seed), **environment)
        interpreter = str(self._peers) if contender in PEERS else sys.executable
        command = (interpreter, "-m", "uvicorn", contender.application)
        running = serving(
            *command, "--no-access-log", directory=directory, environment=environment
        )
        server = self._stack.enter_context(running)
        return Running(contender, server, self._protocol, directory, key)

    def _environment(self, directory: Path) -> dict[str, str]:
        """What tells any server, ours too, of the upstream."""
        url = f"http://127.0.0.1:{self._upstream.port}"
        anthropic = self._protocol == "anthropic"
        return {
            "DATA_DIR": str(directory),
            "AUTHENTICATION": "streaming.auth.open",
            "LLM_PROVIDER": "anthropic" if anthropic else "openai",
            "LLM_MODEL": MODEL,
            "OPENAI_API": "" if anthropic else self._protocol,
            "OPENAI_API_KEY": "none",
            "ANTHROPIC_API_KEY": "none",
            "OPENAI_BASE_URL": f"{url}/v1",
            "ANTHROPIC_BASE_URL": url,
            "UPSTREAM": url,
            "PROTOCOL": self._protocol,
        }


@contextmanager
def house(
    directory: Path, protocol: Protocol, peers: Path | None = None
) -> Iterator[TestBed]:
    """Servers that end with the block; `peers` is the interpreter of theirs."""
    directory.mkdir(exist_ok=True)
    with ExitStack() as stack:
        yield TestBed(directory, protocol, peers, stack)
