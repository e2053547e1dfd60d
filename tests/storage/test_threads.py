"""Daemon threads: results, their end, and calls that hang."""

import subprocess
import sys
import threading
from concurrent.futures import CancelledError

import pytest

from streaming.storage.threads import DaemonThreads

SECONDS = 30


def test_a_call_has_its_result_or_what_it_raised() -> None:
    threads = DaemonThreads(2, "test")
    assert threads.submit(divmod, 7, 2).result(SECONDS) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        threads.submit(divmod, 7, 0).result(SECONDS)
    threads.shutdown()


def test_each_thread_calls_at_end_once_after_its_last_call() -> None:
    order: list[str] = []
    threads = DaemonThreads(1, "test", lambda: order.append("at end"))
    for _ in range(3):
        threads.submit(order.append, "call")
    threads.shutdown()
    assert order == ["call"] * 3 + ["at end"]


def test_all_threads_work_at_once_and_a_pending_call_can_be_cancelled() -> None:
    together, go_on = threading.Barrier(3), threading.Event()

    def meet() -> None:
        together.wait(SECONDS)
        go_on.wait(SECONDS)

    threads = DaemonThreads(2, "test")
    busy = [threads.submit(meet) for _ in range(2)]
    together.wait(SECONDS)
    waiting = threads.submit(meet)
    assert waiting.cancel()
    go_on.set()
    for each in busy:
        each.result(SECONDS)
    with pytest.raises(CancelledError):
        waiting.result(0)
    threads.shutdown()


def test_a_call_after_the_end_is_refused() -> None:
    threads = DaemonThreads(1, "test")
    threads.submit(divmod, 7, 2)
    threads.shutdown()
    with pytest.raises(RuntimeError):
        threads.submit(divmod, 7, 2)


def test_no_thread_starts_without_a_call() -> None:
    threads = DaemonThreads(2, "test")
    threads.shutdown()
    assert not [t for t in threading.enumerate() if t.name.startswith("test-")]


HANG = """
import threading
from streaming.storage.threads import DaemonThreads
threads = DaemonThreads(1, "test")
threads.submit(threading.Event().wait)
threads.shutdown(wait=False)
print(threads.join(0.1))
"""


def test_a_call_that_hangs_is_left_behind_and_the_process_ends() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", HANG], capture_output=True, timeout=SECONDS, check=True
    )
    assert ended.stdout == b"False\n"
