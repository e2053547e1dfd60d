"""A WSGI server with threads, for tests: its requests start runs of the default agent.

`/enqueue` enqueues a run in a transaction, `/run` runs one to its end.
"""

import sys
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIServer, make_server

import django

django.setup()

from django.db import close_old_connections, transaction  # noqa: E402

from streaming.agents import registry  # noqa: E402
from streaming.calls.requests import make_call  # noqa: E402
from streaming.calls.starting import enqueue, run_sync  # noqa: E402

PROMPT = "Explain how photosynthesis works"


class ThreadingServer(ThreadingMixIn, WSGIServer):
    """A server with a thread for each request."""

    daemon_threads = True


def application(
    environ: dict[str, Any], start_response: Callable[..., object]
) -> Iterable[bytes]:
    """Start a run; respond with its id and status."""
    call = make_call(registry.get().default, PROMPT)
    try:
        if environ["PATH_INFO"] == "/enqueue":
            with transaction.atomic():
                run = enqueue(call)
        else:
            run = run_sync(call)
    finally:
        close_old_connections()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{run.id} {run.status}".encode()]


if __name__ == "__main__":
    with make_server(
        "127.0.0.1", int(sys.argv[1]), application, server_class=ThreadingServer
    ) as server:
        server.serve_forever()
