"""docs/tutorial.md as a program: its blocks are followed in their order.

A block of `sh` is a list of commands. The command of a server runs until the next one.
A block of `python` goes to the end of the file that its first line names. A block of
`text` has lines that the output of the block before it contains, in their order.
"""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streaming.testing.server import Server, clean_environment
from tests.packaging.conftest import SECONDS, UV, installing_environment
from tests.servers import ROOT

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SERVERS = ("python manage.py runserver", "uvicorn ")
#: The addresses on the page, which tests cannot share.
ADDRESS = "http://localhost:8000"
#: Commands that take long, and faster ones with the same result.
FASTER = {
    "python -m venv .venv": f"{shlex.join(UV)} venv --quiet -p {sys.executable} .venv",
    # Named, since uv would install into the environment that it runs in.
    "pip install": f"{shlex.join(UV)} pip install --quiet --python .venv/bin/python",
}


class Tutorial:
    """A reader who follows the page in a directory."""

    def __init__(self, directory: Path, **variables: str) -> None:
        self.directory = directory
        path = f"{directory / '.venv' / 'bin'}:{clean_environment()['PATH']}"
        self.environment = installing_environment(**variables) | {"PATH": path}
        self.server: Server | None = None
        self.output = ""
        self.outputs: list[str] = []

    def follow(self) -> Iterator[str]:
        """Follow the page; yield the heading of each part when it is done."""
        page = (ROOT / "docs" / "tutorial.md").read_text()
        for part in page.split("\n## ")[1:]:
            for language, block in BLOCK.findall(part):
                getattr(self, f"_{language}")(block)
            yield part.partition("\n")[0]

    def stop(self) -> None:
        """End the server that runs, if any."""
        if self.server:
            self.server.kill()

    def _python(self, block: str) -> None:
        name = block.partition("\n")[0].removeprefix("# ")
        with (self.directory / name).open("a") as file:
            file.write(f"\n\n{block}")

    def _text(self, block: str) -> None:
        at = 0
        for line in block.splitlines():
            assert line in self.output[at:], f"{line!r} is not in {self.output}"
            at = self.output.index(line, at)

    def _sh(self, block: str) -> None:
        for slow, fast in FASTER.items():
            block = block.replace(slow, fast)
        if block.startswith(SERVERS):
            self._serve(block)
            return
        if self.server:
            block = block.replace(ADDRESS, self.server.url)
        ended = subprocess.run(
            ["sh", "-e", "-c", block],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
        )
        self.output = ended.stdout
        self.outputs.append(ended.stdout)
        assert ended.returncode == 0, f"{block}\n{ended.stdout}"

    def _serve(self, command: str) -> None:
        """Start a server, on a port of its own."""
        self.stop()
        command = command.strip().replace("--port 8000", "--port {port}")
        if "{port}" not in command:
            command += " {port}"
        self.server = Server(
            ["sh", "-c", f"exec {command}"],
            self.directory,
            environment=self.environment,
            cwd=self.directory,
            ready="/agents/health",
        )
        self.server.start()


@contextmanager
def reader(directory: Path, **variables: str) -> Iterator[Tutorial]:
    """Follow the page in a directory; end its server afterwards."""
    tutorial = Tutorial(directory, **variables)
    try:
        yield tutorial
    finally:
        tutorial.stop()
