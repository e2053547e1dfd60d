"""The exchange of metrics between the processes of one machine.

Each process listens on a socket in one directory, and answers with its metrics as JSON.
The process that is scraped asks all of them. Nothing is written between two scrapes,
and a process that has ended leaves nothing to count. A thread of its own answers, also
while the event loop is blocked.
"""

import logging
import os
import socket
import stat
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from streaming.telemetry import metrics
from streaming.telemetry.metrics import Snapshot

logger = logging.getLogger(__name__)

SUFFIX = ".sock"
#: Time that one process has to answer, and all of them. A stopped one never does.
ANSWER_SECONDS = 1.0
ALL_SECONDS = 3.0
#: Size of an answer at which reading stops; usual ones have some 20 kB.
MAX_ANSWER_BYTES = 4 * 1024 * 1024
#: Processes that may wait for an answer at once.
BACKLOG = 16
#: Pause before the next attempt if no file descriptor is left for a connection.
ACCEPT_PAUSE = 1.0


class Exporter:
    """Answers with the metrics of this process, from construction to `close`."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_private(directory)
        self.path = directory / f"{os.getpid()}{SUFFIX}"
        self.path.unlink(missing_ok=True)  # of a process that was killed
        self._closing = threading.Event()
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(self.path))
        self._server.listen(BACKLOG)
        self._thread = threading.Thread(
            target=self._answer_forever, name="metrics", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop answering."""
        self._closing.set()
        self.path.unlink(missing_ok=True)
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)  # ends the `accept` of the thread
        self._server.close()

    def _answer_forever(self) -> None:
        while not self._closing.is_set():
            try:
                client, _ = self._server.accept()
            except OSError:  # closed, or the process has too many files open
                self._closing.wait(ACCEPT_PAUSE)
                continue
            try:
                with client:
                    client.settimeout(ANSWER_SECONDS)
                    client.sendall(msgspec.json.encode(own_snapshot()))
            except OSError:  # the other process did not wait
                continue
            except Exception:  # the thread must go on: it answers all later scrapes
                logger.exception("metrics not answered")


def check_private(directory: Path) -> None:
    """Raise `OSError` unless a directory is for processes of this user only.

    Others would read the metrics, or answer with some of their own. A link is refused:
    its owner decides where it leads.
    """
    found = os.lstat(directory)
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(f"{directory} is not a directory")
    if found.st_uid != os.geteuid():
        raise PermissionError(f"{directory} belongs to another user")
    if found.st_mode & 0o077:
        raise PermissionError(
            f"{directory} is open to other users: set its mode to 700"
        )


def own_snapshot() -> Snapshot:
    """Return the metrics of this process."""
    return Snapshot(os.getpid(), metrics.collect())


def gather(directory: Path) -> list[Snapshot]:
    """Return the metrics of this process and the others; blocks for some seconds.

    The socket of a process that was killed is removed. A directory that is not private
    is not read.
    """
    found = [own_snapshot()]
    try:
        check_private(directory)
    except OSError as error:
        logger.warning("metrics of other processes missing: %s", error)
        return found
    deadline = time.monotonic() + ALL_SECONDS
    for path in sorted(directory.glob(f"*{SUFFIX}")):
        if path.stem == str(os.getpid()):
            continue
        left = min(ANSWER_SECONDS, deadline - time.monotonic())
        try:
            if left > 0:
                found.append(_ask(path, left))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
        except (OSError, ValueError, RecursionError) as error:  # or not decoded
            fields = {"pid": path.stem}
            logger.warning("metrics of a process missing: %s", error, extra=fields)
    return found


def _ask(path: Path, seconds: float) -> Snapshot:
    deadline = time.monotonic() + seconds
    answer = bytearray()
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(seconds)
        client.connect(str(path))
        while piece := client.recv(65536):
            answer += piece
            if len(answer) > MAX_ANSWER_BYTES:
                raise ValueError("its answer is too long")
            if (left := deadline - time.monotonic()) <= 0:
                raise TimeoutError("timed out")
            client.settimeout(left)
    return msgspec.json.decode(answer, type=Snapshot)


class SharedExporter:
    """The exporter of a process, shared by its event loops."""

    def __init__(self, make: Callable[[Path], Exporter] = Exporter) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._users = 0
        self._exporter: Exporter | None = None

    def open(self, directory: Path) -> None:
        """Answer from now on, until each caller has called `close`."""
        with self._lock:
            self._users += 1
            if self._exporter is None:
                try:
                    self._exporter = self._make(directory)
                except OSError as error:
                    logger.error("metrics not exported: %s", error)

    def close(self) -> None:
        """Give up the exporter."""
        with self._lock:
            self._users -= 1
            if not self._users and self._exporter:
                self._exporter.close()
                self._exporter = None


shared = SharedExporter()
