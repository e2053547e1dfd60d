"""Who is measured, and how each is served: one uvicorn worker, the same upstream."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from bench.processes import Server, python, serving

CEILING = "raw ASGI, no provider"
PEER = "FastAPI, typed SDK"
OURS = "ours, durable"
APPLICATIONS = {
    CEILING: "bench.servers.raw_asgi:application",
    OURS: "agentsite.asgi:application",
    PEER: "bench.servers.fastapi_naive:application",
}


@contextmanager
def contenders(
    directory: Path, deltas: int, pace_ms: float
) -> Iterator[Mapping[str, Server]]:
    """All of them, listening; their database and logs are in `directory`."""
    speed = ("--deltas", str(deltas), "--pace-ms", str(pace_ms))
    with ExitStack() as stack:
        upstream = stack.enter_context(
            serving("-m", "bench.upstream", *speed, log=directory / "upstream.log")
        )
        environment = _environment(directory, upstream, deltas, pace_ms)
        python("manage.py", "migrate", "--verbosity", "0", **environment)
        yield {
            name: stack.enter_context(
                serving(
                    *("-m", "uvicorn", application, "--no-access-log"),
                    log=directory / f"{name}.log",
                    environment=environment,
                )
            )
            for name, application in APPLICATIONS.items()
        }


def check_stored(directory: Path, streams: int, deltas: int) -> None:
    """Raise unless our database holds each run as completed, and all its events."""
    with closing(sqlite3.connect(directory / "db.sqlite3")) as database:
        statuses = database.execute(
            "SELECT status, count(*) FROM streaming_run GROUP BY status"
        ).fetchall()
        (events,) = database.execute(
            "SELECT sum(last_id - first_id + 1) FROM streaming_eventsegment"
        ).fetchone()
    expected = streams * (deltas + 2)  # and `complete` and `done`
    if statuses != [("completed", streams)] or events != expected:
        raise RuntimeError(f"of {streams} runs: {statuses}; {events} of {expected}")


def _environment(
    directory: Path, upstream: Server, deltas: int, pace_ms: float
) -> dict[str, str]:
    return {
        "DATA_DIR": str(directory),
        "LLM_PROVIDER": "openai",
        "LLM_MODEL": "bench",
        "OPENAI_API": "chat",
        "OPENAI_API_KEY": "none",
        "OPENAI_BASE_URL": f"http://127.0.0.1:{upstream.port}/v1",
        "DELTAS": str(deltas),
        "PACE_MS": str(pace_ms),
    }
