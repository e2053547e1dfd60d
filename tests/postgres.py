"""A command with a PostgreSQL: `python -m tests.postgres [--durable] COMMAND …`.

The command finds its URL in TEST_DATABASE_URL: the given one, else that of a server of
its own, else that of a server on localhost; it is empty without any of them. The server
of its own waits for no disk, except with `--durable`.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from bench.fleet import services
from tests.available import postgres_server_path, postgres_url


@contextmanager
def available(*, durable: bool) -> Iterator[str]:
    """Provide the URL of a PostgreSQL; it is empty if there is none."""
    if not os.environ.get("TEST_DATABASE_URL") and postgres_server_path():
        with services.postgres(durable=durable) as server:
            yield server.database_url
    else:
        yield postgres_url() or ""


def main(arguments: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    durable = arguments[0] == "--durable"
    services.end_at_sigterm()
    with available(durable=durable) as url:
        environment = {**os.environ, "TEST_DATABASE_URL": url}
        return subprocess.run(arguments[durable:], env=environment).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
