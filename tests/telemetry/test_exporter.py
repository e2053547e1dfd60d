"""The exchange of metrics with processes that are hostile, broken or of other users."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from streaming.telemetry import exporter, metrics
from streaming.telemetry.exporter import Exporter, gather
from streaming.telemetry.exposition import Scrape
from streaming.telemetry.metrics import PREFIX, RUN_SECONDS, Family, Sample, Snapshot
from tests.client import SECONDS

OTHER = os.getpid() + 1
GOOD = Family("gauge", f"{PREFIX}other", "Of another version.", (), [Sample((), 3)])


@contextmanager
def peer(directory: Path, answer: bytes) -> Iterator[list[int]]:
    """Another process with an answer; yields the sizes that were sent."""
    sent: list[int] = []
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(directory / f"{OTHER}{exporter.SUFFIX}"))
        server.listen()

        def respond() -> None:
            with suppress(OSError), server.accept()[0] as client:
                for start in range(0, len(answer), 65536):
                    sent.append(client.send(answer[start : start + 65536]))

        thread = threading.Thread(target=respond, daemon=True)
        thread.start()
        yield sent
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        thread.join()


def encoded(*families: Family) -> bytes:
    return msgspec.json.encode(Snapshot(OTHER, list(families)))


def received(path: Path) -> bytes:
    """Return the answer of a socket."""
    with socket.socket(socket.AF_UNIX) as client, client.makefile("rb") as answer:
        client.settimeout(SECONDS)
        client.connect(str(path))
        return answer.read()


def pids(directory: Path) -> list[int]:
    return [snapshot.pid for snapshot in gather(directory)]


def test_a_private_directory_is_read(tmp_path: Path) -> None:
    with peer(tmp_path, encoded(GOOD)):
        assert pids(tmp_path) == [os.getpid(), OTHER]


@pytest.mark.parametrize("kind", [RuntimeError, OSError])
def test_a_metric_that_fails_once_does_not_end_the_answers(
    tmp_path: Path, kind: type[Exception]
) -> None:
    failures = iter([kind("set changed during iteration")])

    def read() -> float:
        for failure in failures:
            raise failure
        return 1.0

    answering = Exporter(tmp_path)
    try:
        with metrics.DRAINING.read_from(read):
            assert received(answering.path) == b""
            answer = received(answering.path)
            assert msgspec.json.decode(answer, type=Snapshot).pid == os.getpid()
    finally:
        answering.close()


@pytest.mark.parametrize("mode", [0o750, 0o701, 0o722, 0o1777])
def test_a_directory_that_is_open_to_others_is_not_used(
    tmp_path: Path, mode: int
) -> None:
    with peer(tmp_path, encoded(GOOD)):
        tmp_path.chmod(mode)
        assert pids(tmp_path) == [os.getpid()]
        with pytest.raises(PermissionError, match="set its mode to 700"):
            Exporter(tmp_path)


def test_a_directory_of_another_user_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = os.geteuid()
    with peer(tmp_path, encoded(GOOD)):
        monkeypatch.setattr(os, "geteuid", lambda: user + 1)
        assert pids(tmp_path) == [os.getpid()]
        with pytest.raises(PermissionError, match="another user"):
            Exporter(tmp_path)


def test_a_link_to_a_directory_is_not_used(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.mkdir(mode=0o700)
    link.symlink_to(target)
    with peer(target, encoded(GOOD)):
        assert pids(link) == [os.getpid()]
        with pytest.raises(NotADirectoryError):
            Exporter(link)


def test_a_missing_directory_has_no_other_processes(tmp_path: Path) -> None:
    assert pids(tmp_path / "missing") == [os.getpid()]


def test_a_long_answer_is_not_read_to_its_end(tmp_path: Path) -> None:
    answer = encoded(GOOD) + b" " * (8 * exporter.MAX_ANSWER_BYTES)
    with peer(tmp_path, answer) as sent:
        assert pids(tmp_path) == [os.getpid()]
    assert sum(sent) < len(answer)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"[]",
        b'{"pid": 1, "families": [{}]}',
        b'{"pid": 1, "families": [{"kind": "\xff"}]}',
        b'{"pid": 1, "families": ' + b"[" * 100_000,
        b'{"pid": 1, "more": ' + b"[" * 100_000,
    ],
)
def test_an_answer_that_is_no_snapshot_is_left_out(
    tmp_path: Path, answer: bytes
) -> None:
    with peer(tmp_path, answer):
        assert pids(tmp_path) == [os.getpid()]


RUNS = RUN_SECONDS.family()
BOUNDS = RUNS.bounds
LABELS = ("agent", "model")


@pytest.mark.parametrize(
    "family",
    [
        msgspec.structs.replace(GOOD, kind="summary", name=f"{PREFIX}new"),
        msgspec.structs.replace(GOOD, name="no name"),
        msgspec.structs.replace(
            GOOD, name=f"{PREFIX}new", samples=[Sample(("surplus",), 1)]
        ),
        msgspec.structs.replace(RUNS, samples=[Sample(LABELS, 1.0, (1, 2))]),
        msgspec.structs.replace(RUNS, samples=[Sample(LABELS, 1.0)]),
        msgspec.structs.replace(RUNS, bounds=(1.0,), samples=[Sample(LABELS, 1, (1,))]),
        msgspec.structs.replace(
            RUNS, labels=("agent",), samples=[Sample(("a",), 1.0, (0,) * 13)]
        ),
        msgspec.structs.replace(GOOD, name=RUNS.name),
        # A valid sample in front of another one is left out with it.
        msgspec.structs.replace(
            RUNS,
            samples=[
                Sample(LABELS, 1.0, (1,) * (len(BOUNDS) + 1)),
                Sample(LABELS, 1.0, (1,)),
            ],
        ),
    ],
)
@pytest.mark.parametrize("accept", ["", "application/openmetrics-text; version=1.0.0"])
def test_a_malformed_metric_of_a_process_does_not_fail_the_scrape(
    family: Family, accept: str
) -> None:
    own = Snapshot(1, [RUNS])
    without, _ = Scrape([own, Snapshot(OTHER, [GOOD])]).encode(accept)
    body, _ = Scrape([own, Snapshot(OTHER, [family, GOOD])]).encode(accept)
    assert body == without
    assert f'{PREFIX}other{{pid="{OTHER}"}} 3.0' in body.decode()


def test_metrics_of_the_same_form_are_added(tmp_path: Path) -> None:
    counts = (1,) * (len(BOUNDS) + 1)
    both = [
        Snapshot(
            pid, [msgspec.structs.replace(RUNS, samples=[Sample(LABELS, 2, counts)])]
        )
        for pid in (1, 2)
    ]
    text = Scrape(both).encode("")[0].decode()
    [found] = text_string_to_metric_families(text)
    sums = {s.labels["pid"]: s.value for s in found.samples if s.name.endswith("_sum")}
    assert sums == {"1": 2.0, "2": 2.0}
