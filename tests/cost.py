"""The cost of code: counted, since a measured time is also that of the machine."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

#: Not a measure of speed: an unbounded operation takes minutes, or all memory.
HANGS_AFTER_CPU_SECONDS = 20


def calls_of(work: Callable[[], object]) -> int:
    """Return how many functions, in Python and in C, a work calls in this thread."""
    calls = 0

    def count(frame: FrameType, event: str, called: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    previous = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(previous)
    return calls


@contextmanager
def hang_guard() -> Iterator[None]:
    """Interrupt code that would not end, such as a regular expression's backtracking.

    The process's own CPU time counts, which a busy machine does not change.
    """

    def fail(signum: int, frame: FrameType | None) -> None:
        raise AssertionError("the code does not end")

    previous = signal.signal(signal.SIGVTALRM, fail)
    signal.setitimer(signal.ITIMER_VIRTUAL, HANGS_AFTER_CPU_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, previous)
